#!/bin/sh
# The only program of a guest: it keeps every counter of the hypervisor moving, gently.

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
exec >/dev/console 2>&1 </dev/null
echo 1 >/proc/sys/kernel/printk

for module in $(cat /modules/order); do
    insmod "/modules/$module" || echo "insmod $module failed"
done

# The power button: an event of 24 bytes on one of the input devices.
for device in /dev/input/event*; do
    [ -e "$device" ] && { dd if="$device" of=/dev/null bs=24 count=1 2>/dev/null && poweroff -f; } &
done

# guest_net=<own address>/<host's address>,... one for each NIC: a ping moves both directions.
nets=
for word in $(cat /proc/cmdline); do
    case $word in guest_net=*) nets=${word#guest_net=} ;; esac
done
ip link set lo up
number=0
while [ -n "$nets" ]; do
    net=${nets%%,*}
    case $nets in *,*) nets=${nets#*,} ;; *) nets= ;; esac
    ip addr add "${net%/*}/30" dev "eth$number"
    ip link set "eth$number" up
    while :; do
        ping -q "${net#*/}"
        sleep 1
    done >/dev/null 2>&1 &
    number=$((number + 1))
done

# Paging: a process is pushed out to swap and touches its pages again. Where the kernel cannot do
# that on demand (before 5.19), the guest lives without.
paging() {
    mount -t cgroup2 cgroup2 /sys/fs/cgroup || return
    echo +memory >/sys/fs/cgroup/cgroup.subtree_control
    mkdir /sys/fs/cgroup/paging
    echo 0 >/sys/fs/cgroup/paging/cgroup.procs
    echo 0 >/proc/sys/vm/page-cluster  # no reading ahead
    data=$(head -c 60000 /dev/zero | base64)
    while [ ${#data} -gt 0 ]; do
        echo 64K >/sys/fs/cgroup/paging/memory.reclaim
        [ ${#data} -gt 0 ] && : >/paging
        sleep 1
    done
}
{
    mkswap /dev/vda1 >/dev/null && swapon /dev/vda1 && paging
    : >/paging
} 2>/dev/null &

# The first 30 MiB of the disk are free (vda1 comes after them); block 0 is the partition table.
block=0
ready=
while :; do
    block=$((block % 400 + 1))
    dd if=/dev/zero of=/dev/vda bs=64k count=1 seek=$block conv=notrunc,fsync 2>/dev/null
    dd if=/dev/vda of=/dev/null bs=64k count=1 skip=$block iflag=direct 2>/dev/null
    count=0
    while [ $count -lt 200 ]; do count=$((count + 1)); done
    [ -z "$ready" ] && [ -e /paging ] && ready=1 && echo READY
    sleep 1
done

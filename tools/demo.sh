#!/bin/sh
# The main job on this machine: guests and host, through etc/pipeline.yaml, into the embedded store.
#   DEMO_SECONDS=20  ends by itself; exit 0 only if samples were stored
#   DEMO_GUESTS=2    boots so many small real guests for it (root; installs libvirt and QEMU)
set -eu
cd "$(dirname "$0")/.."
python=.venv/bin/python
agent=.venv/bin/ceilo-agent
state=build/demo

# Ctrl-C ends the agent; the demo goes on to show what was stored.
trap : INT
trap 'exit 143' TERM
if [ "${DEMO_GUESTS:-0}" -gt 0 ]; then
    tools/packages.sh guests
    trap '$python -m tests.guests down' EXIT
    $python -m tests.guests down >/dev/null 2>&1 || true
    echo "booting $DEMO_GUESTS small guests"
    $python -m tests.guests up --booted "$DEMO_GUESTS"
fi

mkdir -p "$state"
printf '[DEFAULT]\nstate_path = %s\n' "$PWD/$state" >"$state/agent.conf"
code=0
$agent --config-file "$state/agent.conf" up --pipeline etc/pipeline.yaml \
    ${DEMO_SECONDS:+--for "$DEMO_SECONDS"} || code=$?

if [ "$code" = 0 ]; then
    echo
    echo "from the store (the same at any time: $agent --config-file $state/agent.conf query):"
    $agent --config-file "$state/agent.conf" query | head -n 20
    echo "..."
    echo
    $agent --config-file "$state/agent.conf" query hardware.cpu.util --last 5m --output plot
    if [ "${DEMO_GUESTS:-0}" -gt 0 ]; then
        guest=$($python -m tests.guests list | sed -n 's/^ceilo-demo-[^ ]* \([^ ]*\) .*/\1/p' | head -n 1)
        for meter in cpu_util memory.usage; do
            $agent --config-file "$state/agent.conf" query "$meter" --resource "$guest" \
                --last 5m --output plot || true
        done
    fi
fi
exit "$code"

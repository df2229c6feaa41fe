#!/bin/sh
# Install the system packages of some profiles of bindep.txt, those that lack: packages.sh PROFILE...
set -eu
cd "$(dirname "$0")/.."

lacking=""
for profile in "$@"; do
    # shellcheck disable=SC2013 # a package is one word
    for package in $(sed -n "s/^\([a-z0-9.+-]*\) \[platform:dpkg $profile\]$/\1/p" bindep.txt); do
        status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
        [ "$status" = installed ] || lacking="$lacking $package"
    done
done
[ -n "$lacking" ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "missing system packages (no apt-get here, install them by other means):$lacking" >&2
    exit 1
fi
if [ "$(id -u)" = 0 ]; then
    sudo=""
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    sudo="sudo"
else
    echo "missing system packages (install them as root: apt-get install$lacking)" >&2
    exit 1
fi
echo "installing:$lacking"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# shellcheck disable=SC2086
if ! { $sudo apt-get update -qq &&
       $sudo env DEBIAN_FRONTEND=noninteractive \
           apt-get install -qq -y --no-install-recommends $lacking; } >"$log" 2>&1; then
    tail -n 5 "$log" >&2
    echo "missing system packages (apt-get could not install them):$lacking" >&2
    exit 1
fi

#!/bin/sh
# Run all tests: those of units beside the others, which mostly wait for daemons. Arguments are
# pytest's.
set -u
cd "$(dirname "$0")/.." || exit 1
# Daemons of other users have their files there.
place=$(mktemp -d) && chmod 755 "$place"
trap 'rm -rf "$place"' EXIT
# What waits for a clock goes first.
nice -n 10 .venv/bin/python -m pytest --basetemp="$place/unit" "$@" tests/unit > "$place/log" 2>&1 &
units=$!
.venv/bin/python -m pytest --basetemp="$place/functional" "$@" tests/functional
functional=$?
wait "$units"
units=$?
cat "$place/log"
# pytest ends with 5 where the arguments leave no test.
[ "$units" -eq 0 ] || [ "$units" -eq 5 ] || exit "$units"
[ "$functional" -eq 0 ] || [ "$functional" -eq 5 ] || exit "$functional"

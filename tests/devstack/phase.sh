#!/usr/bin/env bash
#
# What stack.sh, unstack.sh and clean.sh do with a plugin: phase.sh LOCALRC PLUGIN_DIR MODE [PHASE]
# They run with xtrace, and stack.sh with errexit.

set -o errexit

# shellcheck source=functions.sh
source "$TESTS/functions.sh"
# shellcheck source=/dev/null
source "$1"
plugin=$2/devstack
shift 2

# shellcheck source=../../devstack/settings
source "$plugin/settings"

set -o xtrace
# shellcheck source=../../devstack/plugin.sh
source "$plugin/plugin.sh" "$@"
after=$-
set +o xtrace

echo "after: $after"
echo "enabled: $ENABLED_SERVICES"
echo "tempest: $TEMPEST_SERVICES"

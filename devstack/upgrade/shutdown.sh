#!/usr/bin/env bash
#
# Grenade runs this on the old DevStack: the agents end. What waits stays on disk and at the broker.

set -o errexit

# shellcheck source=/dev/null
source "$GRENADE_DIR/grenaderc"
# shellcheck source=/dev/null
source "$GRENADE_DIR/functions"
# shellcheck source=/dev/null
source "$BASE_DEVSTACK_DIR/functions"
# shellcheck source=/dev/null
source "$BASE_DEVSTACK_DIR/stackrc"

CEILO_AGENT_DEVSTACK_DIR=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=../settings
source "$CEILO_AGENT_DEVSTACK_DIR/settings"
# shellcheck source=../plugin.sh
source "$CEILO_AGENT_DEVSTACK_DIR/plugin.sh"

set -o xtrace

stop_ceilo_agent
for kind in acompute acentral anotification; do
    service=$(_ceilo_agent_service $kind)
    if [[ -n $service ]]; then
        ensure_services_stopped "$service"
    fi
done

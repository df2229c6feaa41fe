#!/usr/bin/env bash
#
# Grenade runs this on the new DevStack: the new code is installed, Gnocchi gets what the new
# definition file has besides, and the agents start with the configuration that they had.

# shellcheck disable=SC2154 # Grenade defines these
set -o errexit

# shellcheck source=/dev/null
source "$GRENADE_DIR/grenaderc"
# shellcheck source=/dev/null
source "$GRENADE_DIR/functions"
# shellcheck source=/dev/null
source "$TARGET_DEVSTACK_DIR/functions"
# shellcheck source=/dev/null
source "$TARGET_DEVSTACK_DIR/stackrc"
# shellcheck source=/dev/null
source "$TARGET_DEVSTACK_DIR/lib/rpc_backend"
# shellcheck source=/dev/null
source "$TARGET_DEVSTACK_DIR/lib/tls"
# shellcheck source=/dev/null
source "$TARGET_DEVSTACK_DIR/lib/apache"

RUN_DIR=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=../settings
source "$RUN_DIR/../settings"

set -o xtrace

# shellcheck source=../plugin.sh
source "$CEILO_AGENT_DIR/devstack/plugin.sh" stack install

# What a release asks for besides stands in from-<release>/upgrade-ceilo_agent.
upgrade_project ceilo_agent "$RUN_DIR" "$BASE_DEVSTACK_BRANCH" "$TARGET_DEVSTACK_BRANCH"

check_ceilo_agent_config

if _ceilo_agent_runs anotification; then
    # The codes of oslo.upgradecheck: 0 fine, 1 a warning, 2 something lacks, which follows.
    code=0
    # shellcheck disable=SC2046 # words of a command
    $(_ceilo_agent_command anotification) upgrade check || code=$?
    if (( code > 2 )); then
        die $LINENO "ceilo-agent upgrade check failed with $code"
    fi
    upgrade_ceilo_agent
fi

start_ceilo_agent

for kind in acompute acentral anotification; do
    service=$(_ceilo_agent_service $kind)
    if [[ -n $service ]]; then
        ensure_services_started "$service"
    fi
done

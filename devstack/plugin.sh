#!/usr/bin/env bash
#
# DevStack plugin of ceilo_agent: the compute, central and notification agents in the split
# deployment, with Gnocchi as the store. devstack/README.rst is about its use.
#
#   [[local|localrc]]
#   enable_plugin ceilo_agent <URL of this repository>
#
# stack.sh, unstack.sh and clean.sh source this file with a mode and a phase, after `settings`:
#
#   stack pre-install    the settings are checked
#   stack install        packages
#   stack post-config    configuration files, accounts, and a check of both files
#   stack extra          what Gnocchi needs to have, and the agents
#   stack test-config    what Tempest is told
#   unstack              the agents end
#   clean                what they left on disk goes

_CEILO_AGENT_XTRACE=$(set +o | grep xtrace)
set +o xtrace

CEILO_AGENT_BIN_DIR=$(get_python_exec_prefix)

# shellcheck source=lib/gnocchi
source "$CEILO_AGENT_DIR/devstack/lib/gnocchi"

# Functions
# ---------

# _ceilo_agent_file KIND - prints the file of the options that one agent has for itself
function _ceilo_agent_file {
    case $1 in
        acompute) echo "$CEILO_AGENT_CONF_DIR/compute.conf" ;;
        acentral) echo "$CEILO_AGENT_CONF_DIR/central.conf" ;;
        anotification) echo "$CEILO_AGENT_CONF_DIR/notification.conf" ;;
    esac
}

# _ceilo_agent_command KIND - prints the command line up to the subcommand
function _ceilo_agent_command {
    echo "$CEILO_AGENT_BIN_DIR/ceilo-agent --config-file $CEILO_AGENT_CONF" \
        "--config-file $(_ceilo_agent_file "$1")"
}

# _ceilo_agent_whole SETTING SMALLEST LARGEST - ends the run if the value is no such whole number
function _ceilo_agent_whole {
    local value=${!1}
    if ! [[ $value =~ ^[1-9][0-9]{0,8}$ ]] || (( value < $2 || value > $3 )); then
        die $LINENO "$1 is '$value': a whole number from $2 to $3 was expected"
    fi
}

# check_ceilo_agent_settings - ends the run at the first setting that cannot be used
function check_ceilo_agent_settings {
    local setting
    case $CEILO_AGENT_BACKEND in
        gnocchi | none) ;;
        *) die $LINENO "CEILOMETER_BACKEND is '$CEILO_AGENT_BACKEND':" \
            "gnocchi or none was expected" ;;
    esac
    case $CEILO_AGENT_WIRE_FORMAT in
        native | ceilometer) ;;
        *) die $LINENO "CEILO_AGENT_WIRE_FORMAT is '$CEILO_AGENT_WIRE_FORMAT':" \
            "native or ceilometer was expected" ;;
    esac
    case $CEILO_AGENT_COORDINATION_URL in
        "" | file://* | redis://* | zookeeper://* | kazoo://* | etcd3+http*://*) ;;
        *) die $LINENO "CEILOMETER_COORDINATION_URL is of '${CEILO_AGENT_COORDINATION_URL%%:*}':" \
            "file://, redis://, zookeeper:// or etcd3+http:// was expected" ;;
    esac
    for setting in CEILO_AGENT_COMPUTE_NAMESPACES CEILO_AGENT_CENTRAL_NAMESPACES; do
        [[ ${!setting} =~ ^[a-z]+(,[a-z]+)*$ ]] ||
            die $LINENO "$setting is '${!setting}': names with commas between were expected"
    done
    if [[ -n $CEILO_AGENT_INTERVAL ]]; then
        _ceilo_agent_whole CEILO_AGENT_INTERVAL 1 86400
    fi
    _ceilo_agent_whole CEILO_AGENT_QUEUES 1 1024
    _ceilo_agent_whole CEILO_AGENT_WORKERS 1 256
    if [[ -n $CEILO_AGENT_PIPELINE_FILE && ! -r $CEILO_AGENT_PIPELINE_FILE ]]; then
        die $LINENO "CEILO_AGENT_PIPELINE_FILE: there is no $CEILO_AGENT_PIPELINE_FILE"
    fi
    if ! _ceilo_agent_has_plugin ceilometer && is_service_enabled ceilometer-aipmi; then
        die $LINENO "ceilometer-aipmi is enabled: ceilo_agent does not read IPMI;" \
            "disable_service ceilometer-aipmi, or enable Ceilometer's plugin beside this one"
    fi
    if [[ -z $(get_transport_url) ]]; then
        die $LINENO "there is no message broker: enable_service rabbit," \
            "or set RABBIT_HOST and RABBIT_PASSWORD"
    fi
}

# _ceilo_agent_polls_apis - whether the central agent of this node polls the cloud's APIs
function _ceilo_agent_polls_apis {
    _ceilo_agent_runs acentral && [[ ,$CEILO_AGENT_CENTRAL_NAMESPACES, == *,central,* ]]
}

# _ceilo_agent_install_coordination - installs what CEILO_AGENT_COORDINATION_URL speaks of
function _ceilo_agent_install_coordination {
    local rest=${CEILO_AGENT_COORDINATION_URL#*://}
    local host=${rest##*@}
    host=${host%%[:/?]*}
    case $CEILO_AGENT_COORDINATION_URL in
        redis*)
            if [[ $host == localhost || $host == 127.0.0.1 || $host == "${HOST_IP:-}" ]]; then
                if is_ubuntu; then
                    install_package redis-server
                    restart_service redis-server
                else
                    install_package redis
                    restart_service redis
                fi
            fi
            pip_install "tooz[redis]"
            ;;
        zookeeper* | kazoo*) pip_install "tooz[zookeeper]" ;;
        etcd3*) pip_install "tooz[etcd3gw]" ;;
    esac
}

# install_ceilo_agent - installs this repository, with what the agents of this node need
function install_ceilo_agent {
    local extras=bus
    if _ceilo_agent_owns_gnocchi; then
        _ceilo_agent_install_gnocchi
    fi
    if _ceilo_agent_runs acentral || _ceilo_agent_runs anotification; then
        _ceilo_agent_install_coordination
    fi
    if _ceilo_agent_runs anotification && [[ $CEILO_AGENT_BACKEND == gnocchi ]]; then
        extras+=,gnocchi
    fi
    if _ceilo_agent_polls_apis; then
        extras+=,central
    fi
    if _ceilo_agent_runs acompute; then
        # Where libvirt-python is not there, pip builds it.
        if is_ubuntu; then
            install_package libvirt-dev pkg-config
        else
            install_package libvirt-devel pkgconf-pkg-config
        fi
        extras+=,libvirt
    fi
    setup_develop "$CEILO_AGENT_DIR" "$extras"
}

# _ceilo_agent_store_url - prints the URL of the publisher
function _ceilo_agent_store_url {
    local url
    if [[ $CEILO_AGENT_BACKEND == none ]]; then
        echo "file://$CEILO_AGENT_STATE_DIR/samples.json?max_bytes=100000000&backup_count=1"
        return
    fi
    # Without a host: where Keystone's catalogue has it.
    url="gnocchi://?filter_project=$SERVICE_PROJECT_NAME"
    url+="&resources_definition_file=$CEILO_AGENT_CONF_DIR/gnocchi_resources.yaml"
    if [[ -n $GNOCCHI_ARCHIVE_POLICY ]]; then
        url+="&archive_policy=$GNOCCHI_ARCHIVE_POLICY"
    fi
    echo "$url"
}

# _ceilo_agent_configure_credentials - who the agents are where they ask OpenStack
function _ceilo_agent_configure_credentials {
    local section=service_credentials
    iniset "$CEILO_AGENT_CONF" $section auth_type password
    iniset "$CEILO_AGENT_CONF" $section auth_url "$KEYSTONE_SERVICE_URI"
    iniset "$CEILO_AGENT_CONF" $section username "$CEILO_AGENT_SERVICE_USER"
    iniset "$CEILO_AGENT_CONF" $section password "$SERVICE_PASSWORD"
    iniset "$CEILO_AGENT_CONF" $section user_domain_name "$SERVICE_DOMAIN_NAME"
    iniset "$CEILO_AGENT_CONF" $section project_name "$SERVICE_PROJECT_NAME"
    iniset "$CEILO_AGENT_CONF" $section project_domain_name "$SERVICE_DOMAIN_NAME"
    iniset "$CEILO_AGENT_CONF" $section region_name "$REGION_NAME"
    if [[ -n ${SSL_BUNDLE_FILE:-} && -r $SSL_BUNDLE_FILE ]]; then
        iniset "$CEILO_AGENT_CONF" $section cafile "$SSL_BUNDLE_FILE"
    fi
}

# _ceilo_agent_configure_agents - each agent's own file: two of one node share no state
function _ceilo_agent_configure_agents {
    local kind file
    for kind in acompute acentral anotification; do
        file=$(_ceilo_agent_file $kind)
        rm -f "$file"
        _ceilo_agent_runs $kind || continue
        iniset "$file" DEFAULT state_path "$CEILO_AGENT_STATE_DIR/${kind#a}"
    done
    if _ceilo_agent_runs acompute; then
        file=$(_ceilo_agent_file acompute)
        iniset "$file" polling namespaces "$CEILO_AGENT_COMPUTE_NAMESPACES"
        if [[ -n $CEILO_AGENT_LIBVIRT_URI ]]; then
            iniset "$file" libvirt uri "$CEILO_AGENT_LIBVIRT_URI"
        fi
    fi
    if _ceilo_agent_runs acentral; then
        iniset "$(_ceilo_agent_file acentral)" polling namespaces "$CEILO_AGENT_CENTRAL_NAMESPACES"
    fi
}

# _ceilo_agent_configure_pipeline - installs the YAML files
function _ceilo_agent_configure_pipeline {
    local pipeline=$CEILO_AGENT_CONF_DIR/pipeline.yaml url
    install -m 644 "$CEILO_AGENT_DIR/etc/gnocchi_resources.yaml" "$CEILO_AGENT_CONF_DIR"
    if [[ -n $CEILO_AGENT_PIPELINE_FILE ]]; then
        install -m 644 "$CEILO_AGENT_PIPELINE_FILE" "$pipeline"
        return
    fi
    install -m 644 "$CEILO_AGENT_DIR/devstack/files/pipeline.yaml" "$pipeline"
    url=$(_ceilo_agent_store_url)
    # In what sed puts in, & would be what it found.
    sed -i -e "s|^  store: .*|  store: \"${url//&/\\&}\"|" "$pipeline"
}

# configure_ceilo_agent - writes everything below CEILO_AGENT_CONF_DIR anew
function configure_ceilo_agent {
    local topics=$CEILO_AGENT_TOPICS coordination=$CEILO_AGENT_COORDINATION_URL
    sudo install -d -o "$STACK_USER" -m 755 "$CEILO_AGENT_CONF_DIR" "$CEILO_AGENT_STATE_DIR"
    # It holds passwords.
    rm -f "$CEILO_AGENT_CONF"
    install -m 600 /dev/null "$CEILO_AGENT_CONF"

    iniset "$CEILO_AGENT_CONF" DEFAULT debug "$ENABLE_DEBUG_LOG_LEVEL"
    iniset "$CEILO_AGENT_CONF" DEFAULT pipeline_cfg_file "$CEILO_AGENT_CONF_DIR/pipeline.yaml"
    iniset_rpc_backend ceilo_agent "$CEILO_AGENT_CONF"

    iniset "$CEILO_AGENT_CONF" polling output bus
    iniset "$CEILO_AGENT_CONF" polling wire_format "$CEILO_AGENT_WIRE_FORMAT"
    if [[ -n $CEILO_AGENT_INTERVAL ]]; then
        iniset "$CEILO_AGENT_CONF" polling interval "$CEILO_AGENT_INTERVAL"
    fi

    iniset "$CEILO_AGENT_CONF" notification queues "$CEILO_AGENT_QUEUES"
    iniset "$CEILO_AGENT_CONF" notification workers "$CEILO_AGENT_WORKERS"
    if [[ $CEILO_AGENT_WIRE_FORMAT == ceilometer ]] && ! _ceilo_agent_has_plugin ceilometer; then
        # Our own polling agents send there.
        topics=${topics:-notifications}
    fi
    if [[ -n $topics ]]; then
        iniset "$CEILO_AGENT_CONF" notification ceilometer_topics "$topics"
    fi

    iniset "$CEILO_AGENT_CONF" publisher telemetry_secret "$CEILO_AGENT_TELEMETRY_SECRET"
    iniset "$CEILO_AGENT_CONF" coordination backend_url \
        "${coordination:-file://$CEILO_AGENT_STATE_DIR/coordination}"

    _ceilo_agent_configure_credentials
    _ceilo_agent_configure_agents
    _ceilo_agent_configure_pipeline
    if _ceilo_agent_owns_gnocchi; then
        _ceilo_agent_configure_gnocchi
    fi
}

# create_ceilo_agent_accounts - the agents' user in Keystone
function create_ceilo_agent_accounts {
    local OS_CLOUD=devstack-admin
    export OS_CLOUD
    create_service_user "$CEILO_AGENT_SERVICE_USER" admin
    if _ceilo_agent_polls_apis && is_service_enabled swift; then
        # To Swift, admin is the administrator of one project; this role is for all accounts.
        get_or_add_user_project_role ResellerAdmin "$CEILO_AGENT_SERVICE_USER" \
            "$SERVICE_PROJECT_NAME" "$SERVICE_DOMAIN_NAME" "$SERVICE_DOMAIN_NAME"
    fi
    if _ceilo_agent_owns_gnocchi; then
        _ceilo_agent_create_gnocchi_accounts
    fi
}

# check_ceilo_agent_config - ends the run if an agent of this node would refuse its files
function check_ceilo_agent_config {
    local kind role
    for kind in acompute acentral anotification; do
        _ceilo_agent_runs $kind || continue
        role=polling
        if [[ $kind == anotification ]]; then
            role=notification
        fi
        # shellcheck disable=SC2046 # words of a command
        $(_ceilo_agent_command $kind) config check --role $role ||
            die $LINENO "$(_ceilo_agent_service $kind) cannot run with" \
                "$CEILO_AGENT_CONF_DIR/pipeline.yaml and $CEILO_AGENT_CONF: see the lines above"
    done
}

# upgrade_ceilo_agent - creates in Gnocchi what lacks there; Gnocchi must run
function upgrade_ceilo_agent {
    if _ceilo_agent_runs anotification && [[ $CEILO_AGENT_BACKEND == gnocchi ]]; then
        # shellcheck disable=SC2046 # words of a command
        $(_ceilo_agent_command anotification) upgrade apply ||
            die $LINENO "Gnocchi could not be prepared: see the lines above; if its own plugin" \
                "starts it, local.conf must enable that one before ceilo_agent"
    fi
}

# start_ceilo_agent - starts the agents of this node, the one that consumes first
function start_ceilo_agent {
    local service
    service=$(_ceilo_agent_service anotification)
    if [[ -n $service ]]; then
        run_process "$service" "$(_ceilo_agent_command anotification) notification"
    fi
    service=$(_ceilo_agent_service acentral)
    if [[ -n $service ]]; then
        run_process "$service" "$(_ceilo_agent_command acentral) polling"
    fi
    service=$(_ceilo_agent_service acompute)
    if [[ -n $service && ${VIRT_DRIVER:-libvirt} != libvirt ]]; then
        warn $LINENO "$service is not started: it reads libvirt only, VIRT_DRIVER is $VIRT_DRIVER"
    elif [[ -n $service ]]; then
        run_process "$service" "$(_ceilo_agent_command acompute) polling"
    fi
}

# stop_ceilo_agent - ends the agents of this node, those that poll first
function stop_ceilo_agent {
    local kind service
    for kind in acompute acentral anotification; do
        service=$(_ceilo_agent_service $kind)
        if [[ -n $service ]]; then
            stop_process "$service"
        fi
    done
}

# cleanup_ceilo_agent - removes what is on disk
function cleanup_ceilo_agent {
    sudo rm -rf "${CEILO_AGENT_CONF_DIR:?}" "${CEILO_AGENT_STATE_DIR:?}"
    if _ceilo_agent_owns_gnocchi; then
        _ceilo_agent_clean_gnocchi
    fi
}

# configure_tempest_for_ceilo_agent - as Ceilometer's plugin does, where its settings are given
function configure_tempest_for_ceilo_agent {
    local name setting
    for name in granularity threshold metric_name aggregation_method; do
        setting=CEILOMETER_ALARM_${name^^}
        if [[ -n ${!setting:-} ]]; then
            iniset "$TEMPEST_CONFIG" telemetry "alarm_$name" "${!setting}"
        fi
    done
}

# Phases
# ------

# What follows is traced as the run is.
$_CEILO_AGENT_XTRACE

if is_service_enabled ceilo_agent; then
    case "${1:-} ${2:-}" in
        "stack pre-install")
            echo_summary "Checking the settings of ceilo_agent"
            check_ceilo_agent_settings
            ;;
        "stack install")
            echo_summary "Installing ceilo_agent"
            install_ceilo_agent
            ;;
        "stack post-config")
            echo_summary "Configuring ceilo_agent"
            configure_ceilo_agent
            create_ceilo_agent_accounts
            check_ceilo_agent_config
            ;;
        "stack extra")
            echo_summary "Starting ceilo_agent"
            if _ceilo_agent_owns_gnocchi; then
                _ceilo_agent_start_gnocchi
            fi
            # By now DevStack has put in what [[post-config|...]] of local.conf says.
            check_ceilo_agent_config
            upgrade_ceilo_agent
            start_ceilo_agent
            ;;
        "stack test-config")
            configure_tempest_for_ceilo_agent
            ;;
        "unstack "*)
            echo_summary "Stopping ceilo_agent"
            stop_ceilo_agent
            if _ceilo_agent_owns_gnocchi; then
                _ceilo_agent_stop_gnocchi
            fi
            ;;
        "clean "*)
            echo_summary "Removing what ceilo_agent left"
            cleanup_ceilo_agent
            ;;
    esac
fi

#!/usr/bin/env bash
#
# DevStack's functions, standing in: each notes its call in $RECORD and does what DevStack's does,
# inside of one directory. Names, arguments and results are those of functions-common,
# inc/ini-config, inc/python, lib/rpc_backend, lib/keystone, lib/swift, lib/database and lib/apache;
# of Grenade's, inc/upgrade and inc/plugin.
#
# From the test: RECORD, TESTS (this directory), PYTHON, VENV, INSTALLS, SERVICES_DIR, and for
# what really runs GNOCCHI_PROGRAMS, POSTGRESQL (port) and POSTGRESQL_TOOLS, KEYSTONE_TOKEN.

function _record {
    local line
    printf -v line ' %q' "$@"
    echo "${line# }" >> "$RECORD"
}

# -- control ---------------------------------------------------------------------------------------

function echo_summary {
    _record echo_summary "$@"
}

function die {
    local exitcode=$?
    set +o xtrace
    local line=$1
    shift
    if [[ $exitcode == 0 ]]; then
        exitcode=1
    fi
    echo "[ERROR] ${BASH_SOURCE[1]}:$line $*" >&2
    exit $exitcode
}

function warn {
    echo "[WARNING] ${BASH_SOURCE[1]}:$1 $2" >&2
}

# sudo with nobody to become; DevStack's own functions use it with -E and without options
function sudo {
    "$@"
}

# -- services --------------------------------------------------------------------------------------

function is_service_enabled {
    local xtrace
    xtrace=$(set +o | grep xtrace)
    set +o xtrace
    local enabled=1 service
    for service in "$@"; do
        if [[ ,$ENABLED_SERVICES, == *,$service,* ]]; then
            enabled=0
        fi
        if type "is_${service}_enabled" >/dev/null 2>&1; then
            if "is_${service}_enabled"; then
                enabled=0
            else
                enabled=1
            fi
        fi
        if [[ $service == ceilometer && $ENABLED_SERVICES == *ceilometer-* ]]; then
            enabled=0
        fi
    done
    $xtrace
    return $enabled
}

function is_swift_enabled {
    [[ ,${DISABLED_SERVICES:-}, != *,swift,* && ,$ENABLED_SERVICES == *,s-* ]]
}

function enable_service {
    local service
    for service in "$@"; do
        if [[ ,${DISABLED_SERVICES:-}, == *,$service,* ]]; then
            warn $LINENO "Attempt to enable_service $service when it has been disabled"
        elif ! is_service_enabled "$service"; then
            ENABLED_SERVICES+=,$service
        fi
    done
}

function disable_service {
    local service services=,$ENABLED_SERVICES,
    for service in "$@"; do
        DISABLED_SERVICES+=,$service
        services=${services//,$service,/,}
    done
    services=${services#,}
    ENABLED_SERVICES=${services%,}
}

# What systemd would run is a process of its own, which outlives this shell.
function run_process {
    local service=$1 command=$2
    is_service_enabled "$service" || return 0
    _record run_process "$@"
    if [[ $command != /* ]]; then
        die $LINENO "systemd wants an absolute path: $command"
    fi
    # shellcheck disable=SC2086 # words of a command
    setsid $command < /dev/null >> "$SERVICES_DIR/$service.log" 2>&1 &
    echo $! > "$SERVICES_DIR/$service.pid"
}

function _is_running {
    local state
    state=$(ps -o stat= -p "$1") && [[ $state != Z* ]]
}

function stop_process {
    local service=$1 pid tries
    is_service_enabled "$service" || return 0
    _record stop_process "$@"
    [[ -e $SERVICES_DIR/$service.pid ]] || return 0
    pid=$(< "$SERVICES_DIR/$service.pid")
    kill -TERM "$pid" || true
    for (( tries = 0; tries < 200; tries++ )); do
        if ! _is_running "$pid"; then
            rm "$SERVICES_DIR/$service.pid"
            return
        fi
        sleep 0.1
    done
    die $LINENO "$service does not end"
}

function wait_for_service {
    local tries
    _record wait_for_service "$@"
    for (( tries = 0; tries < $1 * 5; tries++ )); do
        if curl -g -k --noproxy '*' -s -o /dev/null "$2"; then
            return 0
        fi
        sleep 0.2
    done
    return 1
}

function restart_service {
    _record restart_service "$@"
}

# -- files of options ------------------------------------------------------------------------------

function iniset {
    local file=$1
    [[ -n $2 && -n $3 ]] || return 0
    touch "$file"
    SECTION="[$2]" OPTION=$3 VALUE=$4 awk '
        function put() { print ENVIRON["OPTION"] " = " ENVIRON["VALUE"]; done = 1 }
        /^\[/ { if (inside && !done) put(); inside = ($0 == ENVIRON["SECTION"]) }
        { name = $0; sub(/[ \t]*=.*/, "", name) }
        inside && name == ENVIRON["OPTION"] { if (!done) put(); next }
        { print }
        END {
            if (!done && !inside) print "\n" ENVIRON["SECTION"]
            if (!done) put()
        }' "$file" > "$file.new"
    # In place: who may read the file stays as it is.
    cat "$file.new" > "$file"
    rm "$file.new"
}

# -- packages --------------------------------------------------------------------------------------

function is_ubuntu {
    [[ ${OS_PACKAGE:-deb} == deb ]]
}

function install_package {
    _record install_package "$@"
}

function get_python_exec_prefix {
    echo "$VENV/bin"
}

function use_library_from_git {
    [[ ,${LIBS_FROM_GIT:-}, == *,$1,* ]]
}

function git_clone {
    _record git_clone "$@"
    mkdir -p "$2"
}

# Most tests look at what would be installed; INSTALLS says that it is to be.
function _pip {
    [[ -n $INSTALLS ]] || return 0
    "$PYTHON" -m pip --python "$VENV/bin/python" --quiet --disable-pip-version-check "$@"
}

# What is installed is there already, beside the test; pip sees to it that nothing lacks.
function pip_install {
    local program
    _record pip_install "$@"
    if [[ "$*" == *gnocchi* ]]; then
        for program in gnocchi-api gnocchi-metricd gnocchi-upgrade; do
            ln -sf "${GNOCCHI_PROGRAMS:-/nowhere}/$program" "$VENV/bin/$program"
        done
        ln -sf "$TESTS/uwsgi" "$VENV/bin/uwsgi"
        return
    fi
    _pip install --no-index "$@"
}

function setup_develop {
    _record setup_develop "$@"
    _pip install --no-index --no-build-isolation -e "${1}[${2:-}]"
}

# -- the message broker ----------------------------------------------------------------------------

function get_transport_url {
    if is_service_enabled rabbit || [[ -n ${RABBIT_HOST:-} && -n ${RABBIT_PASSWORD:-} ]]; then
        echo "rabbit://$RABBIT_USERID:$RABBIT_PASSWORD@$RABBIT_HOST:${RABBIT_PORT:-5672}/${1:-}"
    fi
}

function iniset_rpc_backend {
    local file=$2 section=${3:-DEFAULT}
    _record iniset_rpc_backend "$@"
    local url
    url=$(get_transport_url "${4:-}")
    if [[ -n $url ]]; then
        iniset "$file" "$section" transport_url "$url"
        iniset "$file" oslo_messaging_rabbit heartbeat_timeout_threshold 60
    fi
}

# -- Keystone --------------------------------------------------------------------------------------

function _identity {
    PYTHONPATH=$TESTS/../.. "$PYTHON" -m tests.devstack.identity "$@"
}

function create_service_user {
    _record create_service_user "$@"
    if [[ $OS_CLOUD != devstack-admin ]]; then
        die $LINENO "without OS_CLOUD there is nobody to ask Keystone as"
    fi
    if [[ -n ${KEYSTONE_TOKEN:-} ]]; then
        _identity user "$1" "$SERVICE_PASSWORD" "$SERVICE_PROJECT_NAME" service ${2:+"$2"}
    fi
}

function get_or_add_user_project_role {
    _record get_or_add_user_project_role "$@"
}

function get_or_create_service {
    _record get_or_create_service "$@"
    if [[ -n ${KEYSTONE_TOKEN:-} ]]; then
        _identity service "$1" "$2"
    fi
}

function get_or_create_endpoint {
    _record get_or_create_endpoint "$@"
    if [[ -n ${KEYSTONE_TOKEN:-} ]]; then
        _identity endpoint "$1" "$2" "$3"
    fi
}

function configure_keystone_authtoken_middleware {
    local file=$1 user=$2 section=${3:-keystone_authtoken}
    _record configure_keystone_authtoken_middleware "$@"
    iniset "$file" "$section" auth_type password
    iniset "$file" "$section" interface public
    iniset "$file" "$section" auth_url "$KEYSTONE_SERVICE_URI"
    iniset "$file" "$section" username "$user"
    iniset "$file" "$section" password "$SERVICE_PASSWORD"
    iniset "$file" "$section" user_domain_name "$SERVICE_DOMAIN_NAME"
    iniset "$file" "$section" project_name "$SERVICE_PROJECT_NAME"
    iniset "$file" "$section" project_domain_name "$SERVICE_DOMAIN_NAME"
}

# -- databases and the web server ------------------------------------------------------------------

function database_connection_url {
    echo "postgresql://test@127.0.0.1:${POSTGRESQL:-5432}/$1"
}

function recreate_database {
    local options=(-h 127.0.0.1 -p "${POSTGRESQL:-}" -U test)
    _record recreate_database "$@"
    if [[ -n ${POSTGRESQL:-} ]]; then
        "$POSTGRESQL_TOOLS/dropdb" "${options[@]}" --if-exists "$1"
        "$POSTGRESQL_TOOLS/createdb" "${options[@]}" "$1"
    fi
}

# The port is what DevStack's web server would pass on.
function write_uwsgi_config {
    _record write_uwsgi_config "$@"
    iniset "$1" uwsgi wsgi-file "$2"
    iniset "$1" uwsgi mount-at "$3"
    iniset "$1" uwsgi http-socket "$SERVICE_HOST"
}

function remove_uwsgi_config {
    _record remove_uwsgi_config "$@"
    rm -rf "$1"
}

# -- Grenade ---------------------------------------------------------------------------------------

function register_project_for_upgrade {
    _record register_project_for_upgrade "$@"
}

function devstack_localrc {
    _record devstack_localrc "$@"
}

function upgrade_project {
    _record upgrade_project "$@"
}

function ensure_services_started {
    local service
    _record ensure_services_started "$@"
    for service in "$@"; do
        if ! _is_running "$(< "$SERVICES_DIR/$service.pid")"; then
            die $LINENO "The following services did not appear to start: $service"
        fi
    done
}

function ensure_services_stopped {
    local service
    _record ensure_services_stopped "$@"
    for service in "$@"; do
        if [[ -e $SERVICES_DIR/$service.pid ]]; then
            die $LINENO "The following services are still running: $service"
        fi
    done
}

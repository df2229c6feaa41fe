# SPDX-License-Identifier: Apache-2.0
"""The DevStack plugin: what each phase of the real one installs, writes and starts."""

import socket
import stat
from pathlib import Path

import psutil
import pytest

from tests.devstack.node import Node, make_venv
from tests.functional.agent import wait_until
from tests.services import keystone, openstack_apis, postgresql, rabbitmq, venvs
from tests.services.gnocchi import REQUIREMENTS, Gnocchi
from tests.services.openstack_apis import CATALOGUE, IMAGES
from tests.services.process import free_port

ALL = ("ceilo_agent-acompute", "ceilo_agent-acentral", "ceilo_agent-anotification")

GNOCCHI = ("gnocchi-api", "gnocchi-metricd")

GUEST = "6695eb01-f6a4-8304-79aa-97f2502e193f"
"""The one of libvirt's test driver."""


@pytest.fixture(scope="module")
def venv(tmp_path_factory):
    """An environment that the agent is installed in, once for all nodes that only write files."""
    made = tmp_path_factory.mktemp("venv") / "venv"
    make_venv(made)
    node = Node(
        tmp_path_factory.mktemp("first"), {"CEILOMETER_BACKEND": "none"}, made, installs=True
    )
    node.done("stack", "install")
    return made


@pytest.fixture
def node_with(tmp_path, venv):
    """Returns a function that makes a node with some settings."""

    def make(**settings):
        return Node(tmp_path / "node", settings, venv)

    return make


def enabled(node):
    """Return the services that the settings leave enabled."""
    said = node.run("none").stdout
    (line,) = (each for each in said.splitlines() if each.startswith("enabled: "))
    return set(line.removeprefix("enabled: ").split(","))


def named(calls, *names):
    return [call for call in calls if call[0] in names]


# -- which agents, under which names -------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, {*ALL, *GNOCCHI}),
        ({"CEILOMETER_BACKEND": "none"}, {*ALL}),
        # Ceilometer's names, as a job of it lists them.
        (
            {"ENABLED_SERVICES": "rabbit,key,n-cpu,ceilometer-acompute,ceilometer-acentral"},
            {
                "ceilometer-acompute",
                "ceilometer-acentral",
                ALL[2],
                "gnocchi-api",
                "gnocchi-metricd",
            },
        ),
        # A compute node.
        (
            {"DISABLED_SERVICES": "ceilometer-acentral,ceilometer-anotification"},
            {"ceilo_agent-acompute"},
        ),
        (
            {"DISABLED_SERVICES": "ceilo_agent-acentral,ceilo_agent-anotification"},
            {"ceilo_agent-acompute"},
        ),
        # Gnocchi comes with its own plugin, which enables its own services.
        ({"DEVSTACK_PLUGINS": ",gnocchi,ceilo_agent"}, {*ALL}),
        # Ceilometer's plugin beside ours keeps its names for itself.
        (
            {
                "DEVSTACK_PLUGINS": ",ceilometer,ceilo_agent",
                "CEILOMETER_BACKENDS": "gnocchi",
                "ENABLED_SERVICES": "rabbit,key,n-cpu,ceilometer-acompute",
            },
            {*ALL, "ceilometer-acompute"},
        ),
    ],
)
def test_which_services_are_enabled(node_with, settings, wanted):
    assert enabled(node_with(**settings)) - {"rabbit", "key", "n-cpu"} == wanted


def test_a_node_without_any_of_the_agents_is_left_alone(node_with):
    node = node_with(DISABLED_SERVICES=",".join(ALL))
    for mode, phase in (
        ("stack", "pre-install"),
        ("stack", "install"),
        ("stack", "post-config"),
        ("stack", "extra"),
        ("unstack", ""),
        ("clean", ""),
    ):
        assert node.done(mode, phase) == []
    assert not node.conf.exists()


# -- settings that cannot be used ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"CEILOMETER_BACKEND": "mongodb"},
            "CEILOMETER_BACKEND is 'mongodb': gnocchi or none was expected",
        ),
        (
            {"CEILOMETER_BACKENDS": "gnocchi,sg-core"},
            "CEILOMETER_BACKEND is 'gnocchi,sg-core': gnocchi or none was expected",
        ),
        (
            {"CEILOMETER_PIPELINE_INTERVAL": "1m"},
            "CEILO_AGENT_INTERVAL is '1m': a whole number from 1 to 86400 was expected",
        ),
        (
            {"CEILOMETER_PIPELINE_INTERVAL": "86401"},
            "CEILO_AGENT_INTERVAL is '86401': a whole number from 1 to 86400 was expected",
        ),
        (
            {"CEILO_AGENT_WORKERS": "0"},
            "CEILO_AGENT_WORKERS is '0': a whole number from 1 to 256 was expected",
        ),
        (
            {"CEILO_AGENT_QUEUES": "many"},
            "CEILO_AGENT_QUEUES is 'many': a whole number from 1 to 1024 was expected",
        ),
        (
            {"CEILO_AGENT_WIRE_FORMAT": "json"},
            "CEILO_AGENT_WIRE_FORMAT is 'json': native or ceilometer was expected",
        ),
        (
            {"CEILOMETER_COORDINATION_URL": "memcached://user:secret@localhost"},
            (
                "CEILOMETER_COORDINATION_URL is of 'memcached': file://, redis://, zookeeper:// or "
                "etcd3+http:// was expected"
            ),
        ),
        (
            {"CEILO_AGENT_CENTRAL_NAMESPACES": "host, central"},
            (
                "CEILO_AGENT_CENTRAL_NAMESPACES is 'host, central': names with commas between were "
                "expected"
            ),
        ),
        (
            {"CEILO_AGENT_PIPELINE_FILE": "/nowhere/pipeline.yaml"},
            "CEILO_AGENT_PIPELINE_FILE: there is no /nowhere/pipeline.yaml",
        ),
        (
            {"ENABLED_SERVICES": "rabbit,ceilometer-aipmi"},
            (
                "ceilometer-aipmi is enabled: ceilo_agent does not read IPMI; disable_service "
                "ceilometer-aipmi, or enable Ceilometer's plugin beside this one"
            ),
        ),
        (
            {"ENABLED_SERVICES": "key", "RABBIT_HOST": ""},
            (
                "there is no message broker: enable_service rabbit, or set RABBIT_HOST and "
                "RABBIT_PASSWORD"
            ),
        ),
    ],
)
def test_a_setting_that_cannot_be_used_ends_the_run_with_a_line(node_with, settings, told):
    ended = node_with(**settings).run("stack", "pre-install")
    assert ended.returncode == 1
    (line,) = (each for each in ended.stderr.splitlines() if each.startswith("[ERROR] "))
    assert line.endswith(f" {told}")
    assert "/devstack/plugin.sh:" in line


def test_settings_that_can_be_used_pass(node_with):
    assert node_with().done("stack", "pre-install") == []


def test_a_pipeline_file_with_a_mistake_ends_the_run_with_its_line(node_with, tmp_path):
    pipeline = tmp_path / "own.yaml"
    pipeline.write_text(
        "sources:\n  - {name: guests, interval: 60, meters: [cpu], sinks: [stor]}\n"
        "sinks:\n  - {name: store, publishers: ['file:///tmp/samples.json']}\n"
    )
    node = node_with(CEILO_AGENT_PIPELINE_FILE=str(pipeline), CEILOMETER_BACKEND="none")
    ended = node.run("stack", "post-config")
    assert ended.returncode == 1
    assert f"{node.conf}/pipeline.yaml:2:" in ended.stderr
    assert "'stor'" in ended.stderr
    assert "ceilo_agent-acompute cannot run with" in ended.stderr
    # What [[post-config|...]] of local.conf spoils is found before an agent starts.
    node = Node(tmp_path / "second", {"CEILOMETER_BACKEND": "none"}, node.venv)
    node.done("stack", "post-config")
    with (node.conf / "ceilo_agent.conf").open("a") as file:
        file.write("\n[notification]\nqueues = none\n")
    ended = node.run("stack", "extra")
    assert ended.returncode == 1
    assert "cannot run with" in ended.stderr
    assert node.pids() == {}


# -- what is installed ---------------------------------------------------------------------------


def test_each_node_installs_what_its_agents_need(node_with):
    node = node_with(DISABLED_SERVICES="ceilo_agent-acentral,ceilo_agent-anotification")
    assert node.done("stack", "install") == [
        ["install_package", "libvirt-dev", "pkg-config"],
        ["setup_develop", str(node.plugin), "bus,libvirt"],
    ]


def test_a_controller_installs_the_store_and_what_agents_agree_through(node_with):
    node = node_with(
        DISABLED_SERVICES="ceilometer-acompute",
        CEILOMETER_COORDINATION_URL="redis://localhost:6379",
        OS_PACKAGE="rpm",
    )
    assert node.done("stack", "install") == [
        ["pip_install", "gnocchi[file,keystone,postgresql]", "uwsgi"],
        ["install_package", "redis"],
        ["restart_service", "redis"],
        ["pip_install", "tooz[redis]"],
        ["setup_develop", str(node.plugin), "bus,gnocchi,central"],
    ]


@pytest.mark.parametrize(
    ("url", "extra"),
    [("zookeeper://zk-1:2181", "zookeeper"), ("etcd3+http://localhost:2379", "etcd3gw")],
)
def test_other_ways_to_agree_need_a_package_only(node_with, url, extra):
    node = node_with(
        DISABLED_SERVICES="ceilometer-acompute",
        DEVSTACK_PLUGINS=",gnocchi,ceilo_agent",
        CEILOMETER_COORDINATION_URL=url,
    )
    calls = node.done("stack", "install")
    assert calls[0] == ["pip_install", f"tooz[{extra}]"]
    assert named(calls, "install_package", "restart_service") == []


def test_gnocchi_from_git_where_devstack_is_told_so(node_with):
    node = node_with(LIBS_FROM_GIT="gnocchi")
    clone, install = node.done("stack", "install")[:2]
    there = str(node.directory / "opt" / "stack" / "gnocchi")
    assert clone == ["git_clone", "https://github.com/gnocchixyz/gnocchi", there, "master"]
    assert install == ["pip_install", "-e", f"{there}[file,keystone,postgresql]", "uwsgi"]


# -- what is written -----------------------------------------------------------------------------


def test_what_a_compute_node_is_told(node_with):
    node = node_with(
        ENABLED_SERVICES="n-cpu,ceilometer-acompute",
        DISABLED_SERVICES="ceilometer-acentral,ceilometer-anotification",
        RABBIT_HOST="controller",
        CEILOMETER_PIPELINE_INTERVAL="10",
        CEILOMETER_COORDINATION_URL="redis://controller:6379",
        CEILO_AGENT_LIBVIRT_URI="test:///default",
    )
    calls = node.done("stack", "post-config")
    assert calls == [
        ["iniset_rpc_backend", "ceilo_agent", f"{node.conf}/ceilo_agent.conf"],
        ["create_service_user", "ceilometer", "admin"],
    ]
    shared = node.options("ceilo_agent.conf")
    assert shared["DEFAULT"] == {
        "debug": "False",
        "pipeline_cfg_file": f"{node.conf}/pipeline.yaml",
        "transport_url": "rabbit://guest:guest@controller:5672/",
    }
    assert shared["polling"] == {"output": "bus", "wire_format": "native", "interval": "10"}
    assert shared["notification"] == {"queues": "8", "workers": "2"}
    assert shared["publisher"] == {"telemetry_secret": "service-secret"}
    assert shared["coordination"] == {"backend_url": "redis://controller:6379"}
    assert shared["service_credentials"] == {
        "auth_type": "password",
        "auth_url": "http://127.0.0.1/identity",
        "username": "ceilometer",
        "password": "service-secret",
        "user_domain_name": "Default",
        "project_name": "service",
        "project_domain_name": "Default",
        "region_name": "RegionOne",
    }
    assert node.options("compute.conf") == {
        "DEFAULT": {"state_path": f"{node.state}/compute"},
        "polling": {"namespaces": "compute"},
        "libvirt": {"uri": "test:///default"},
    }
    assert not (node.conf / "central.conf").exists()
    assert not (node.conf / "notification.conf").exists()
    # Passwords are for one pair of eyes.
    assert stat.S_IMODE((node.conf / "ceilo_agent.conf").stat().st_mode) == 0o600
    # A second stack.sh writes the same.
    again = (node.conf / "ceilo_agent.conf").read_text()
    node.done("stack", "post-config")
    assert (node.conf / "ceilo_agent.conf").read_text() == again


def test_what_a_controller_is_told(node_with):
    node = node_with(
        DISABLED_SERVICES="ceilometer-acompute",
        DEVSTACK_PLUGINS=",gnocchi,ceilo_agent",
        GNOCCHI_ARCHIVE_POLICY="low",
        CEILO_AGENT_WIRE_FORMAT="ceilometer",
    )
    node.done("stack", "post-config")
    shared = node.options("ceilo_agent.conf")
    assert shared["coordination"] == {"backend_url": f"file://{node.state}/coordination"}
    assert shared["notification"]["ceilometer_topics"] == "notifications"
    assert node.options("central.conf") == {
        "DEFAULT": {"state_path": f"{node.state}/central"},
        "polling": {"namespaces": "central,host"},
    }
    assert node.options("notification.conf") == {
        "DEFAULT": {"state_path": f"{node.state}/notification"}
    }
    assert not (node.conf / "compute.conf").exists()
    assert (
        '  store: "gnocchi://?filter_project=service'
        f'&resources_definition_file={node.conf}/gnocchi_resources.yaml&archive_policy=low"\n'
    ) in (node.conf / "pipeline.yaml").read_text()


def test_the_user_may_look_into_all_accounts_of_swift(node_with):
    node = node_with(ENABLED_SERVICES="rabbit,key,s-proxy", CEILOMETER_BACKEND="none")
    assert node.done("stack", "post-config")[1:] == [
        ["create_service_user", "ceilometer", "admin"],
        [
            "get_or_add_user_project_role",
            "ResellerAdmin",
            "ceilometer",
            "service",
            "Default",
            "Default",
        ],
    ]


def test_a_central_agent_that_asks_no_apis_needs_nothing_for_them(node_with):
    node = node_with(
        ENABLED_SERVICES="rabbit,key,s-proxy",
        DISABLED_SERVICES="ceilometer-acompute",
        CEILOMETER_BACKEND="none",
        CEILO_AGENT_CENTRAL_NAMESPACES="host",
    )
    assert node.done("stack", "install") == [["setup_develop", str(node.plugin), "bus"]]
    assert named(node.done("stack", "post-config"), "get_or_add_user_project_role") == []
    assert node.options("central.conf")["polling"] == {"namespaces": "host"}


def test_without_a_backend_samples_go_to_a_file(node_with):
    node = node_with(CEILOMETER_BACKEND="none", CEILOMETER_NOTIFICATION_TOPICS="notifications,more")
    node.done("stack", "post-config")
    assert (
        f'  store: "file://{node.state}/samples.json?' in (node.conf / "pipeline.yaml").read_text()
    )
    told = node.options("ceilo_agent.conf")["notification"]
    assert told["ceilometer_topics"] == "notifications,more"


def test_ceilometer_beside_reads_its_own_topics(node_with):
    node = node_with(
        DEVSTACK_PLUGINS=",ceilometer,ceilo_agent",
        CEILOMETER_BACKEND="none",
        CEILO_AGENT_WIRE_FORMAT="ceilometer",
    )
    node.done("stack", "post-config")
    assert "ceilometer_topics" not in node.options("ceilo_agent.conf")["notification"]


def test_tempest_is_told_what_the_job_says(node_with):
    node = node_with(CEILOMETER_ALARM_GRANULARITY="60", CEILOMETER_ALARM_METRIC_NAME="cpu")
    node.done("stack", "test-config")
    told = (node.directory / "tempest.conf").read_text()
    assert told == "\n[telemetry]\nalarm_granularity = 60\nalarm_metric_name = cpu\n"
    (line,) = (
        each for each in node.run("none").stdout.splitlines() if each.startswith("tempest: ")
    )
    assert line == "tempest: ,ceilometer"


def test_another_hypervisor_is_told_and_not_polled(node_with):
    node = node_with(
        CEILOMETER_BACKEND="none",
        DISABLED_SERVICES="ceilo_agent-acentral,ceilo_agent-anotification",
        VIRT_DRIVER="vsphere",
    )
    node.done("stack", "post-config")
    ended = node.run("stack", "extra")
    assert ended.returncode == 0, ended.stderr
    assert "ceilo_agent-acompute is not started: it reads libvirt only" in ended.stderr
    assert node.pids() == {}


# -- agents that run -----------------------------------------------------------------------------


class Cloud:
    """A broker, a Keystone, a PostgreSQL and images; the plugin brings Gnocchi and the agents."""

    def __init__(self, broker, identity, database, programs, apis):
        self.broker = broker
        self.identity = identity
        name, path = CATALOGUE["image"]
        identity.register("image", name, apis.url + path)
        self.port = free_port()
        self.settings = {
            "SERVICE_HOST": f"127.0.0.1:{self.port}",
            "RABBIT_PORT": str(broker.port),
            "KEYSTONE_SERVICE_URI": identity.url,
            "GNOCCHI_METRICD_PROCESSING_DELAY": "1",
            "CEILOMETER_PIPELINE_INTERVAL": "2",
            "CEILO_AGENT_LIBVIRT_URI": "test:///default",
            # For the stand-ins themselves.
            "export KEYSTONE_SERVICE_URI KEYSTONE_TOKEN": identity.token,
            "POSTGRESQL": str(database.port),
            "POSTGRESQL_TOOLS": str(database._tools),
            "export GNOCCHI_PROGRAMS": str(programs),
        }

        self.gnocchi = Gnocchi(programs, Path(), {"X-Auth-Token": identity.token})
        self.gnocchi.url = f"http://127.0.0.1:{self.port}/metric"

    def wait_for_points(self, resource, meter, node):
        """Wait until Gnocchi has some of a series, and return their values."""

        def values():
            return [
                value for _, value in self.gnocchi.points([resource]).get((resource, meter), [])
            ]

        try:
            return wait_until(values, 90, f"no {meter} of {resource}")
        except AssertionError as error:
            error.add_note(node.logs())
            raise


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    programs = venvs.ensure("gnocchi", *REQUIREMENTS)
    with (
        rabbitmq.running(tmp_path_factory.mktemp("rabbitmq")) as broker,
        keystone.running(tmp_path_factory.mktemp("keystone")) as identity,
        postgresql.running(tmp_path_factory.mktemp("postgresql")) as database,
        openstack_apis.running() as apis,
    ):
        yield Cloud(broker, identity, database, programs, apis)


@pytest.fixture(scope="module")
def controller(cloud, tmp_path_factory):
    """A node with everything on it, stacked."""
    directory = tmp_path_factory.mktemp("controller")
    make_venv(directory / "venv")
    node = Node(directory, cloud.settings, directory / "venv", installs=True)
    try:
        node.stacked = {
            phase: node.done("stack", phase)
            for phase in ("pre-install", "install", "post-config", "extra")
        }
        yield node
    finally:
        node.close()


def test_all_on_one_node(controller):
    agent = f"{controller.directory}/venv/bin/ceilo-agent --config-file {controller.conf}/"
    agent += f"ceilo_agent.conf --config-file {controller.conf}/"
    installed = controller.stacked["install"]
    assert [call[:2] for call in installed] == [
        ["pip_install", "gnocchi[file,keystone,postgresql]"],
        ["install_package", "libvirt-dev"],
        ["setup_develop", str(controller.plugin)],
    ]
    assert installed[-1][2] == "bus,gnocchi,central,libvirt"
    assert [call[0] for call in controller.stacked["post-config"]] == [
        "iniset_rpc_backend",
        "configure_keystone_authtoken_middleware",
        "write_uwsgi_config",
        "recreate_database",
        "create_service_user",
        "create_service_user",
        "get_or_create_service",
        "get_or_create_endpoint",
    ]
    started = named(controller.stacked["extra"], "run_process")
    assert [call[1] for call in started[:2]] == ["gnocchi-api", "gnocchi-metricd"]
    assert [call[1:] for call in started[2:]] == [
        ["ceilo_agent-anotification", f"{agent}notification.conf notification"],
        ["ceilo_agent-acentral", f"{agent}central.conf polling"],
        ["ceilo_agent-acompute", f"{agent}compute.conf polling"],
    ]


def test_the_agents_run(controller):
    assert controller.alive() == {*ALL, *GNOCCHI}, controller.logs()


def test_points_arrive_in_gnocchi(cloud, controller):
    """From both polling agents, through the broker and with the credentials that were made."""
    host = socket.gethostname()
    # What Glance says, at the place that Keystone's catalogue names.
    image = IMAGES[0]
    assert cloud.wait_for_points(image["id"], "image.size", controller) == [image["size"]]
    # libvirt says that it runs.
    assert cloud.wait_for_points(GUEST, "power.state", controller) == [1]
    (total,) = cloud.wait_for_points(host, "hardware.memory.total", controller)
    assert total == pytest.approx(psutil.virtual_memory().total / 1024)
    # They belong to Ceilometer's user, and the guest has the attributes of its type.
    (user,) = cloud.identity.ask("GET", "/users?name=ceilometer")["users"]
    shown = cloud.gnocchi.resources("instance")[GUEST]
    assert shown["creator"].startswith(user["id"])
    assert shown["display_name"] == "test"


@pytest.mark.long
def test_a_compute_node_beside_it_sends_to_the_same_notification_agent(cloud, tmp_path, controller):
    settings = cloud.settings | {
        "DISABLED_SERVICES": "ceilometer-acentral,ceilometer-anotification",
        "ENABLED_SERVICES": "n-cpu,ceilometer-acompute",
        "CEILO_AGENT_COMPUTE_NAMESPACES": "compute,host",
    }
    node = Node(tmp_path / "compute", settings, controller.venv)
    try:
        for phase in ("pre-install", "post-config"):
            node.done("stack", phase)
        # As [[post-config|$CEILO_AGENT_CONF]] of local.conf does: it is another host.
        with (node.conf / "compute.conf").open("a") as file:
            file.write("[DEFAULT]\nhost = compute-2\n")
        assert named(node.done("stack", "extra"), "run_process")[0][1] == "ceilometer-acompute"
        assert node.alive() == {"ceilometer-acompute"}
        cloud.wait_for_points("compute-2", "hardware.memory.total", node)
        assert node.done("unstack") == [["stop_process", "ceilometer-acompute"]]
        assert node.pids() == {}
        said = node.log("ceilometer-acompute")
        assert "Traceback" not in said
        assert " 0 set aside, 0 dropped" in said
    finally:
        node.close()


@pytest.mark.long
def test_grenade_stops_upgrades_and_starts_the_agents(controller):
    before = controller.pids()
    # As an older plugin wrote it.
    central = controller.conf / "central.conf"
    written = central.read_text()
    older = written.replace("namespaces = central,host", "namespaces = host")
    assert older != written
    central.write_text(older)
    assert [call[1] for call in controller.upgrade("shutdown.sh")] == [*ALL, *ALL]
    assert controller.alive() == {*GNOCCHI}
    calls = controller.upgrade("upgrade.sh")
    assert [call[0] for call in named(calls, "setup_develop", "upgrade_project")] == [
        "setup_develop",
        "upgrade_project",
    ]
    assert {call[1] for call in named(calls, "run_process", "ensure_services_started")} == {*ALL}
    assert controller.alive() == {*ALL, *GNOCCHI}
    assert all(controller.pids()[name] != before[name] for name in ALL)
    assert central.read_text() == older
    # What is needed to poll the APIs is there, should it be told to.
    (installed,) = named(calls, "setup_develop")
    assert "central" in installed[2].split(",")


def test_unstack_ends_and_clean_removes(controller):
    calls = named(controller.done("unstack"), "stop_process")
    assert [call[1] for call in calls] == [*ALL, *GNOCCHI]
    assert controller.pids() == {}
    for name in ALL:
        assert "Traceback" not in controller.log(name)
    assert named(controller.done("clean"), "remove_uwsgi_config")
    for gone in (controller.conf, controller.state, controller.directory / "data" / "gnocchi"):
        assert not gone.exists()
    # Nothing is left for another try, which is no fault.
    controller.done("unstack")
    controller.done("clean")

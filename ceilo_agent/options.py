# SPDX-License-Identifier: Apache-2.0
"""Every option of the agent, with its help; nothing else declares one.

Names are Ceilometer's where the meaning is the same. Precedence: the command line, then
``[section]`` of the configuration files, then the default.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from oslo_config import cfg
from oslo_config.cfg import Locations

from ceilo_agent.errors import ConfigError, Fault, nearest

POLLSTERS: Final = "/etc/ceilo_agent/pollsters.d"
"""Where definitions of dynamic pollsters are; a machine may have none."""


def _credentials() -> list[Any]:
    """Return the options that let the agent into OpenStack's services, under keystoneauth's names.

    See https://docs.openstack.org/keystoneauth/latest/plugin-options.html.
    """
    texts = {
        "auth_type": "How the agent says who it is: password, v3password, token, v3token, "
        "v3applicationcredential, v3oidcpassword, http_basic or none, as keystoneauth calls them.",
        "auth_url": "Keystone's URL, such as http://controller:5000/v3.",
        "username": "The user's name.",
        "user_id": "The user's id, in place of the name.",
        "user_domain_name": "The name of the user's domain.",
        "user_domain_id": "The id of the user's domain.",
        "default_domain_name": "The name of the domain of user and project where none is given.",
        "default_domain_id": "The id of the domain of user and project where none is given.",
        "project_name": "The name of the project that the agent acts in.",
        "project_id": "The id of the project that the agent acts in.",
        "project_domain_name": "The name of that project's domain.",
        "project_domain_id": "The id of that project's domain.",
        "domain_name": "The name of the domain that the agent acts in, in place of a project.",
        "domain_id": "The id of the domain that the agent acts in, in place of a project.",
        "system_scope": "all: the agent acts in the whole cloud, in place of a project.",
        "trust_id": "The id of a trust that the agent acts under.",
        "application_credential_id": "For v3applicationcredential.",
        "application_credential_name": "For v3applicationcredential, with the user.",
        "region_name": "The region of the services.",
        "cafile": "The file of the authorities that sign the services' certificates. Without it "
        "those that Python's requests knows.",
        "certfile": "The file of the certificate that is shown to the services, PEM.",
        "keyfile": "The file of its key; without it certfile has both.",
    }
    secrets = {
        "password": "The user's password",
        "token": "For token and v3token, a token that Keystone gave before",
        "application_credential_secret": "For v3applicationcredential",
    }
    told = "; file:/path of a file whose first line it is."
    return [
        *(
            cfg.StrOpt(name, help=text, default="password" if name == "auth_type" else None)
            for name, text in texts.items()
        ),
        *(cfg.StrOpt(name, secret=True, help=text + told) for name, text in secrets.items()),
        cfg.StrOpt(
            "interface",
            default="public",
            choices=["public", "internal", "admin", "publicURL", "internalURL", "adminURL"],
            help="Which of a service's endpoints in Keystone's catalogue are asked.",
        ),
        cfg.BoolOpt(
            "insecure", default=False, help="Take the services' certificates whoever signed them."
        ),
    ]


GROUPS: Final[dict[str, list[Any]]] = {
    "DEFAULT": [
        cfg.StrOpt(
            "host",
            sample_default="<the machine's host name>",
            help="Name of this host in resource ids and metadata. It must stay the same over "
            "restarts: series hang on it.",
        ),
        cfg.StrOpt(
            "pipeline_cfg_file",
            mutable=True,
            help="The file of sources and sinks. Without it the first of "
            "/etc/ceilo_agent/pipeline.yaml and the file that came with the installation.",
        ),
        cfg.StrOpt(
            "state_path",
            sample_default="/var/lib/ceilo_agent",
            help="Directory for what the agent keeps over restarts: last readings, the state of "
            "transformers and the embedded store. Without it /var/lib/ceilo_agent for root, else "
            "~/.local/state/ceilo_agent.",
        ),
        cfg.BoolOpt(
            "debug", default=False, mutable=True, help="Log at level DEBUG instead of INFO."
        ),
        cfg.StrOpt("log_file", help="Log into this file instead of standard error."),
        cfg.StrOpt(
            "transport_url",
            secret=True,
            help="The message broker of [polling] output = bus, of the notification agent and of "
            "notifier:// without a host, as oslo.messaging writes it: "
            "rabbit://user:password@host:5672/vhost. [oslo_messaging_rabbit] and its other "
            "sections are read too. file:/path of a file whose first line it is.",
        ),
        cfg.StrOpt(
            "reseller_prefix",
            default="AUTH_",
            help="What the names of Swift's accounts begin with, reseller_prefix of its "
            "proxy-server.conf.",
        ),
        cfg.ListOpt(
            "reserved_metadata_namespace",
            default=["metering."],
            help="With [compute] fetch_extra_metadata: which of a server's own metadata become its "
            "samples' user_metadata, by the beginning of their names; it is taken off.",
        ),
        cfg.ListOpt(
            "reserved_metadata_keys",
            help="Likewise, by their whole names.",
        ),
        cfg.IntOpt(
            "reserved_metadata_length",
            default=256,
            min=0,
            help="Letters of such a value that are kept.",
        ),
    ],
    "polling": [
        cfg.StrOpt(
            "cfg_file",
            mutable=True,
            help="A file whose sources are polled, such as Ceilometer's polling.yaml, in place of "
            "those of pipeline_cfg_file. That file's sources then only say by name or by meter "
            "which sinks the samples go to.",
        ),
        cfg.ListOpt(
            "namespaces",
            mutable=True,
            default=["compute", "host"],
            help="What to poll: compute (the guests of the local libvirt), host (this machine), "
            "central (what belongs to no host: APIs).",
        ),
        cfg.BoolOpt(
            "ignore_disabled_projects",
            default=False,
            help="Poll nothing of projects that are disabled, or whose domain is.",
        ),
        cfg.StrOpt(
            "partitioning_group_prefix",
            help="Agents share work with those of the same prefix only.",
        ),
        cfg.IntOpt(
            "interval",
            mutable=True,
            min=1,
            max=86400,
            help="Poll every source at this interval, in seconds, whatever the file says.",
        ),
        cfg.StrOpt(
            "output",
            default="pipeline",
            choices=["pipeline", "bus"],
            help="pipeline: this agent transforms and publishes what it polls. bus: it sends raw "
            "samples to transport_url, for notification agents to do that; of the pipeline file "
            "it uses the sources only.",
        ),
        cfg.StrOpt(
            "wire_format",
            default="native",
            choices=["native", "ceilometer"],
            help="With output = bus, what is sent: our own batches, or messages of Ceilometer, "
            "which its notification agents read as well.",
        ),
        cfg.MultiStrOpt(
            "pollsters_definitions_dirs",
            default=[POLLSTERS],
            deprecated_group="DEFAULT",  # where Ceilometer has it
            help="Directories of YAML files that describe HTTP APIs to poll (central).",
        ),
        cfg.BoolOpt(
            "host_commands",
            default=False,
            help="Let these files run commands of this host (host_command), without a shell.",
        ),
    ],
    "notification": [
        cfg.IntOpt(
            "workers",
            default=1,
            min=1,
            max=256,
            mutable=True,
            help="Processes that consume, transform and publish.",
        ),
        cfg.IntOpt(
            "queues",
            default=8,
            min=1,
            max=1024,
            help="Topics that samples are spread over by the host that polled them, each consumed "
            "by one worker. Polling and notification agents of one broker must have the same.",
        ),
        cfg.MultiStrOpt(
            "messaging_urls",
            default=[],
            secret=True,
            help="Brokers to consume from, each on a line of its own. Without any, transport_url.",
        ),
        cfg.ListOpt(
            "ceilometer_topics",
            default=[],
            help="Topics on which Ceilometer's sample messages are read, such as notifications. "
            "What is read here no notification agent of Ceilometer's gets. Without any, none.",
        ),
        cfg.ListOpt(
            "ceilometer_exchanges",
            default=["ceilometer"],
            help="The exchanges of these topics.",
        ),
        cfg.IntOpt(
            "batch_size",
            default=100,
            min=1,
            max=10000,
            help="Messages that are accepted in one transaction at most.",
        ),
        cfg.FloatOpt(
            "batch_timeout",
            default=0.2,
            min=0.01,
            max=60.0,
            help="Seconds that such a transaction waits for more messages.",
        ),
        cfg.IntOpt(
            "prefetch",
            default=100,
            min=1,
            max=10000,
            help="Messages that a broker may hand out before the first of them is accepted: they "
            "bound the memory of a worker.",
        ),
        cfg.IntOpt(
            "meters_interval",
            default=60,
            min=1,
            max=3600,
            help="Seconds between two samples of each of the agent's own meters, notification.*, "
            "which it has where a source takes them.",
        ),
        cfg.IntOpt(
            "dead_letters_max_bytes",
            default=64 << 20,
            min=1 << 20,
            help="Bytes of messages that could not be read which a worker keeps; the oldest go "
            "first, counted.",
        ),
    ],
    "publisher": [
        cfg.StrOpt(
            "telemetry_secret",
            secret=True,
            mutable=True,
            help="Signs what is sent over the bus; with it the notification agent sets aside what "
            "is not signed, or wrongly. Ceilometer's name, and good for its messages as well. "
            "file:/path of a file whose first line it is. Without it nothing is signed.",
        ),
        cfg.StrOpt(
            "previous_telemetry_secret",
            secret=True,
            mutable=True,
            help="A second secret that is accepted, while agents change from one to the other.",
        ),
        cfg.IntOpt(
            "max_message_bytes",
            default=1 << 20,
            min=1 << 14,
            max=1 << 27,
            help="Bytes of a message on the bus; what is larger is split.",
        ),
    ],
    "coordination": [
        cfg.StrOpt(
            "backend_url",
            secret=True,
            sample_default="file://<state_path>/coordination",
            help="Where agents agree on who does what, as tooz writes it: redis://, zookeeper:// "
            "(kazoo), etcd3+http://. Without it a directory: agents of one host.",
        ),
        cfg.IntOpt(
            "weight",
            default=1,
            min=1,
            max=10,
            help="This agent's part of the work that agents share, against 1 of others.",
        ),
        cfg.IntOpt(
            "heartbeat_timeout",
            default=30,
            min=2,
            max=3600,
            help="Seconds after which an agent that is not heard of has left: the others poll what "
            "was its own. A timeout in backend_url comes first.",
        ),
        cfg.IntOpt(
            "grace",
            default=300,
            min=0,
            help="Seconds for which an agent goes on with its last share of the work while it "
            "cannot reach backend_url. Then it polls nothing that is shared until it can.",
        ),
    ],
    "libvirt": [
        cfg.StrOpt(
            "uri",
            help="The hypervisor to read. Without it qemu:///system; where there is no libvirtd, "
            "`up` and `poll` read libvirt's built-in test driver, test:///default, and say so.",
        ),
        cfg.FloatOpt(
            "call_timeout",
            default=2.0,
            min=0.1,
            max=60.0,
            help="Seconds that libvirt may take to connect, to list its guests and to tell their "
            "XML, and that a guest's QEMU may take to answer before the guest counts as hung. All "
            "reading of a cycle may take half the interval, at least 1 s and at most 10 s.",
        ),
        cfg.IntOpt(
            "metadata_refresh",
            default=3600,
            min=10,
            help="Seconds after which the XML of a guest is read again even if no event told of a "
            "change.",
        ),
    ],
    "compute": [
        cfg.BoolOpt(
            "report_stopped_instance_metrics",
            default=False,
            help="Report what libvirt knows of stopped guests: their state, vCPUs, memory "
            "and disk sizes.",
        ),
        cfg.BoolOpt(
            "fetch_extra_metadata",
            default=False,
            help="Ask Nova, with [service_credentials], for what the XML of its domains lacks: of "
            "a server's own metadata those reserved for metering, its availability zone, when it "
            "was launched, and of older Novas the flavor's id. One request lists the servers of "
            "the host; no poll waits for it, and until it is answered samples lack these. "
            "[DEFAULT] host must be the name that nova-compute has.",
        ),
        cfg.IntOpt(
            "extra_metadata_interval",
            default=300,
            min=10,
            help="With fetch_extra_metadata: seconds between requests for servers that changed.",
        ),
        cfg.IntOpt(
            "resource_cache_expiry",
            default=3600,
            min=10,
            help="With fetch_extra_metadata: seconds after which Nova is asked for all servers of "
            "the host, changed or not.",
        ),
    ],
    "store": [
        cfg.StrOpt(
            "path",
            sample_default="<state_path>/store.db",
            help="The embedded metric store's file.",
        ),
        cfg.IntOpt(
            "max_age",
            default=7 * 86400,
            min=60,
            help="Seconds that samples stay in the embedded store.",
        ),
        cfg.IntOpt(
            "max_bytes",
            default=1 << 30,
            min=1 << 20,
            help="Bytes that the embedded store may take on disk; the oldest samples go first.",
        ),
    ],
    "delivery": [
        cfg.StrOpt(
            "spool_dir",
            sample_default="<state_path>/spool",
            help="Directory for what waits for publishers: <spool_dir>/<agent>/<worker>, one agent "
            "each.",
        ),
        cfg.StrOpt(
            "fsync",
            default="normal",
            choices=["normal", "always"],
            help="normal: what was accepted survives the end of the process, however it ends; the "
            "last of it may be missing after the machine lost power. always: not even then, at the "
            "price of a disk's answer for each batch.",
        ),
        cfg.IntOpt(
            "max_bytes",
            default=2 << 30,
            min=1 << 20,
            mutable=True,
            help="Bytes that what waits may take on disk; the oldest samples go first, counted.",
        ),
        cfg.IntOpt(
            "max_samples",
            default=0,
            min=0,
            mutable=True,
            help="Samples that may wait for one publisher; the oldest go first, counted. "
            "0: any number.",
        ),
        cfg.IntOpt(
            "max_age",
            default=7 * 86400,
            min=60,
            mutable=True,
            help="Seconds that samples may wait; older ones are dropped, counted.",
        ),
    ],
    "service_credentials": _credentials(),
    "rgw_admin_credentials": [
        cfg.StrOpt(
            "access_key",
            secret=True,
            help="The access key of an administrator of Ceph's object gateway; file:/path of a "
            "file whose first line it is. Without it radosgw.* is not polled.",
        ),
        cfg.StrOpt(
            "secret_key",
            secret=True,
            help="Its secret key; file:/path of a file whose first line it is.",
        ),
    ],
    "rgw_client": [
        cfg.BoolOpt(
            "implicit_tenants",
            default=False,
            help="Ceph's object gateway runs with rgw_keystone_implicit_tenants: each project has "
            "a tenant of its own there.",
        ),
    ],
    "gnocchi": [
        cfg.StrOpt(
            "auth_section",
            default="service_credentials",
            choices=["service_credentials", "gnocchi"],
            help="The section whose credentials let the agent into Gnocchi.",
        ),
        *_credentials(),
    ],
}

PIPELINE_PLACES: Final = (
    Path("/etc/ceilo_agent/pipeline.yaml"),
    Path(__file__).resolve().parent.parent / "etc" / "pipeline.yaml",
)
"""Where pipeline.yaml is looked for: the operator's, then that of a source tree; the one that was
installed beside the package (``<prefix>/etc/ceilo_agent``) is the last."""


def parse(files: Sequence[str], overrides: dict[str, Any] | None = None) -> Any:
    """Read configuration files and return oslo.config's object with every option filled in.

    Args:
        files: paths given as ``--config-file``; without any, /etc/ceilo_agent/ceilo_agent.conf if
            it exists.
        overrides: values from the command line by ``section.name``; None values are passed over.

    Raises:
        ConfigError: a file cannot be read, or a value is of the wrong type.
    """
    conf = cfg.ConfigOpts()
    for group, options in GROUPS.items():
        conf.register_opts(options, group=_named(group))
    default = Path("/etc/ceilo_agent/ceilo_agent.conf")
    chosen = list(files) or ([str(default)] if default.is_file() else [])
    try:
        conf([], project="ceilo_agent", default_config_files=chosen, default_config_dirs=[])
    except (cfg.Error, UnicodeDecodeError) as error:
        raise ConfigError([Fault(" ".join(chosen) or "options", 0, 0, str(error))]) from error
    if faults := [fault for group in GROUPS for fault in _wrong(conf, group)]:
        raise ConfigError(faults)
    for name, value in (overrides or {}).items():
        if value is not None:
            group, _, option = name.rpartition(".")
            conf.set_override(option, value, group=_named(group))
    return conf


class Reread(NamedTuple):
    """The options after the configuration files were read again.

    Attributes:
        conf: new values of the options that may change while an agent runs, old ones of the rest.
        changed: the names of options that have a new value.
        fixed: the names of those that would have one, but keep it for a restart.
    """

    conf: Any
    changed: tuple[str, ...]
    fixed: tuple[str, ...]


def reread(conf: Any) -> Reread:
    """Read the configuration files of `conf` again; what the command line set stays.

    Raises:
        ConfigError: as `parse`.
    """
    given: dict[str, Any] = {}
    before: dict[str, Any] = {}
    for group, name, option in _each():
        before[name] = getattr(_section(conf, group), option.dest)
        place = conf.get_location(option.dest, _named(group))
        if place is not None and place.location is Locations.set_override:
            given[name] = before[name]
    new = parse(conf.default_config_files or (), given)
    changed: list[str] = []
    fixed: list[str] = []
    for group, name, option in _each():
        if getattr(_section(new, group), option.dest) == before[name]:
            continue
        if option.mutable:
            changed.append(name)
        else:
            fixed.append(name)
            new.set_override(option.dest, before[name], group=_named(group))
    return Reread(new, tuple(changed), tuple(fixed))


def _each() -> Iterator[tuple[str, str, Any]]:
    """Yield every option with its section and its full name, ``section.name``."""
    for group, declared in GROUPS.items():
        for option in declared:
            yield group, f"{group}.{option.dest}", option


def _named(group: str) -> str | None:
    """Return a section as oslo.config's functions take it."""
    return None if group == "DEFAULT" else group


def _section(conf: Any, group: str) -> Any:
    """Return the values of a section."""
    return conf if group == "DEFAULT" else conf[group]


def _wrong(conf: Any, group: str) -> Iterator[Fault]:
    """Yield the faults of a section's values: oslo.config finds them only when they are read."""
    section = _section(conf, group)
    for option in GROUPS[group]:
        try:
            getattr(section, option.dest)
        except ValueError as error:
            told, _, reason = str(error).partition(" is not valid: ")
            place = re.search(r"detail='([^']*)'", told)
            file = place[1] if place else "options"
            line = _line_of(file, group, option.name)
            what = f"[{group}] {option.name}: {_expected(option, reason) or reason or told}"
            yield Fault(file, line, 1 if line else 0, what)
        except (cfg.Error, AttributeError):
            what = f"[{group}] {option.name}: '$' refers to an option that is not there"
            for file in conf.default_config_files or ():
                if line := _line_of(file, group, option.name):
                    yield Fault(file, line, 1, what, "write $$ for a dollar sign")


def _expected(option: Any, reason: str) -> str:
    """Say what was expected where oslo.config repeats Python's words, or rounds; else empty."""
    kinds = {
        "invalid literal for int() with base 10: ": "a whole number",
        "could not convert string to float: ": "a number",
        "Unexpected boolean value ": "true or false",
    }
    for words, kind in kinds.items():
        if reason.startswith(words):
            return f"{kind} was expected, found {reason.removeprefix(words)}"
    if reason.startswith("Should be greater"):
        return f"at least {option.type.min} was expected"
    if reason.startswith("Should be less"):
        return f"at most {option.type.max} was expected"
    return ""


def unknown(conf: Any) -> list[Fault]:
    """Return what stands in the configuration files and is no option of ours.

    These are no faults: a file may be shared with other services. Sections of oslo.messaging are
    its own to check.
    """
    found = []
    for file in conf.config_file or conf.default_config_files or ():
        sections: dict[str, dict[str, Any]] = {}
        try:
            cfg.ConfigParser(file, sections).parse()
        except (OSError, UnicodeDecodeError, cfg.ParseError):
            continue  # It changed since `parse` read it.
        for group, entries in sections.items():
            if group.startswith("oslo_messaging_"):
                continue
            names = [option.name for option in GROUPS.get(group, [])] + _moved(group)
            if not names:
                what = f"no section is named [{group}]"
                found.append(Fault(file, _line_of(file, group), 1, what, nearest(group, GROUPS)))
                continue
            for name in entries:
                if name not in names:
                    what = f"[{group}] has no option '{name}'"
                    line = _line_of(file, group, name)
                    found.append(Fault(file, line, 1, what, nearest(name, names)))
    return sorted(found)


def _moved(group: str) -> list[str]:
    """Return the names of options that another section took over, and that are read here, too."""
    return [
        old.name or option.name
        for options in GROUPS.values()
        for option in options
        for old in option.deprecated_opts
        if old.group == group
    ]


def _line_of(file: str, group: str, name: str | None = None) -> int:
    """Return the line of a section or an option in a file, 0 if it cannot be told."""
    try:
        lines = Path(file).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return 0
    section = ""
    for number, text in enumerate(lines, 1):
        if header := re.match(r"\[(.*)\]", text):
            section = header[1]
            if name is None and section == group:
                return number
        elif name is not None and section == group and re.match(rf"{re.escape(name)}\s*[=:]", text):
            return number
    return 0


def host(conf: Any) -> str:
    """Return the name of this host."""
    return str(conf.host or socket.gethostname())


def state_path(conf: Any) -> Path:
    """Return the directory for what the agent keeps."""
    if conf.state_path:
        return Path(conf.state_path)
    if os.geteuid() == 0:
        return Path("/var/lib/ceilo_agent")
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "ceilo_agent"


def store_path(conf: Any) -> Path:
    """Return the embedded store's file."""
    return Path(conf.store.path) if conf.store.path else state_path(conf) / "store.db"


def spool_path(conf: Any) -> Path:
    """Return the directory for what waits for publishers."""
    return Path(conf.delivery.spool_dir) if conf.delivery.spool_dir else state_path(conf) / "spool"


def backend_url(conf: Any) -> str:
    """Return where agents agree on who does what, as tooz writes it."""
    return str(conf.coordination.backend_url or f"file://{state_path(conf)}/coordination")


def values(conf: Any) -> dict[str, Any]:
    """Return every value by ``section.name``, for plugins' defaults."""
    found = {name: getattr(_section(conf, group), option.dest) for group, name, option in _each()}
    found["DEFAULT.host"] = host(conf)
    found["DEFAULT.state_path"] = str(state_path(conf))
    found["store.path"] = str(store_path(conf))
    found["delivery.spool_dir"] = str(spool_path(conf))
    found["coordination.backend_url"] = backend_url(conf)
    return found

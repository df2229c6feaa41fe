# SPDX-License-Identifier: Apache-2.0
"""A node of a DevStack that stands in: runs phases of the real plugin, and tells what they did."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from configparser import RawConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STAND_INS = Path(__file__).resolve().parent

COPIED = ("LICENSE", "README.rst", "ceilo_agent", "devstack", "etc", "pyproject.toml", "setup.cfg")
"""What an installation takes of the repository."""

SOURCED = ("functions", "grenaderc", "stackrc", "lib/rpc_backend", "lib/tls", "lib/apache")
"""What Grenade's scripts source of Grenade and DevStack."""


class Node:
    """One node: a directory in place of /, and a plugin that was cloned below it.

    Args:
        directory: of its own.
        settings: variables of local.conf, or what DevStack itself has before any plugin.
        venv: a virtual environment that the agent is installed in.
        installs: the phases really install; otherwise only the calls are noted.

    Attributes:
        plugin: what was cloned.
        conf, state: the agents' directories.
    """

    def __init__(
        self,
        directory: Path,
        settings: Mapping[str, str],
        venv: Path,
        *,
        installs: bool = False,
    ) -> None:
        self.directory = directory
        self.plugin = directory / "opt" / "stack" / "ceilo_agent"
        self.conf = directory / "etc" / "ceilo_agent"
        self.state = directory / "data" / "ceilo_agent"
        self._record = directory / "record"
        self._services = directory / "services"
        self._localrc = directory / "localrc"
        self.venv = venv
        self._installs = installs
        for made in (self._services, directory / "home", self.plugin.parent):
            made.mkdir(parents=True)
        clone(self.plugin)
        known = {
            "DEST": str(self.plugin.parent),
            "DATA_DIR": str(directory / "data"),
            "DEVSTACK_PLUGINS": ",ceilo_agent",
            "ENABLED_SERVICES": "rabbit,key,n-cpu",
            "STACK_USER": subprocess.check_output(["id", "-un"], text=True).strip(),
            "SERVICE_HOST": "127.0.0.1",
            "HOST_IP": "127.0.0.1",
            "RABBIT_HOST": "127.0.0.1",
            "RABBIT_USERID": "guest",
            "RABBIT_PASSWORD": "guest",
            "KEYSTONE_SERVICE_URI": "http://127.0.0.1/identity",
            "SERVICE_PASSWORD": "service-secret",
            "SERVICE_DOMAIN_NAME": "Default",
            "SERVICE_PROJECT_NAME": "service",
            "REGION_NAME": "RegionOne",
            "DATABASE_TYPE": "postgresql",
            "ENABLE_DEBUG_LOG_LEVEL": "False",
            "API_WORKERS": "2",
            "VIRT_DRIVER": "libvirt",
            "CEILO_AGENT_CONF_DIR": str(self.conf),
            "GNOCCHI_CONF_DIR": str(directory / "home" / ".gnocchi"),
            "TEMPEST_CONFIG": str(directory / "tempest.conf"),
        }
        lines = (f"{name}={shlex.quote(value)}" for name, value in (known | dict(settings)).items())
        self._localrc.write_text("\n".join(["# local.conf", *lines]) + "\n")

    def run(self, mode: str, phase: str = "") -> subprocess.CompletedProcess[str]:
        """Run one phase to its end, whatever that is."""
        command = [str(STAND_INS / "phase.sh"), str(self._localrc), str(self.plugin), mode]
        return self._bash([*command, *filter(None, [phase])])

    def done(self, mode: str, phase: str = "") -> list[list[str]]:
        """Run one phase, which must succeed and leave the shell as it was; return the calls."""
        before = len(self.calls())
        ended = self.run(mode, phase)
        assert ended.returncode == 0, ended.stderr
        # What stack.sh has set stays so.
        (options,) = re.findall(r"^after: (\w+)$", ended.stdout, re.MULTILINE)
        assert {*"ex"} <= {*options}, options
        return self.calls()[before:]

    def upgrade(self, script: str) -> list[list[str]]:
        """Run one of the scripts that Grenade runs; return the calls."""
        for path in (
            "functions",
            "grenaderc",
            "stackrc",
            "lib/rpc_backend",
            "lib/tls",
            "lib/apache",
        ):
            file = self.directory / "grenade" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"source {STAND_INS}/functions.sh\nsource {self._localrc}\n")
        before = len(self.calls())
        ended = self._bash([str(self.plugin / "devstack" / "upgrade" / script)])
        assert ended.returncode == 0, ended.stderr
        return self.calls()[before:]

    def calls(self) -> list[list[str]]:
        """Return the calls of DevStack's functions that act, with their arguments."""
        with contextlib.suppress(FileNotFoundError):
            found = map(shlex.split, self._record.read_text().splitlines())
            return [call for call in found if call[0] != "echo_summary"]
        return []

    def options(self, name: str) -> dict[str, dict[str, str]]:
        """Return the sections of a file below the agents' directory."""
        parser = RawConfigParser(default_section="(none)")
        assert parser.read(self.conf / name), f"there is no {name}"
        return {section: dict(parser[section]) for section in parser.sections()}

    def log(self, service: str) -> str:
        """Return what a service wrote."""
        with contextlib.suppress(FileNotFoundError):
            return (self._services / f"{service}.log").read_text()
        return ""

    def logs(self) -> str:
        """Return the last of what each service wrote."""
        found = sorted(path.stem for path in self._services.glob("*.log"))
        return "\n".join(f"{name}: {self.log(name)[-2000:]}" for name in found)

    def pids(self) -> dict[str, int]:
        """Return the services that were started and not stopped."""
        return {path.stem: int(path.read_text()) for path in self._services.glob("*.pid")}

    def alive(self) -> set[str]:
        """Return the services whose process is there."""
        return {name for name, pid in self.pids().items() if _is_alive(pid)}

    def close(self) -> None:
        """End whatever runs, by force."""
        for pid in self.pids().values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)

    def _bash(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        grenade = str(self.directory / "grenade")
        environment = {
            "HOME": str(self.directory / "home"),
            "INSTALLS": "yes" if self._installs else "",
            "LANG": "C.UTF-8",
            "PATH": os.environ["PATH"],
            "PYTHON": sys.executable,
            "RECORD": str(self._record),
            "SERVICES_DIR": str(self._services),
            "TESTS": str(STAND_INS),
            "VENV": str(self.venv),
            "GRENADE_DIR": grenade,
            "BASE_DEVSTACK_DIR": grenade,
            "TARGET_DEVSTACK_DIR": grenade,
            "BASE_DEVSTACK_BRANCH": "stable/a",
            "TARGET_DEVSTACK_BRANCH": "stable/b",
        }
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=240,
            env=environment,
            cwd=self.directory,
            check=False,
        )


def clone(directory: Path) -> None:
    """Copy of this repository what is needed to install it, as `git clone` would."""
    directory.mkdir()
    without = shutil.ignore_patterns("__pycache__")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, directory / name, ignore=without)
        else:
            shutil.copy(source, directory / name)


def make_venv(directory: Path) -> None:
    """Make a virtual environment that has what ours has, beside what will be installed into it."""
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(directory)], check=True, timeout=60
    )
    (packages,) = directory.glob("lib/python*/site-packages")
    (packages / "ours.pth").write_text(sysconfig.get_path("purelib") + "\n")


def _is_alive(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False

# SPDX-License-Identifier: Apache-2.0
"""Runs the command as a user does, in a process of its own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

COMMAND = [str(Path(sys.executable).with_name("ceilo-agent"))]


def run(*arguments, config=None, timeout=60, check=True, **environment):
    """Run the command to its end and return it."""
    before = ["--config-file", str(config)] if config else []
    done = subprocess.run(
        [*COMMAND, *before, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=os.environ | environment,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    if check:
        assert done.returncode == 0, done.stderr
    return done


def configure(directory, host="h", namespaces="compute,host", more=""):
    """Write a configuration file and return it; the guests are those of libvirt's test driver."""
    config = directory / "agent.conf"
    config.write_text(f"""[DEFAULT]
host = {host}
state_path = {directory}/state
pipeline_cfg_file = {directory}/pipeline.yaml
[polling]
namespaces = {namespaces}
[libvirt]
uri = test:///default
{more}
""")
    return config


def poll(*arguments, **options):
    """Return what `poll --once --output json` prints."""
    return json.loads(run("poll", "--once", "--output", "json", *arguments, **options).stdout)


@contextlib.contextmanager
def running(*arguments, config, log, **environment):
    """A daemon for the length of a block; it must end cleanly within 5 s of SIGTERM."""
    with Path(log).open("a") as output:
        process = subprocess.Popen(
            [*COMMAND, "--config-file", str(config), *map(str, arguments)],
            stdout=output,
            stderr=output,
            env=os.environ | environment,
        )
    try:
        yield process
        began = time.monotonic()
        process.terminate()
        code = process.wait(20)
        took = time.monotonic() - began
    finally:
        process.kill()
        process.wait()
    said = Path(log).read_text()
    assert code == 0, said
    assert took < 5, f"it took {took:.1f} s to end: {said}"
    assert "Traceback" not in said, said


def wait_until(condition, seconds=30.0, what="it did not happen"):
    """Wait until the condition holds and return what it gave."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, what
        time.sleep(0.1)
    return found


def holds_hang_ups(pid):
    """Return whether a process has SIGHUP wait, as an agent does from its first moment on."""
    status = Path(f"/proc/{pid}/status").read_text()
    blocked = next(line for line in status.splitlines() if line.startswith("SigBlk:"))
    return bool(int(blocked.split()[1], 16) & 1 << signal.SIGHUP - 1)


def lines(path):
    """Return the whole samples of a file of JSON lines, none if it is not there yet."""
    try:
        text = Path(path).read_text()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def seconds(sample):
    """Return when a sample was read, in seconds since 1970."""
    return datetime.fromisoformat(sample["timestamp"]).timestamp()

# SPDX-License-Identifier: Apache-2.0
"""Files that options name: all that is wrong with them, before anything is opened."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ceilo_agent import options
from ceilo_agent.cli.configuration import read
from ceilo_agent.definition.secret import Secret
from ceilo_agent.errors import ConfigError
from ceilo_agent.pipeline.checking import check
from ceilo_agent.publishers.named_files import NamedFiles
from ceilo_agent.publishers.web_options import WebOptions
from tests.services.certificates import certificate

PIPELINE = """\
sources:
  - {{name: guests, interval: 60, meters: [cpu], sinks: [out]}}
sinks:
  - name: out
    publishers:
      - otlp://host?bearer_token=file:{secret}
"""


def told(**given: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        WebOptions(**given).read_files()
    return [str(fault) for fault in caught.value.faults]


def test_files_that_are_there_are_no_fault(tmp_path: Path) -> None:
    made = certificate(tmp_path)
    (tmp_path / "word").write_text("word\n")
    word = Secret(f"file:{tmp_path}/word")
    own = WebOptions(
        verify_ssl=str(made.cert),
        clientcert=str(made.cert),
        clientkey=str(made.key),
        bearer_token=word,
    ).read_files()
    assert own == WebOptions(bearer_token=Secret("as it is")).read_files()
    assert not own.denied


def test_files_that_hold_something_else_are_told_all_at_once(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"\xff nothing of the kind")
    assert told(
        verify_ssl=str(other), clientcert=str(other), bearer_token=Secret(f"file:{other}")
    ) == [
        f"option 'bearer_token': {other} is no UTF-8",
        f"option 'clientcert': no certificate with its key in {other}: PEM was expected",
        f"option 'verify_ssl': {other} holds no certificate in PEM",
    ]


def test_a_key_with_a_passphrase_is_told_and_nobody_is_asked(tmp_path: Path) -> None:
    made = certificate(tmp_path)
    locked = tmp_path / "locked.key"
    command = ["openssl", "pkey", "-aes256", "-passout", "pass:word", "-in", str(made.key)]
    subprocess.run([*command, "-out", str(locked)], check=True, capture_output=True)
    (words,) = told(clientcert=str(made.cert), clientkey=str(locked))
    assert words.endswith(f"and {locked}: the key has a passphrase, which nobody is there to give")


def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    files = NamedFiles()
    files.secret("password", Secret(f"file:{pipe}"))
    assert not files.own().denied


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make a directory that every user may look into, with a secret that nobody else may open."""
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else")
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o755)
        secret = place / "secret"
        secret.write_text("word")
        secret.chmod(0o600)
        (place / "pipeline.yaml").write_text(PIPELINE.format(secret=secret))
        (place / "agent.conf").write_text(f"[DEFAULT]\npipeline_cfg_file={place}/pipeline.yaml\n")
        really = os.open

        def as_nobody(path: Any, *rest: Any, **named: Any) -> int:
            """Be nobody for the secret alone: plugins may be installed where only root looks."""
            if str(path) != str(secret):
                return really(path, *rest, **named)
            os.seteuid(65534)
            try:
                return really(path, *rest, **named)
            finally:
                os.seteuid(0)

        monkeypatch.setattr(os, "open", as_nobody)
        yield place


def test_what_another_user_may_not_read_is_a_warning_and_stops_an_agent(elsewhere: Path) -> None:
    file = elsewhere / "pipeline.yaml"
    words = (
        f"{file}:6:9: the publisher 'otlp': option 'bearer_token': {elsewhere}/secret cannot be "
        "read: Permission denied"
    )
    report = check(file)
    assert not report.faults
    hint = " (the user that the agent runs as must be allowed to)"
    assert [str(warning) for warning in report.warnings] == [words + hint]
    conf = options.parse([str(elsewhere / "agent.conf")])
    with pytest.raises(ConfigError) as caught:
        read(conf)
    assert str(caught.value) == words

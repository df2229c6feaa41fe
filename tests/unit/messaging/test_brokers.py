# SPDX-License-Identifier: Apache-2.0
"""URLs of brokers, what is wrong with one in words, and that no password is in them."""

from __future__ import annotations

import logging
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ceilo_agent.definition.secret import masked, without_secrets
from ceilo_agent.errors import ConfigError
from ceilo_agent.messaging import outages
from ceilo_agent.messaging.reasons import hosts, words
from ceilo_agent.messaging.transport import connect, read_url

PLACE = "h:5672"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rabbit://u:hunter2@h:5672/v", "rabbit://***@h:5672/v"),
        ("rabbit://u:hunter2@a:1,u:hunter2@b:2/", "rabbit://***@a:1,***@b:2/"),
        ("rabbit://u:hunter2/x@h/", "rabbit://***@h/"),
        ("rabbit://u:hunter,2@h/", "rabbit://***@h/"),
        ("rabbit://u:hun@ter2@h/", "rabbit://***@h/"),
        ("u:hunter2@h", "***@h"),
        ("//u:hunter2@h", "//***@h"),
        ("kombu+memory://h/", "kombu+memory://h/"),
        ("", ""),
    ],
)
def test_a_url_is_shown_without_its_users(url: str, shown: str) -> None:
    assert masked(url) == shown


def test_the_hosts_of_a_url() -> None:
    assert hosts("rabbit://u:p@a:1,u:p@b:2/v") == ["a:1", "b:2"]
    assert hosts("rabbit://h/") == ["h"]
    assert hosts("fake://") == []


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("rabbit://u:hunter2/x@h:1/", "cannot be read"),
        ("rabbit://u:hun,ter2@h:1/", "cannot be read"),
        ("u:hunter2@h", "Failed to load transport driver"),
        ("//u:hunter2@h", "No scheme"),
        ("nosuch://u:hunter2@h/", "Failed to load transport driver"),
        ("rabbit://u:hunter2@h/?ssl=perhaps", "cannot be read"),
        ("rabbit://u:hunter2@h/?nosuch=1", "no option of a name"),
    ],
)
def test_what_is_no_url_is_refused_without_its_password(url: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        connect(url, ())
    assert "ter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_options_of_the_driver_are_read_from_the_files_and_checked(tmp_path: Path) -> None:
    file = tmp_path / "agent.conf"
    file.write_text("[oslo_messaging_rabbit]\nheartbeat_rate = 7\n")
    wanted = {"heartbeat_rate": 2, "amqp_durable_queues": True}
    conf = connect("rabbit://h/", [str(file)], defaults=wanted).conf.oslo_messaging_rabbit
    assert (conf.heartbeat_rate, conf.amqp_durable_queues) == (7, True)
    conf = connect("rabbit://h/", [str(file)], settings={"heartbeat_rate": 2}).conf
    assert conf.oslo_messaging_rabbit.heartbeat_rate == 2
    file.write_text("[oslo_messaging_rabbit]\nheartbeat_rate = often\n")
    with pytest.raises(ConfigError, match="heartbeat_rate"):
        connect("rabbit://h/", [str(file)])


def test_a_url_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("rabbit://u:p@h/\n")
    file.chmod(0o600)
    assert read_url(f"file:{file}") == "rabbit://u:p@h/"
    assert read_url("rabbit://h/") == "rabbit://h/"
    for wrong in (None, "", f"file:{tmp_path}/none", "file:relative"):
        with pytest.raises(ConfigError, match="transport_url"):
            read_url(wrong)


def _brought_about(cause: Exception) -> Exception:
    outer = RuntimeError("Unable to connect")
    outer.__cause__ = cause
    return outer


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "nobody listens there"),
        (_brought_about(RuntimeError("(403) ACCESS_REFUSED")), "refuses the user or the password"),
        (ssl.SSLError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] no"), "certificate is not trusted"),
        (RuntimeError(), "RuntimeError"),
        (RuntimeError("no way to amqp://u:hunter2@h:1//"), "no way to amqp://***@h:1//"),
    ],
)
def test_errors_in_words(error: Exception, said: str) -> None:
    assert said in words(error)


def test_errors_that_go_in_circles_end() -> None:
    error = RuntimeError("a")
    error.__context__ = RuntimeError("b")
    error.__context__.__context__ = error
    assert words(error) == "a"


def test_a_text_loses_the_secrets_of_its_urls() -> None:
    text = without_secrets("from 'rabbit://u:hunter2@h/' to amqp://u:hunter2@h:1//v")
    assert text == "from 'rabbit://***@h/' to amqp://***@h:1//v"


# -- outages -------------------------------------------------------------------------------------


def _drivers_log(level: int, text: str, *known: object) -> None:
    logging.getLogger("oslo.messaging._drivers.impl_rabbit").log(level, text, *known)


def _in_thread(name: str, call: Callable[[], None]) -> None:
    thread = threading.Thread(target=call, name=name)
    thread.start()
    thread.join()


def test_an_outage_is_told_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    outages.tell_instead()
    known = {"hostname": "h", "port": 5672, "err_str": "[Errno 111] Connection refused"}
    for _ in range(3):
        _drivers_log(logging.ERROR, "%(hostname)s:%(port)s is unreachable: %(err_str)s", known)
    for _ in range(2):
        _drivers_log(logging.INFO, "Reconnected to AMQP server on %(hostname)s:%(port)s", known)
    assert [record.getMessage() for record in caplog.records] == [
        f"{PLACE}: nobody listens there; it is tried again until the broker is there",
        f"{PLACE}: the broker is there again",
    ]


def test_who_sends_is_told_by_an_error_alone(caplog: pytest.LogCaptureFixture) -> None:
    outages.tell_instead()
    known = {"hostname": "h", "port": 5672, "err_str": "x"}
    for name in (outages.SENDING, "Rabbit-heartbeat"):
        _in_thread(name, lambda: _drivers_log(logging.ERROR, "%(hostname)s %(err_str)s", known))
    assert caplog.records == []


def test_who_connects_to_listen_is_known_by_its_thread(caplog: pytest.LogCaptureFixture) -> None:
    outages.tell_instead()
    said = "Connection failed: %s (retrying in %s seconds)"
    _in_thread(
        f"{outages.LISTENING}rabbit://***@h/",
        lambda: _drivers_log(logging.ERROR, said, "[Errno -2] Name or service not known", 1.0),
    )
    assert "rabbit://***@h/: no such host is known" in caplog.text
    outages.ended("rabbit://***@h/")


def test_the_library_is_loaded_by_who_uses_a_bus_only() -> None:
    code = (
        "import sys, ceilo_agent.messaging.listener, ceilo_agent.publishers.notifier\n"
        "loaded = {'oslo_messaging', 'kombu', 'amqp', 'oslo_service'} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)

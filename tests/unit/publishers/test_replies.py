# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import email.utils
import time

import pytest

from ceilo_agent.errors import Permanent, Retryable
from ceilo_agent.http_faults import asked_pause
from ceilo_agent.publishers.replies import SHOWN, fault_of


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_is_wrong_with_the_batch_is_permanent(status: int) -> None:
    error = fault_of("http://host/x", status, "the reason")
    assert isinstance(error, Permanent)
    assert error.refused is None
    assert str(error) == f"http://host/x answers {status}: the reason"


@pytest.mark.parametrize(
    "status", [301, 302, 304, 401, 403, 404, 405, 408, 409, 415, 429, 500, 501, 502, 503, 504, 599]
)
def test_what_may_be_mended_is_tried_again(status: int) -> None:
    error = fault_of("http://host/x", status)
    assert isinstance(error, Retryable)
    assert error.retry_after is None
    assert str(error) == f"http://host/x answers {status}"


def test_the_text_is_one_short_printable_line() -> None:
    said = str(fault_of("w", 500, "a\r\n  b\t\x1b[31mc" + "x" * 1000))
    assert said.startswith("w answers 500: a b \ufffd[31mcx")
    assert len(said) == len("w answers 500: ") + SHOWN


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        ("9" * 30, 999_999_999.0),
        (None, None),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    assert asked_pause(header) == seconds


def test_retry_after_as_a_date() -> None:
    found = asked_pause(email.utils.formatdate(time.time() + 100, usegmt=True))
    assert found is not None
    assert 90 < found <= 100


def test_retry_after_is_in_the_error() -> None:
    error = fault_of("w", 503, "", "30")
    assert isinstance(error, Retryable)
    assert error.retry_after == 30.0


@pytest.mark.parametrize(
    "text",
    [
        "Client sent an HTTP request to an HTTPS server.",
        "400 The plain HTTP request was sent to HTTPS port nginx",
        "Reason: You're speaking plain HTTP to an SSL-enabled server port.",
        "400 No required SSL certificate was sent",
        "400 The SSL certificate error",
    ],
)
def test_a_400_that_is_of_the_connection_is_tried_again(text: str) -> None:
    assert isinstance(fault_of("http://host/x", 400, text), Retryable)

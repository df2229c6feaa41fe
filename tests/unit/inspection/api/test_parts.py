# SPDX-License-Identifier: Apache-2.0
"""The parts of the engine that need no server."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from ceilo_agent.inspection.api import command, xml
from ceilo_agent.inspection.api.answer import Unanswered, place
from ceilo_agent.inspection.api.cache import Cache
from ceilo_agent.inspection.api.crew import GIVE_UP_AFTER, Crew, Job, Outcome
from ceilo_agent.inspection.api.decoding import decoded
from ceilo_agent.inspection.api.large import AT_A_TIME, FREE, Large
from ceilo_agent.inspection.api.pages import joined
from ceilo_agent.inspection.api.signing import signed
from ceilo_agent.plugins import Target

NOW = 10.0


def soon(seconds: float = 20.0) -> float:
    return time.monotonic() + seconds


# -- XML -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "document"),
    [
        ("<a/>", {"a": None}),
        ("<a>1</a>", {"a": "1"}),
        ("<a> <b>1</b> <b>2</b> </a>", {"a": {"b": ["1", "2"]}}),
        ('<a x="1">t</a>', {"a": {"@x": "1", "#text": "t"}}),
        ('<a x="1"/>', {"a": {"@x": "1"}}),
        ("<n:a>&lt;&#65;<![CDATA[ <b> ]]></n:a>", {"n:a": "<A <b>"}),
    ],
)
def test_xml_has_the_form_that_xmltodict_made_known(text, document):
    assert xml.parse(text.encode()) == document


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no element found"),
        ("<a>", "no element found"),
        ("<a></b>", "mismatched tag"),
        ("<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>", "DOCTYPE"),
        (
            "<!DOCTYPE a [<!ENTITY b 'bb'><!ENTITY c '&b;&b;'>]><a>&c;</a>",
            "DOCTYPE",
        ),
        ("<a>" * 10_000, "stand within one another"),
        ("<a>&other;</a>", "undefined entity"),
    ],
)
def test_bad_xml_is_refused(text, words):
    with pytest.raises(ValueError, match=words):
        xml.parse(text.encode())


# -- decoding ------------------------------------------------------------------------------------


def test_handlers_are_tried_in_order():
    assert decoded(["json", "xml", "text"], {}, b"<a>1</a>") == ("xml", {"a": "1"})
    assert decoded(["json", "xml", "text"], {}, b"load 3") == ("text", [{"out": "load 3"}])
    with pytest.raises(Unanswered, match=r"its answer is no JSON: .*, no XML: "):
        decoded(["json", "xml"], {}, b"load 3")


def test_texts_have_the_encoding_that_they_say():
    latin = {"content-type": "text/plain; charset=ISO-8859-1"}
    assert decoded(["text"], latin, b"\xe9") == ("text", [{"out": "é"}])
    odd = {"content-type": "text/plain; charset=rot13"}
    assert decoded(["text"], odd, "é".encode()) == ("text", [{"out": "é"}])
    assert decoded(["json"], {}, b"\xef\xbb\xbf[1]") == ("json", [1])


@pytest.mark.parametrize("name", ["unicode_escape", "raw_unicode_escape", "punycode", "idna"])
def test_what_python_alone_calls_an_encoding_is_none(name):
    said = {"content-type": f"text/plain; charset={name}"}
    assert decoded(["text"], said, b"\\ud800-a") == ("text", [{"out": "\\ud800-a"}])


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (r"\ud800", "\ufffd"),
        (r"a\uDFFFb", "a\ufffdb"),
        (r"\ud83d\ude00", "\U0001f600"),
        (r"\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
        (r"\\ud800", "\\ud800"),
        (r"\\\ud800", "\\\ufffd"),
    ],
)
def test_half_a_character_costs_itself_alone(written, read):
    assert decoded(["json"], {}, f'["{written}", NaN]'.encode())[1][0] == read


# -- signing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "signature"),
    [
        ("?lifecycle", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        (
            "?max-keys=2&prefix=J",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
)
def test_signatures_are_those_of_the_examples_of_aws(query, signature):
    """From sig-v4-header-based-auth.html of Amazon S3's API reference."""
    headers = signed(
        "GET",
        f"https://examplebucket.s3.amazonaws.com/{query}",
        "AKIAIOSFODNN7EXAMPLE",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "us-east-1",
        1369353600,
    )
    assert headers["x-amz-date"] == "20130524T000000Z"
    assert headers["Authorization"].endswith(f"Signature={signature}")


# -- URLs ----------------------------------------------------------------------------------------


def test_a_base_counts_as_a_directory():
    assert joined("http://h/v2", "images?a=b") == "http://h/v2/images?a=b"
    assert joined("http://h/v2/", "/v3/images") == "http://h/v3/images"


def test_no_message_shows_what_a_url_hides():
    assert place("http://me:secret@h:1/p?token=secret#x") == "http://***@h:1/p"
    assert place("http://me:se/cr?et@h") == "http://***@h"
    assert place("http://h/\nforged") == "http://h/?forged"


# -- cache ---------------------------------------------------------------------------------------


def test_the_cache_is_bounded_in_number_bytes_and_time():
    now = [0.0]
    cache = Cache(max_entries=3, max_bytes=100, clock=lambda: now[0])
    made = []

    def get(key, size=10, seconds=60):
        return cache.get(key, seconds, lambda: (made.append(key) or key, size), soon())

    assert [get("a"), get("a"), get("b"), get("c")] == ["a", "a", "b", "c"]
    assert made == ["a", "b", "c"]
    get("a")
    get("d")
    assert cache.size == (3, 30)
    get("a")
    assert made == ["a", "b", "c", "d"], "a was used last, b went"
    get("large", size=90)
    assert cache.size[1] <= 100
    get("huge", size=101)
    assert cache.size[1] <= 100
    now[0] = 61.0
    get("a")
    assert made[-1] == "a", "its time is over"
    get("never", seconds=0)
    get("never", seconds=0)
    assert made[-2:] == ["never", "never"]


def test_one_of_several_makes_what_all_ask_for():
    cache = Cache()
    made = []
    begun, go = threading.Event(), threading.Event()

    def make():
        begun.set()
        go.wait(20)
        made.append(1)
        return "x", 1

    found = []
    threads = [
        threading.Thread(target=lambda: found.append(cache.get("k", 60, make, soon())))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    begun.wait(20)
    go.set()
    for thread in threads:
        thread.join()
    assert (made, found) == ([1], ["x"] * 8)


def test_a_failure_is_kept_for_a_while():
    now = [0.0]
    cache = Cache(clock=lambda: now[0])
    tried = []

    def make():
        tried.append(1)
        raise Unanswered("it answers 404")

    for _ in range(3):
        with pytest.raises(Unanswered, match="404"):
            cache.get("k", 3600, make, soon())
    assert len(tried) == 1
    now[0] = 61.0
    with pytest.raises(Unanswered):
        cache.get("k", 3600, make, soon())
    assert len(tried) == 2


# -- jobs ----------------------------------------------------------------------------------------


def jobs(endpoint, count, do, limit=64, give_up=lambda: None):
    return [Job(Target(f"{endpoint} {n}"), endpoint, limit, do, give_up) for n in range(count)]


def test_all_jobs_are_done_and_no_more_at_a_time_than_allowed():
    lock, now, most, done = threading.Lock(), [0], [0], []

    def do():
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.002)
        with lock:
            now[0] -= 1
            done.append(1)
        return Outcome.DONE

    Crew().run(jobs("a", 300, do, limit=5), soon())
    assert len(done) == 300
    assert 2 <= most[0] <= 5


def test_many_endpoints_that_hang_do_not_keep_the_others_waiting():
    go, done = threading.Event(), []

    def hang():
        go.wait(60)
        return Outcome.FAILED

    def do():
        done.append(1)
        return Outcome.DONE

    work = [job for n in range(100) for job in jobs(f"hung {n}", 20, hang)]
    work += [job for n in range(50) for job in jobs(f"good {n}", 4, do)]
    crew = Crew()
    crew.run(work, soon(3))
    assert len(done) == 200
    go.set()


def test_those_that_failed_come_last_the_next_time():
    crew = Crew(most=1)
    crew.run(jobs("bad", 1, lambda: Outcome.FAILED) + jobs("good", 1, lambda: Outcome.DONE), soon())
    order = []

    def note(name):
        return lambda: order.append(name) or Outcome.DONE

    crew.run(jobs("bad", 2, note("bad")) + jobs("good", 2, note("good")), soon())
    assert order[0] == "good"


def test_where_nobody_is_the_others_are_given_up():
    tried, left = [], []

    def nobody():
        tried.append(1)
        return Outcome.NOBODY

    Crew().run(jobs("gone", 100, nobody, give_up=lambda: left.append(1)), soon())
    assert len(tried) + len(left) == 100
    assert GIVE_UP_AFTER <= len(tried) <= GIVE_UP_AFTER + 2


def test_a_fault_of_ours_costs_one_job():
    done = []

    def do():
        done.append(1)
        if len(done) == 1:
            raise RuntimeError
        return Outcome.DONE

    Crew().run(jobs("a", 5, do), soon())
    assert len(done) == 5


@pytest.mark.parametrize("most", [0, 1, 50])
def test_calls_are_spread_however_few_threads_there_are(most):
    done = []
    Crew(most).spread([lambda: done.append(1)] * 40, 8, soon())
    assert len(done) == 40


# -- large answers -------------------------------------------------------------------------------


def test_few_targets_hold_large_answers():
    large = Large()
    go = threading.Event()
    holding = threading.Semaphore(0)

    def hold():
        with large.held():
            large.reached(FREE + 1, soon())
            large.reached(FREE + 2, soon())
            holding.release()
            go.wait(60)

    threads = [threading.Thread(target=hold) for _ in range(AT_A_TIME)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert holding.acquire(timeout=20)
    with large.held():
        large.reached(FREE, soon())
        with pytest.raises(Unanswered, match="other large answers"):
            large.reached(FREE + 1, soon(0.1))
        with large.held(further=True):
            large.reached(FREE + 1, soon())
    go.set()
    for thread in threads:
        thread.join()
    with large.held():
        large.reached(FREE + 1, soon())


# -- commands ------------------------------------------------------------------------------------


def test_a_command_gives_what_it_prints():
    assert command.run(("echo", "$HOME", "; touch x"), soon(), 1000) == b"$HOME ; touch x\n"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("/no/such/program",), "No such file or directory"),
        (("false",), "exit code 1"),
        (("sh", "-c", "kill -9 $$"), "signal 9"),
        (("sleep", "1000"), "did not end within 0.5 s"),
        (("sh", "-c", "exec >&-; sleep 1000"), "did not end within 0.5 s"),
        (("yes",), "more than 1000 bytes"),
        (("a\0b",), "zero byte"),
    ],
)
def test_a_command_that_goes_wrong_is_told(words, reason):
    with pytest.raises(Unanswered, match=reason):
        command.run(words, soon(0.5), 1000)


def test_what_a_command_started_goes_with_it(tmp_path):
    file = tmp_path / "pid"
    script = f"sleep 1000 & echo $! > {file}; wait"
    with pytest.raises(Unanswered):
        command.run(("sh", "-c", script), soon(1), 1000)
    end = soon()
    pid = int(file.read_text())
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        if state == "Z":
            break
        time.sleep(0.05)
    else:
        assert not os.path.exists(f"/proc/{pid}")  # noqa: PTH110

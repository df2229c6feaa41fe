# SPDX-License-Identifier: Apache-2.0
"""Messages that could not be taken: kept, bounded, tried again."""

from __future__ import annotations

import random
import sqlite3
import string
from pathlib import Path

import pytest

from ceilo_agent.messaging.message import Message, Reason
from ceilo_agent.notification.intake import Letter
from ceilo_agent.notification.letterfile import DROPPED, FILE
from ceilo_agent.notification.letters import Letters, Shelf

MESSAGE = Message("ceilo_agent.samples.3", "somebody", "x", {"a": [1, None, "ä"]}, "id-1", "now")


def letter(payload: object = "x", reason: Reason = Reason.MALFORMED, words: str = "bad") -> Letter:
    return Letter(MESSAGE._replace(payload=payload), reason, words)


def test_a_letter_is_there_after_a_restart_as_it_came(tmp_path: Path) -> None:
    letters = Letters(tmp_path, 1 << 20)
    letters.put([Letter(MESSAGE, Reason.SIGNATURE, "it is not signed")])
    letters.close()
    shelf = Shelf(tmp_path / FILE)
    (kept,) = shelf.letters()
    assert kept.message == MESSAGE
    assert (kept.number, kept.reason, kept.words) == (1, "signature", "it is not signed")
    assert shelf.totals() == {"signature": 1}


def test_nothing_is_made_before_the_first_letter(tmp_path: Path) -> None:
    letters = Letters(tmp_path / "worker", 1 << 20)
    letters.put([])
    assert letters.again() == []
    assert not (tmp_path / "worker").exists()


def test_the_oldest_go_when_there_is_no_room_and_are_counted(tmp_path: Path) -> None:
    letters = Letters(tmp_path, 10_000)
    for number in range(100):
        text = random.Random(number).choices(string.ascii_letters, k=300)
        letters.put([letter("".join(text))])
    shelf = Shelf(tmp_path / FILE)
    kept = list(shelf.letters())
    assert sum(each.size for each in kept) <= 10_000
    assert kept[-1].number == 100
    assert [each.number for each in kept] == list(range(kept[0].number, 101))
    assert shelf.totals() == {"malformed": 100, DROPPED: 100 - len(kept)}


@pytest.mark.parametrize("payload", [float("nan"), 2**70, "\ud800", b"\xff", {1: 2}, [[]] * 3])
def test_any_payload_can_be_kept(tmp_path: Path, payload: object) -> None:
    letters = Letters(tmp_path, 1 << 20)
    letters.put([letter(payload, words="\udcff")])
    assert [each.reason for each in Shelf(tmp_path / FILE).letters()] == ["malformed"]


def test_marked_letters_are_tried_again_and_settled(tmp_path: Path) -> None:
    letters = Letters(tmp_path, 1 << 20)
    letters.put([letter("one"), letter("two"), letter("three")])
    shelf = Shelf(tmp_path / FILE)
    assert shelf.replay(2) == 1
    assert shelf.replay(99) == 0
    assert [each.message.payload for each in letters.again()] == ["two"]
    letters.settle([2])
    assert letters.again() == []
    assert [each.number for each in shelf.letters()] == [1, 3]
    assert shelf.discard() == 2
    assert list(shelf.letters()) == []


def test_a_damaged_file_is_kept_and_begun_anew(tmp_path: Path) -> None:
    letters = Letters(tmp_path, 1 << 20)
    letters.put([letter()])
    letters.close()
    (tmp_path / FILE).write_bytes(b"no database at all, whatever its name may be" * 100)
    letters = Letters(tmp_path, 1 << 20)
    letters.put([letter("after")])
    assert [each.message.payload for each in Shelf(tmp_path / FILE).letters()] == ["after"]
    assert len(list(tmp_path.glob(f"{FILE}.*.damaged"))) == 1


def test_what_cannot_be_written_is_told_and_can_be_tried_again(tmp_path: Path) -> None:
    (tmp_path / "worker").write_text("a file where the directory should be")
    letters = Letters(tmp_path / "worker", 1 << 20)
    with pytest.raises(OSError, match=r"exists|directory"):
        letters.put([letter()])
    (tmp_path / "worker").unlink()
    letters.put([letter()])
    assert len(list(Shelf(tmp_path / "worker" / FILE).letters())) == 1


def test_a_foreign_database_is_no_file_of_letters(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("CREATE TABLE other (x)")
    with pytest.raises(sqlite3.DatabaseError, match="letters"):
        Shelf(tmp_path / FILE)


def test_texts_without_end_are_cut_and_count(tmp_path: Path) -> None:
    letters = Letters(tmp_path, 1 << 20)
    letters.put([Letter(MESSAGE._replace(publisher_id="x" * 10**7), Reason.MALFORMED, "y" * 10**7)])
    (kept,) = Shelf(tmp_path / FILE).letters()
    assert 3000 < kept.size < 4000
    assert (tmp_path / FILE).stat().st_size < 1 << 20


def test_many_small_letters_stay_in_bounds_on_disk(tmp_path: Path) -> None:
    letters = Letters(tmp_path, 1 << 20)
    for _ in range(60):
        letters.put([letter(None)] * 1000)
    letters.close()
    assert (tmp_path / FILE).stat().st_size < 2 << 20


def test_letters_of_a_worker_that_is_no_more_are_taken_over(tmp_path: Path) -> None:
    gone, ours = Letters(tmp_path / "3", 1 << 20), Letters(tmp_path / "1", 1 << 20)
    gone.put([letter(number) for number in range(2500)])
    gone.put([letter("signed", Reason.SIGNATURE)])
    gone.close()
    Shelf(tmp_path / "3" / FILE).replay(2501)
    ours.put([letter("mine")])
    assert ours.take_over(tmp_path / "3" / FILE) == 2501
    assert ours.take_over(tmp_path / "3" / FILE) == 0
    shelf = Shelf(tmp_path / "1" / FILE)
    payloads = [each.message.payload for each in shelf.letters()]
    assert payloads == ["mine", *range(2500), "signed"]
    assert shelf.totals() == {"malformed": 2501, "signature": 1}
    assert [each.message.payload for each in ours.again()] == ["signed"]

# SPDX-License-Identifier: Apache-2.0
"""One YAML document, with positions, in bounded time and memory."""

import contextlib
import hashlib
import os
import time
from pathlib import Path

import pytest

from ceilo_agent.definition.document import MAX_BYTES, MAX_DEPTH, MAX_VALUES, parse, read
from ceilo_agent.definition.nodes import plain
from ceilo_agent.errors import ConfigError


def value(text):
    document = parse(text, "f")
    assert document.faults == []
    return plain(document.root)


def refusal(text):
    with pytest.raises(ConfigError) as caught:
        parse(text, "f")
    return list(map(str, caught.value.faults))


def unreadable(path):
    with pytest.raises(ConfigError) as caught:
        read(path)
    (fault,) = caught.value.faults
    return str(fault).removeprefix(str(path))


# -- Files ---------------------------------------------------------------------------------------


def test_read(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"\xef\xbb\xbfa: \xc3\xa9\n")
    content = read(path)
    assert content.text == "a: é\n"
    assert content.digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_missing_file(tmp_path):
    assert unreadable(tmp_path / "none") == ": no such file"


def test_directory(tmp_path):
    assert unreadable(tmp_path) == ": a file was expected, this is a directory"


def test_pipe_without_writer_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert unreadable(tmp_path / "pipe") == ": a file was expected, this is no regular file"


def test_device():
    assert unreadable(Path("/dev/zero")) == ": a file was expected, this is no regular file"


def test_file_as_directory(tmp_path):
    (tmp_path / "f").write_text("")
    assert unreadable(tmp_path / "f" / "g") == ": cannot be read: Not a directory"


def test_name_too_long(tmp_path):
    assert unreadable(tmp_path / ("x" * 300)) == ": cannot be read: File name too long"


def test_name_with_nul(tmp_path):
    assert unreadable(Path("a\0b")) == ": cannot be read: embedded null byte"


def test_link_to_itself(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    assert "cannot be read: " in unreadable(tmp_path / "loop")


def test_unreadable_file(tmp_path):
    path = tmp_path / "f"
    path.write_text("a: 1")
    path.chmod(0)
    if os.geteuid() != 0:
        assert unreadable(path) == ": cannot be read: Permission denied"
        return
    # Root may read everything: ask as somebody else, in a child that can give root up.
    tmp_path.chmod(0o711)
    for parent in tmp_path.parents:
        if parent.stat().st_uid == 0 and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o001)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setuid(65534)
            read(path)
            said = "it was read"
        except ConfigError as error:
            said = str(error)
        except BaseException as error:  # the child must not go on into pytest
            said = repr(error)
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as stream:
        assert stream.read() == f"{path}: cannot be read: Permission denied"


def test_ten_megabytes(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"a: b\n" * 2_000_000)
    assert unreadable(path) == ": larger than 1 MiB"


def test_one_mebibyte_is_read(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"#" * MAX_BYTES)
    assert len(read(path).text) == MAX_BYTES


def test_binary_noise(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"a: 1\nb: \xc3\xa9\xff\xfe\x00")
    assert unreadable(path) == ":2:5: not UTF-8: the byte 0xff"


def test_utf16(tmp_path):
    path = tmp_path / "f"
    path.write_text("a: 1", "utf-16")
    assert unreadable(path) == ":1:1: not UTF-8: the byte 0xff"


def test_control_character():
    assert refusal("a: é\nbc: \x07") == ["f:2:5: the character U+0007 is not allowed"]
    assert refusal("a\0") == ["f:1:2: the character U+0000 is not allowed"]
    assert refusal("a: \ud800") == ["f:1:4: the character U+D800 is not allowed"]


# -- What it says --------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "# only a comment\n", "\n\n"])
def test_nothing(text):
    assert parse(text, "f").root is None


def test_values_and_positions():
    root = parse("a: 1\nb:\n  - x: [é, 'on']\n  - ~\n", "f").root
    assert plain(root) == {"a": 1, "b": [{"x": ["é", "on"]}, None]}
    a, b = root.entries.values()
    assert a.position == (1, 4)
    assert [item.position for item in b.items] == [(3, 5), (4, 5)]
    assert b.items[0].entries["x"].items[1].position == (3, 12)
    assert root.keys == {"a": (1, 1), "b": (2, 1)}


@pytest.mark.parametrize(
    ("written", "place"),
    [
        ("volume * 8", (1, 7)),
        ("'volume * 8'", (1, 8)),
        ('"volume * 8"', (1, 8)),
        ('"volume\\x20* 8"', (1, 4)),  # what it means does not stand there
        (">\n  volume * 8", (1, 4)),
    ],
)
def test_where_a_character_of_a_scalar_stands(written, place):
    node = parse(f"a: {written}\n", "f").root.entries["a"]
    assert node.text.strip() == "volume * 8"
    assert node.at(3) == place


def test_windows_line_ends():
    root = parse("a: 1\r\nb: 2\r\n", "f").root
    assert root.entries["b"].position == (2, 4)


def test_keys_are_text():
    assert value("1: a\non: b\n~: c\n1.50: d\n") == {"1": "a", "on": "b", "~": "c", "1.50": "d"}


def test_quotes_and_blocks_are_text():
    assert value("[\"1\", 'true', !!str 5, ! 6]") == ["1", "true", "5", "6"]
    assert value("a: |\n  1\n  2\n") == {"a": "1\n2\n"}


def test_anchors_and_aliases():
    text = "a: &x [cpu, {b: 1}]\nc: *x\nd: &y 5\ne: [*y, *y]\n&z f: *z\n"
    found = value(text)
    assert found == {"a": ["cpu", {"b": 1}], "c": ["cpu", {"b": 1}], "d": 5, "e": [5, 5], "f": "f"}


def test_merge():
    text = "x: &x {a: 1, b: 2}\ny: &y {b: 3, c: 4}\nz: {<<: [*x, *y], a: 0}\n'<<': 5\n"
    found = value(text)
    assert found["z"] == {"a": 0, "b": 2, "c": 4}
    assert found["<<"] == 5


def test_faults_do_not_hide_one_another():
    document = parse("a: 1\na: 2\nb: !!python/x y\nc: *nothing\na: 3\n", "f")
    assert list(map(str, document.faults)) == [
        "f:2:1: the key 'a' stands twice (first in line 1)",
        "f:3:4: '!!python/x' is a tag of YAML, which has no meaning here (put it in quotes)",
        "f:4:4: '*nothing' is an alias of YAML without an anchor (put it in quotes)",
        "f:5:1: the key 'a' stands twice (first in line 1)",
    ]
    assert plain(document.root)["a"] == 1


# -- Bounds --------------------------------------------------------------------------------------


def test_alias_bomb():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    (fault,) = refusal("\n".join(lines))
    assert fault.endswith(f"more than {MAX_VALUES} values, those that aliases repeat included")


def test_merge_bomb():
    lines = ["a0: &a0 {k0: x}"]
    lines += [f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}], k{n}: x}}" for n in range(1, 45)]
    (fault,) = refusal("\n".join(lines))
    assert f"more than {MAX_VALUES} values" in fault


def test_many_values():
    (fault,) = refusal("[" + "a, " * (MAX_VALUES + 1) + "]")
    assert f"more than {MAX_VALUES} values" in fault


def test_depth_through_aliases():
    lines = ["- &a0 [x]"] + [f"- &a{n} [*a{n - 1}]" for n in range(1, MAX_DEPTH + 5)]
    (fault,) = refusal("\n".join(lines))
    assert fault.endswith(f"nested deeper than {MAX_DEPTH} levels")


def test_depth_that_is_allowed():
    found = value("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    for _ in range(MAX_DEPTH - 1):
        (found,) = found
    assert found == []


@pytest.mark.parametrize(
    "part", ["[", "{", "- ", "? ", "{a: ", "[a, ", "[[], ", "a: [", "&a [*a, "]
)
def test_depth_bomb(part):
    begun = time.process_time()
    assert refusal(part * (MAX_BYTES // len(part)))
    assert time.process_time() - begun < 1, "quadratic work"


@pytest.mark.parametrize(
    "part", ["'", '"', "&a ", "!a ", "*a ", "#", "a ", ": ", "|\n", "%\n", "---\n", "\n", "a\n "]
)
def test_repetition(part):
    begun = time.process_time()
    with contextlib.suppress(ConfigError):
        parse(part * (MAX_BYTES // len(part)), "f")
    assert time.process_time() - begun < 2, "quadratic work"

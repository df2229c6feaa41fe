# SPDX-License-Identifier: Apache-2.0
"""Commands of this host as definitions write them: a list, or a text without what a shell reads."""

from __future__ import annotations

import re
import shlex
from typing import Final

from ceilo_agent.definition.nodes import ListNode, Node, ScalarNode
from ceilo_agent.definition.reader import Reader

_FOR_A_SHELL: Final = re.compile(r"[|&;<>`\n]|\$[({\w]")
_HINT: Final = "no shell reads it: write a script and name it here"


def read_command(reader: Reader, node: Node) -> tuple[str, ...] | None:
    """Return the program and its arguments; mistakes go to the reader."""
    if isinstance(node, ListNode):
        words = []
        for item in node.items:
            if not isinstance(item, ScalarNode) or isinstance(item.value, bool) or not item.text:
                reader.expected(item, "a word of the command")
            words.append(item.text if isinstance(item, ScalarNode) else "")
        found = tuple(words)
    elif isinstance(node, ScalarNode) and isinstance(node.value, str):
        found = _split(reader, node)
    else:
        reader.expected(node, "key 'host_command': a command, as a list or a text,")
        return None
    if not found:
        reader.fault(node.position, "key 'host_command': it names no program")
    return found


def _split(reader: Reader, node: ScalarNode) -> tuple[str, ...]:
    bare = re.sub(r"'[^']*'", lambda quoted: " " * len(quoted[0]), node.text)
    if found := _FOR_A_SHELL.search(bare):
        what = f"key 'host_command': '{found[0][0].strip() or 'a line break'}' means nothing here"
        reader.fault(node.at(found.start()), what, _HINT)
        return (node.text,)
    try:
        return tuple(shlex.split(node.text))
    except ValueError:
        reader.fault(node.position, "key 'host_command': a quote is never closed")
        return (node.text,)

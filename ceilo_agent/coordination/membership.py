# SPDX-License-Identifier: Apache-2.0
"""One process among others of its kind: who they are, and locks that one of them holds at a time.

It is tooz (https://docs.openstack.org/tooz/latest/) on a thread of its own, as its drivers are not
made for several. Time is CLOCK_BOOTTIME: a process that was stopped, or a machine that slept, knows
that its locks are no longer its own before it does anything with them.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NoAnswer
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from ceilo_agent.coordination import library, names
from ceilo_agent.coordination.backend import coordinator, words
from ceilo_agent.definition.secret import masked
from ceilo_agent.errors import ConfigError, Fault

LOG = logging.getLogger(__name__)

TIMEOUT: Final = 30.0
"""Seconds after which a member that is not heard of is none any more, and its locks are free."""

BEAT: Final = 1.0
"""Seconds between two heartbeats."""

ANSWER_WITHIN: Final = 5.0
"""Seconds that a question may take; no answer is no."""

LONGEST_PAUSE: Final = 30.0
"""Seconds between two tries to reach the back end, at most."""


class Membership:
    """Joins a group, and stays in it.

    While the back end is away it tries again, for ever, less and less often.

    Args:
        url: of the back end, as tooz writes it.
        group: name of the group.
        member: name of this process in it, unlike any other.
        timeout: seconds; see TIMEOUT.
        beat: seconds between heartbeats.
        seen: gets the members after each heartbeat, on the membership's thread.

    Attributes:
        members: names of all members, sorted; empty while the back end is away.
        timeout: in seconds, as it is in force.
        beat: likewise.

    Raises:
        ConfigError: there is no driver for the URL.
    """

    def __init__(
        self,
        url: str,
        group: str,
        member: str,
        timeout: float = TIMEOUT,
        beat: float = BEAT,
        seen: Callable[[Sequence[str]], None] = lambda _: None,
    ) -> None:
        self.members: tuple[str, ...] = ()
        self._url, self._group, self._member = url, names.written(group), member
        self.timeout = in_force(url, timeout)
        self.beat = min(beat, self.timeout / 8)
        self._seen = seen
        coordinator(url, names.written(member), self.timeout)
        self._coordinator: Any = None
        self._locks: dict[str, Any] = {}
        self._beaten = float("-inf")
        self._tries = 0
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def connected(self) -> bool:
        """Whether the back end has answered of late."""
        return self._coordinator is not None and self.sure

    @property
    def heard(self) -> float:
        """When the back end answered last, CLOCK_BOOTTIME."""
        return self._beaten

    @property
    def sure(self) -> bool:
        """Whether nobody else can have this member's locks yet."""
        # A heartbeat before its time: they expire while it is on the way.
        return _now() - self._beaten < self.timeout - 2 * self.beat

    def start(self) -> None:
        """Join as soon as the back end can be reached; also once more, after `stop`."""
        if self._thread is None:
            self._stopping.clear()
            self._thread = threading.Thread(target=self._run, name="membership", daemon=True)
            self._thread.start()

    def take(self, name: str) -> bool:
        """Take a lock, or say that another has it, or that nobody answers."""
        return bool(self._ask(lambda: self._take(name)))

    def release(self, name: str) -> None:
        """Let another take a lock."""
        self._ask(lambda: self._release(name))

    def holds(self, name: str) -> bool:
        """Return whether a lock is held, for certain."""
        return name in self._locks and self.sure

    def stop(self, seconds: float = ANSWER_WITHIN) -> bool:
        """Let go of all locks, and leave the group; say whether that was done in so many seconds.

        A call that hangs goes on without us.
        """
        thread, self._thread = self._thread, None
        if thread is None:
            return True
        self._stopping.set()
        self._calls.put((lambda: None, Future()))  # it need not wait for its time
        thread.join(seconds)
        return not thread.is_alive()

    def _ask(self, work: Callable[[], Any]) -> Any:
        if self._thread is None:
            return None
        answer: Future[Any] = Future()
        self._calls.put((work, answer))
        try:
            return answer.result(ANSWER_WITHIN)
        except (NoAnswer, Exception):  # whatever a driver raises
            answer.cancel()
            return None

    def _take(self, name: str) -> bool:
        if not self.connected:
            return False
        if name not in self._locks:
            lock = self._coordinator.get_lock(f"ceilo_agent.{name}".encode())
            if not lock.acquire(blocking=False):
                return False
            self._locks[name] = lock
        return True

    def _release(self, name: str) -> None:
        lock = self._locks.pop(name, None)
        if lock is not None:
            lock.release()

    def _run(self) -> None:
        pause = 0.0
        while not self._stopping.is_set():
            self._answer(pause)
            if self._stopping.is_set():
                break
            try:
                if self._coordinator is None:
                    self._join()
                self._keep()
                pause = self.beat
            except Exception as error:  # whatever a driver raises
                self._lose(error)
                pause = self.beat
                if self._coordinator is None:
                    longest = min(LONGEST_PAUSE, self.beat * 2 ** min(self._tries, 10))
                    pause = random.uniform(self.beat / 2, longest)  # noqa: S311 - no secret
                self._tries += 1
        self.members = ()
        self._leave()

    def _answer(self, seconds: float) -> None:
        """Answer questions for so long."""
        end = _now() + seconds
        while not self._stopping.is_set():
            try:
                work, answer = self._calls.get(timeout=max(0.0, end - _now()))
            except queue.Empty:
                return
            if not answer.set_running_or_notify_cancel():
                continue
            try:
                answer.set_result(work())
            except Exception as error:  # whatever a driver raises
                answer.set_exception(error)

    def _join(self) -> None:
        coordination = library.coordination()
        made = coordinator(self._url, names.written(self._member), self.timeout)
        made.start()
        self._coordinator = made
        with contextlib.suppress(coordination.GroupAlreadyExist):
            made.create_group(self._group).get(timeout=ANSWER_WITHIN)
        with contextlib.suppress(coordination.MemberAlreadyExist):
            made.join_group(self._group).get(timeout=ANSWER_WITHIN)
        self._beaten = _now()

    def _keep(self) -> None:
        """Say that this member lives, and see who else does.

        Raises:
            Exception: the back end does not answer, or has forgotten this member.
        """
        began = _now()
        if not self.sure:
            raise TimeoutError("it was not reached for too long: all locks are lost")
        self._coordinator.heartbeat()
        members = self._found()
        if self._member not in members:
            raise LookupError("it has forgotten this agent")
        # A back end that takes heartbeats and does not say who is there is as good as away.
        self._beaten = began
        for name, lock in list(self._locks.items()):
            if not _is_held(lock):
                raise LookupError(f"it has taken the lock {name} away")
        if self._tries:
            LOG.info("[coordination] %s: it is there", masked(self._url))
        self._tries = 0
        if members != self.members:
            LOG.debug("%s: members: %s", names.read(self._group), ", ".join(members))
        self.members = members
        self._seen(members)

    def _found(self) -> tuple[str, ...]:
        """Return the names of those who are in the group."""
        try:
            found = self._coordinator.get_members(self._group).get(timeout=ANSWER_WITHIN)
        except library.coordination().GroupNotCreated:
            # It has lost its data, whether or not it was away, and will not find them again.
            return ()
        return tuple(sorted(map(names.read, found)))

    def _lose(self, error: Exception) -> None:
        """Let go of a connection that fails; locks stay as long as nobody else can have them."""
        if not self._tries:
            LOG.warning("[coordination] %s: %s; it is tried again", masked(self._url), words(error))
        if self._coordinator is None:
            return
        if self.sure and not isinstance(error, LookupError):
            # It may be back in time.
            return
        self.members = ()
        self._leave()

    def _leave(self) -> None:
        coordinator, self._coordinator = self._coordinator, None
        locks, self._locks = self._locks, {}
        if coordinator is None:
            return
        for lock in locks.values():
            with contextlib.suppress(Exception):
                lock.release()
        with contextlib.suppress(Exception):
            coordinator.leave_group(self._group).get(timeout=ANSWER_WITHIN)
        with contextlib.suppress(Exception):
            coordinator.stop()


def in_force(url: str, timeout: float) -> int:
    """Return the timeout of members, whole seconds as the drivers want them: the URL's, if any.

    Raises:
        ConfigError: the URL's is no number, or too small for heartbeats.
    """
    given = dict(parse_qsl(urlsplit(url).query)).get("timeout")
    return int(_seconds(given, url) if given else timeout)


def _seconds(text: str, url: str) -> float:
    """Return a number of seconds from a URL.

    Raises:
        ConfigError: it is none, or too small for heartbeats.
    """
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 2 <= found <= 3600:
        what = f"[coordination] backend_url {masked(url)}: timeout={text} is not from 2 to 3600 s"
        raise ConfigError([Fault("options", 0, 0, what)])
    return found


def _is_held(lock: Any) -> bool:
    """Return whether a lock is still ours; tooz's heartbeat does not tell."""
    try:
        return bool(lock.acquired and lock.is_still_owner())
    except NotImplementedError:
        # etcd: its lease ends with the membership's, unless this process was stopped.
        return bool(lock.acquired)


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)

# SPDX-License-Identifier: Apache-2.0
"""The way to the log's file, whatever state that is in: opened, taken up, mended, tried again."""

from __future__ import annotations

import errno
import logging
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from ceilo_agent.delivery import recovery
from ceilo_agent.delivery.fileerrors import Kind, is_full, kind_of
from ceilo_agent.delivery.holding import Holding, Taken, refusal
from ceilo_agent.delivery.ledger import Ledger
from ceilo_agent.delivery.logfile import LogFile
from ceilo_agent.delivery.rows import DamagedFile, Rows
from ceilo_agent.delivery.schema import LEDGER
from ceilo_agent.delivery.shelf import Shelf
from ceilo_agent.errors import ConfigError

LOG = logging.getLogger(__name__)

RETRY_SECONDS: Final = 5.0
"""What failed is tried again after this long."""

READS: Final = 3
"""A file that could not be read so often is damaged."""

_BROKEN: Final = (sqlite3.Error, OSError, DamagedFile, UnicodeDecodeError)


class Trial:
    """One way of using the file: whether it works, and when it is tried again.

    Args:
        what: goes wrong, in messages; `again`: once it works.
        directory: in messages.
        monotonic: gives seconds.

    Attributes:
        works: whether the last try succeeded.
    """

    def __init__(
        self, what: str, again: str, directory: Path, monotonic: Callable[[], float]
    ) -> None:
        self.works = True
        self._what = what
        self._again = again
        self._directory = directory
        self._monotonic = monotonic
        self._retry_at = 0.0
        self._fault: str | None = None

    @property
    def may_try(self) -> bool:
        """Whether the last failure is long enough ago."""
        return self.works or self._monotonic() >= self._retry_at

    def hurry(self) -> None:
        """Let the next try be at once."""
        self._retry_at = 0.0

    def fail(self, error: Exception) -> None:
        """Note that it went wrong."""
        self._retry_at = self._monotonic() + RETRY_SECONDS
        reason = str(error)
        if isinstance(error, Taken):
            reason = f"process {error} holds the directory"
        elif isinstance(error, OSError) and error.strerror:
            reason = error.strerror
        if reason != self._fault:
            LOG.warning("%s: %s: %s", self._directory, self._what, reason)
        self.works, self._fault = False, reason

    def succeed(self) -> None:
        """Note that it worked."""
        if not self.works:
            LOG.info("%s: %s", self._directory, self._again)
        self.works, self._fault = True, None


class Access:
    """Opens the file when there is something to do with it; whoever uses it holds the log's lock.

    Args:
        directory: of this process alone.
        shelf: what memory has; it takes up what the file has.
        fsync: an offer is on the disk's platter when it is committed.
        clock: gives UTC seconds.
        monotonic: gives seconds.

    Attributes:
        file: the file.
        number: counts the files; it rises when one is begun in the place of another.
        loaded: whether memory knows what is in the file.
        damaged: files, and parts of them, that were of no use.
        opened: called after the file was opened, with its rows.
        reading: whether that works; `writing` likewise.
    """

    def __init__(
        self,
        directory: Path,
        shelf: Shelf,
        *,
        fsync: bool,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self.file = LogFile(directory, fsync=fsync)
        self.number = 1
        self.loaded = False
        self.damaged = 0
        self.reading = Trial(
            "what waits for publishers cannot be read for now",
            "what waits for publishers can be read again",
            directory,
            monotonic,
        )
        self.writing = Trial(
            "what waits for publishers is kept in memory for now",
            "what waits for publishers is written again",
            directory,
            monotonic,
        )
        self.opened: Callable[[Rows], None] = lambda _: None
        self._directory = directory
        self._shelf = shelf
        self._clock = clock
        self._ledger = Ledger(directory / LEDGER)
        self._holding: Holding | None = None
        self._ended = True
        self._ready = False
        self._beginning = False
        self._before = False
        self._made = False
        self._untried = False
        self._dubious = False
        self._unread = 0
        self._crashed: set[type[Exception]] = set()

    @property
    def is_ready(self) -> bool:
        """Whether memory and the file, if there is one, say the same."""
        return self.loaded and not self._dubious

    def doubt(self) -> None:
        """Look before the next use whether everything is there that should be."""
        self._ready, self._dubious = False, True

    def begin(self) -> None:
        """Take the directory, and up what is in it. A full disk does not stop it.

        Raises:
            ConfigError: another process holds the directory, or it cannot be used.
        """
        self._ended = False
        try:
            self._holding = Holding(self._directory)
        except (OSError, Taken) as error:
            if getattr(error, "errno", None) != errno.ENOSPC:
                raise refusal(self._directory, error) from None
            self.writing.fail(error)
            return
        self._beginning = True
        try:
            self.read(lambda _: None)
        except ConfigError:
            self.end()
            raise
        finally:
            self._beginning = False

    def read(self, work: Callable[[Rows], None]) -> bool:
        """Read something from the file; return whether that was done. Without a file, it is not.

        What goes wrong is told, and mended if it can be: then the work is done once more. A file
        that can be opened, but not be read, is damaged in the end.
        """
        done = self._use(work, self.reading, create=False)
        if done:
            self._unread = 0
        return done

    def write(self, work: Callable[[Rows], None], *, create: bool = False) -> bool:
        """Do as `read` says, to write something; the file is made if that is asked for."""
        return self._use(work, self.writing, create=create)

    def _use(self, work: Callable[[Rows], None], trial: Trial, *, create: bool) -> bool:
        if self._ended or not trial.may_try:
            return False
        # One file is damaged, and then what was saved of it; not more.
        for _ in range(3):
            try:
                rows = self._rows(create=create)
                if rows is None:
                    return False
                work(rows)
            except (Taken, ConfigError) as error:
                if self._beginning:
                    raise
                trial.fail(error)
                break
            except _BROKEN as error:
                if not (self._mend(error) or self._relieve(error)):
                    trial.fail(error)
                    break
            except Exception as error:
                if trial is not self.writing:
                    raise
                # A mistake in the code must not end who offers: it is held in memory, as long as
                # that is possible.
                if type(error) not in self._crashed:
                    self._crashed.add(type(error))
                    LOG.exception("%s cannot be written", self.file.path)
                trial.fail(error)
                break
            else:
                trial.succeed()
                self._untried = False
                return True
        return False

    def write_ledger(self) -> None:
        """Write the second copy of what a later process must know."""
        kept = self._before or self._shelf.unstored
        if kept and self.loaded and self._holding is not None:
            self._shelf.give_ids()
            self._ledger.write(self._shelf.state())

    def look(self) -> None:
        """Put the file in its place if somebody deleted or replaced it."""
        if not self.writing.may_try:
            return
        try:
            if self._holding is not None and not self._holding.is_there:
                self._holding.release()
                self._holding = None
                self._holding = Holding(self._directory)
                self._ledger.close()
            if self.file.db is not None and not self.file.is_in_place():
                told = "%s was deleted or replaced: it is written once more"
                LOG.warning(told, self.file.path)
                self.file.restore(self._clock())
                self.doubt()
        except (sqlite3.Error, OSError, Taken) as error:
            self.writing.fail(error)
            return
        if not (self.reading.works and self.loaded):
            self.read(lambda _: None)

    def end(self) -> None:
        """Let go of the file and the directory."""
        self.file.close()
        self._ledger.close()
        self._ended, self._ready = True, False
        if self._holding is not None:
            self._holding.release()
            self._holding = None

    # -- opening ---------------------------------------------------------------------------------

    def _rows(self, *, create: bool) -> Rows | None:
        """Return the rows of the file, taken up and mended; None if there is none."""
        db = self.file.db
        self.file.check()
        if self._ready and db is not None:
            return Rows(db)
        if self._holding is None:
            self._holding = Holding(self._directory)
        if db is None and not create and not self.file.exists():
            self._take_up(None)
            if self._dubious:
                self._tell_lost(recovery.reconcile(None, self._shelf))
                self._dubious = False
            return None
        if db is None:
            self._made |= self.file.open()
            if self._made and self._before:
                self.number += 1
            self._before = True
        assert self.file.db is not None
        rows = Rows(self.file.db)
        self._take_up(rows)
        if self._made:
            with self.file.transaction():
                for name, upto in self._shelf.taken_over.items():
                    rows.take_over(name, upto)
            self._shelf.renew()
            self._made = False
        self._save()
        self._shelf.number = max(self._shelf.number, rows.last_aside())
        self._tell_lost(recovery.reconcile(rows, self._shelf))
        self._ready, self._dubious = True, False
        self.opened(rows)
        return rows

    def _take_up(self, rows: Rows | None) -> None:
        """Let memory know what is in the file, once."""
        if self.loaded:
            return
        ledger = self._ledger.read()
        state = recovery.known(rows, ledger, self.file.wounded())
        self._shelf.load(state)
        self.loaded = self._dubious = True

    def _save(self) -> None:
        wounded = self.file.wounded()
        if not wounded:
            return
        self._before = True
        for place, saved in recovery.save(self.file, self._shelf, self._clock()):
            told = "%s was damaged: set aside as %s; %d samples in %d rows of it are saved"
            LOG.warning(told, self.file.path, place.name, saved.samples, saved.rows)

    def _tell_lost(self, lost: Mapping[str, int]) -> None:
        for name, count in lost.items():
            told = "%s: %d samples for publisher %s are lost"
            LOG.error(told, self._directory, count, name)

    # -- what goes wrong -------------------------------------------------------------------------

    def _relieve(self, error: Exception) -> bool:
        """Make room on a full disk; return whether there is some now."""
        try:
            return is_full(error) and self.file.relieve()
        except (sqlite3.Error, OSError):
            return False

    def _mend(self, error: Exception) -> bool:
        """Do what can be done about an error; return whether it may work now."""
        kind = kind_of(error)
        if kind is Kind.OTHER:
            return False
        if kind is Kind.UNREADABLE:
            self._unread += 1
            if self._unread < READS:
                self._shelf.unstore()
                self.file.close()
                self._ready, self._dubious = False, True
                return False
        if self._untried:
            # A new one: it is not the file that is wrong.
            return False
        self._unread = 0
        self._ready, self._dubious = False, True
        self.damaged += 1
        LOG.warning("%s is damaged: %s", self.file.path, error)
        try:
            self.file.move_away()
        except OSError as failure:
            LOG.warning("%s cannot be moved: %s", self.file.path, failure.strerror)
            return False
        self._before = self._untried = True
        self._shelf.unstore()
        return True

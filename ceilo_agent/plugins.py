# SPDX-License-Identifier: Apache-2.0
"""What a plugin must be: four contracts, one page, loaded by name through stevedore.

| kind | namespace | it answers |
|---|---|---|
| Discovery | ``ceilo_agent.discovery`` | what exists |
| Inspector | ``ceilo_agent.inspector`` | what its meters read now |
| Transformer | ``ceilo_agent.transformer`` | what the samples become |
| Publisher | ``ceilo_agent.publisher`` | where they go |

A plugin is one file, one entry point and one row of documentation.
"""

from __future__ import annotations

import enum
import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any, ClassVar, Final, Self
from urllib.parse import SplitResult

import msgspec
from stevedore.driver import DriverManager

from ceilo_agent.errors import Fault, PluginError, nearest
from ceilo_agent.sample import Meter, Resource, Sample, Volume

LOG = logging.getLogger(__name__)

# -- What exists ---------------------------------------------------------------------------------


class Target(msgspec.Struct, frozen=True, eq=False):
    """One thing that can be inspected.

    Attributes:
        id: stable and unique among the targets of its discovery; what agents share work by.
        handle: what the inspector needs to read it; only the two of them know its type.
    """

    id: str
    handle: Any = None


class Listing(msgspec.Struct, frozen=True, eq=False):
    """What a discovery found.

    Attributes:
        targets: what exists now.
        complete: whether a target that is missing here is known to be gone.
    """

    targets: Sequence[Target]
    complete: bool = True


class Discovery(ABC):
    """Says what exists; asked once per cycle."""

    shared: ClassVar[bool] = False
    """Whether its targets belong to no host, so that agents share them out among themselves."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def want(self, meters: frozenset[str], resources: Sequence[str]) -> None:  # noqa: B027
        """Hear what is asked for, before `discover` is called and whenever it changes.

        Args:
            meters: names of meters.
            resources: static resources of the sources, as the file has them.
        """

    @abstractmethod
    def discover(self, deadline: float) -> Listing:
        """List the targets before `deadline` (CLOCK_MONOTONIC seconds).

        Raises:
            Unavailable: nobody can be asked now.
        """

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Let go of connections; never blocks."""


# -- What it reads -------------------------------------------------------------------------------


class Derivation(enum.Enum):
    """How a meter follows from the last two readings of others of the same resource."""

    DELTA = "delta"
    """What the counter gained."""
    RATE = "rate"
    """What the counter gained, per second."""
    MEAN = "mean"
    """What the first counter gained for each that the second gained."""


class Column(msgspec.Struct, frozen=True, gc=False, eq=False):
    """One meter of an observation.

    Attributes:
        meter: what is measured.
        derive: None when the inspector reads it, else how it follows from `of`.
        of: names of the meters it is derived from; the inspector reads those beside it.
        per: a derived value is divided by this.
    """

    meter: Meter
    derive: Derivation | None = None
    of: tuple[str, ...] = ()
    per: float = 1


class Observation(msgspec.Struct, frozen=True, gc=False, eq=False):
    """What was read of one resource at one moment.

    Attributes:
        resource: of what.
        columns: one tuple shared by all resources of a kind; callers cache by its identity.
        volumes: one per column, finite; None where the value is absent or derived.
        time: when it was read, UTC seconds.
        clock: the same moment on CLOCK_BOOTTIME, seconds.
        owner: the id of the target it was read from.
        incarnation: changes when the counters began anew (a restart, another device).
    """

    resource: Resource
    columns: tuple[Column, ...]
    volumes: Sequence[Volume | None]
    time: float
    clock: float
    owner: str
    incarnation: str = ""


class Missing(msgspec.Struct, frozen=True, eq=False):
    """A target that gave nothing, or only a part.

    Attributes:
        target: its id.
        name: what people call it.
        reason: why, in words for them; the same words as long as it is the same reason.
        partial: whether some of its observations were read.
    """

    target: str
    name: str
    reason: str
    partial: bool = False


class Snapshot(msgspec.Struct, frozen=True, eq=False):
    """What one cycle read, from one inspector.

    Attributes:
        observations: all that was read.
        missing: the targets that gave nothing or only a part.
    """

    observations: Sequence[Observation]
    missing: Sequence[Missing] = ()


class Inspector(ABC):
    """Reads the meters of its targets: one snapshot per cycle for all sources that are due."""

    discovery: ClassVar[str]
    """The discovery whose targets it reads."""
    digest: str = ""
    """Tells what was read of files from another content; with another a reload makes it anew."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.may_read: Callable[[Target], bool] = _always
        """Asked just before a target of a shared discovery is read: it may be another's by now."""

    @abstractmethod
    def meters(self) -> Collection[Meter]:
        """Return every meter that it can read; names are unique over all inspectors."""

    @abstractmethod
    def inspect(
        self, targets: Sequence[Target], wanted: frozenset[str], deadline: float
    ) -> Snapshot:
        """Read the wanted meters of the targets before `deadline` (CLOCK_MONOTONIC seconds).

        A target that cannot be read, or only in part, is `missing` and costs only its own samples.
        A value that the other side did not give is None, never zero.

        Raises:
            Unavailable: nothing can be read now.
        """

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Let go of connections; never blocks."""


def _always(target: Target) -> bool:
    del target
    return True


# -- What becomes of it --------------------------------------------------------------------------


class Parsed(ABC):
    """A parameter that is a text with a meaning of its own: an expression, a pattern.

    A field of `Parameters` whose type is a subclass gets what `parse` returns, and what `parse`
    refuses is told at its line and column.
    """

    words: ClassVar[str]
    """What was expected, in messages: "an expression"."""
    hidden: ClassVar[bool] = False
    """Whether messages must not repeat what stands in its place."""

    @classmethod
    @abstractmethod
    def parse(cls, text: str) -> Self:
        """Return what the text means.

        Raises:
            Malformed: it means nothing.
        """


class NeverMatches(Exception):
    """No sample that reaches a transformer is of use to it; the message says why."""


class Transformer(ABC):
    """A callable over a list of samples; what can be computed before is, in the constructor.

    This form keeps no state: the output follows from the samples alone, so any worker may run it.

    Attributes:
        parameters: an instance of `Parameters`.
        dropped: samples that it could make nothing of, counted by reason.
    """

    Parameters: ClassVar[type[msgspec.Struct]]
    """What operators may write under ``parameters:``, with a description of each."""

    def __init__(self, parameters: Any) -> None:
        self.parameters = parameters
        self.dropped: Counter[str] = Counter()

    @abstractmethod
    def __call__(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """Return what the samples become; those left out are dropped."""

    def outcome(self, meters: Collection[Meter]) -> Collection[Meter]:
        """Return the meters that come out where these go in; `config check` and `graph` ask.

        Raises:
            NeverMatches: it has nothing to do with any of them.
        """
        return meters

    def remarks(self) -> Iterable[str]:
        """Return what looks like a mistake in the parameters but works; `config check` warns."""
        return ()

    def drop(self, sample: Sample, reason: str) -> None:
        """Count a sample that nothing can be made of, and tell of the first one for each reason.

        Args:
            sample: the one.
            reason: one of few: it must not hold values.
        """
        if reason not in self.dropped:
            LOG.warning(
                "%s: %s of %s dropped: %s (told once, counted from now on)",
                type(self).__name__,
                sample.meter.name,
                sample.resource.id,
                reason,
            )
        self.dropped[reason] += 1


class StatefulTransformer(Transformer):
    """A transformer that remembers samples. Time is passed in, never read.

    The samples that it remembers are written down before it gets them, by series and time, and
    given to it again after a restart. Dumping and loading between any two batches must not change
    the output.
    """

    spans_hosts: bool = False
    """Whether samples of several hosts may share a key; a constructor may set it."""

    @abstractmethod
    def key(self, sample: Sample) -> Hashable | None:
        """Return what the state is divided by: samples of one key must reach one worker.

        None: no state is needed for this sample; any worker may have it.
        """

    @abstractmethod
    def tick(self, now: float) -> Sequence[Sample]:
        """Move time to `now` (UTC seconds) and return what is due by then.

        It is called about every second. Of several calls without samples between them only the
        last may matter for the state: a restart repeats no others.
        """

    def resume(self, now: float) -> None:
        """Take what came since the last tick as come at `now`: the ticks were held up meanwhile.

        The next call is a tick at `now`. The state is dumped after it.
        """

    @abstractmethod
    def dump(self) -> bytes:
        """Return the whole state, time included."""

    @abstractmethod
    def load(self, state: bytes) -> None:
        """Take up a state that `dump` returned.

        Raises:
            ValueError: it is none; the state is then as it was.
        """


# -- Where it goes -------------------------------------------------------------------------------


class Promise(enum.Enum):
    """What a publisher can promise; the table of guarantees is made from it."""

    IDEMPOTENT = "a batch sent twice is stored once"
    ORDERED = "samples of one series arrive in order"
    DURABLE = "samples wait on disk while the other side is away"
    ACKED = "the other side confirms what it stored"
    PULL = "readers come and fetch; nothing is sent"


class OwnFiles(msgspec.Struct, frozen=True):
    """What a publisher read of files that its options name.

    Attributes:
        digest: tells their content from another; a reload that finds another makes the publisher
            anew. Empty where there are none.
        warnings: what works in them but should not stay.
        denied: files that this process may not read. An agent refuses to start, at the publisher's
            place; `config check`, which another user may run, warns.
    """

    digest: str = ""
    warnings: tuple[Fault, ...] = ()
    denied: tuple[Fault, ...] = ()


class Publisher(ABC):
    """Where samples go. An author writes `push` and a struct of options; the rest wraps it.

    Attributes:
        url: what the operator wrote, its query taken out.
        options: an instance of `Options`, from the query or the mapping in the file.
        context: where this agent runs.
    """

    promises: ClassVar[frozenset[Promise]] = frozenset()
    """With DURABLE among them the agent keeps samples on disk until `push` has returned."""
    Options: ClassVar[type[msgspec.Struct]]
    """What operators may write as the URL's query, with a description of each."""
    batch_size: ClassVar[int] = 1000
    """Samples that `push` is given at most; an option of this name takes its place."""
    one_process: ClassVar[str] = ""
    """Why only one process of a machine may have it, for people; empty: several may."""
    for_several: ClassVar[str] = ""
    """What several may have in its place."""

    def __init__(self, url: SplitResult, options: Any, context: Context) -> None:
        self.url = url
        self.options = options
        self.context = context

    @classmethod
    def check(cls, url: SplitResult) -> None:
        """Look at a URL without opening anything; `config check` does it.

        Raises:
            ConfigError: it can never work; what is wrong is told at the URL's place in the file.
        """
        del url  # most take any

    @classmethod
    def read_files(cls, options: Any) -> OwnFiles:
        """Read and check the files that the options name; `config check` and each reload do it.

        Args:
            options: an instance of `Options`.

        Raises:
            ConfigError: they have mistakes, which are told as they are, at their own places. What
                has no line, as of a file that is not there, is told at the publisher's place.
        """
        del options  # most have none
        return OwnFiles()

    @classmethod
    def check_options(cls, url: SplitResult, options: Any, context: Context) -> None:
        """Look whether the agent's own options have what is needed; `config check` does it.

        Nothing is opened, and no file is read that is named there: that is for `open`.

        Args:
            url: what the operator wrote, its query taken out.
            options: an instance of `Options`.
            context: where the agent runs, with its options.

        Raises:
            ConfigError: they have not, and `open` would refuse.
        """
        del url, options, context  # most need none

    def open(self) -> None:  # noqa: B027 - some need nothing
        """Get ready to push.

        Raises:
            ConfigError: it can never work as configured; the agent refuses to start.
            Retryable: not now.
        """

    @abstractmethod
    def push(self, samples: Sequence[Sample]) -> None:
        """Hand the samples over; to return is to promise that they arrived.

        Raises:
            Retryable: the same samples may succeed later.
            Permanent: they never will, all of them or those that it names.
            OSError: likewise the same samples are tried again.
            Exception: any other is a mistake in its code: the samples that bring it about are
                found and refused.
        """

    def outdated(self, samples: Sequence[Sample]) -> Mapping[int, str]:
        """Return which of the samples the other side would take and throw away, and why.

        It is asked before samples that were set aside are sent again.

        Args:
            samples: at most `batch_size`.

        Returns:
            A reason by the index of each that is too old.

        Raises:
            Retryable: the other side cannot be asked now.
        """
        del samples  # most take any
        return {}

    def close(self) -> None:  # noqa: B027 - some need nothing
        """Let go of what `open` took, also where it failed; it may be called without."""


class Context(msgspec.Struct, frozen=True, eq=False):
    """What a plugin may know of the agent it runs in.

    Attributes:
        host: this host's name in resource ids and metadata.
        options: values of the agent's own options by ``section.name``, for defaults.
        config_files: where they were read, for libraries that have options of their own there.
    """

    host: str
    options: Mapping[str, Any]
    config_files: tuple[str, ...] = ()


# -- Loading -------------------------------------------------------------------------------------

DISCOVERY: Final = "ceilo_agent.discovery"
INSPECTOR: Final = "ceilo_agent.inspector"
TRANSFORMER: Final = "ceilo_agent.transformer"
PUBLISHER: Final = "ceilo_agent.publisher"


def names(namespace: str) -> Collection[str]:
    """Return the names of the installed plugins of a kind, sorted; loads none of them."""
    return sorted({entry.name for entry in entry_points(group=namespace)})


def load(namespace: str, name: str) -> Callable[..., Any]:
    """Return the class that an entry point names.

    Raises:
        PluginError: no such plugin, or its code cannot be loaded; the message names it.
    """
    installed = names(namespace)
    if name not in installed:
        # Operators know an inspector by the namespace that it polls.
        kind = "namespace" if namespace == INSPECTOR else namespace.rpartition(".")[2]
        hint = nearest(name, installed) or f"there are {', '.join(installed) or 'none'}"
        raise PluginError(f"no {kind} is named '{name}' ({hint})")
    manager = DriverManager(namespace, name, on_load_failure_callback=_raise_load_failure)
    driver: Callable[..., Any] = manager.driver
    return driver


def _raise_load_failure(manager: Any, entry: Any, error: BaseException) -> None:
    kind = manager.namespace.rpartition(".")[2]
    if isinstance(error, ModuleNotFoundError) and entry.extras:
        # stevedore's cache of entry points does not keep whose they are.
        ours = next(iter(entry_points(group=manager.namespace, name=entry.name)))
        wanted = f"{ours.dist.name if ours.dist else ''}[{','.join(entry.extras)}]"
        raise PluginError(
            f"the {kind} '{entry.name}' needs '{error.name}', which is not installed: "
            f"pip install '{wanted}'"
        ) from error
    raise PluginError(
        f"the {kind} '{entry.name}' ({entry.value}) cannot be loaded: "
        f"{type(error).__name__}: {error}"
    ) from error

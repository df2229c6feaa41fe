# SPDX-License-Identifier: Apache-2.0
"""The way to a broker, by oslo.messaging, with the options that operators give it.

oslo.messaging's own options (``[oslo_messaging_rabbit]`` and the like) are read from the agent's
configuration files; what the agent decides itself goes into the query of the URL, which takes
precedence there.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from oslo_config import cfg

from ceilo_agent.definition.secret import Secret
from ceilo_agent.errors import ConfigError, Fault, Malformed

RABBIT: Final = "rabbit"

_USER: Final = re.compile(r"//[^/@]*@|(?<=,)[^/@,]*@")


def masked(url: str) -> str:
    """Return a URL without the names and passwords of its hosts."""
    return _USER.sub(lambda found: "//***@" if found[0].startswith("//") else "***@", url)


def read_url(text: str, option: str = "[DEFAULT] transport_url") -> str:
    """Return a broker's URL as an operator gave it: itself, or a file's first line.

    Args:
        text: what was given.
        option: where, for messages.

    Raises:
        ConfigError: there is none, or the file cannot be read.
    """
    try:
        url = Secret.parse(text).read() if text else ""
    except (Malformed, OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError([Fault("options", 0, 0, f"{option} cannot be read: {reason}")]) from error
    if not url:
        hint = "write transport_url = rabbit://user:password@host:5672/"
        raise ConfigError([Fault("options", 0, 0, f"{option} is not given", hint)])
    return url


def connect(url: str, config_files: Sequence[str], settings: Mapping[str, object]) -> Any:
    """Return oslo.messaging's transport; nothing is connected yet.

    Args:
        url: of the broker.
        config_files: that have oslo.messaging's options.
        settings: options of the rabbit driver that the agent decides.

    Raises:
        ConfigError: no driver takes the URL, or it or an option is malformed.
    """
    # Imported here: agents without a bus do not have it, and need not pay for it.
    for name in _LOGGERS:
        quiet = logging.getLogger(name)
        if not any(isinstance(one, _Quiet) for one in quiet.filters):
            quiet.addFilter(_Quiet())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from oslo_service import backend  # noqa: PLC0415

        # oslo.service, which oslo.messaging imports, has more than one; ours is plain threads.
        backend.register_backend_default_hook(lambda: backend.BackendType.THREADING)
        import oslo_messaging  # noqa: PLC0415
    conf = cfg.ConfigOpts()
    conf([], project="ceilo_agent", default_config_files=list(config_files), default_config_dirs=[])
    try:
        parsed = oslo_messaging.TransportURL.parse(conf, url)
        if parsed.transport == RABBIT:
            parsed.query |= {name: str(value) for name, value in settings.items()}
        return oslo_messaging.get_notification_transport(conf, parsed)
    except (
        oslo_messaging.InvalidTransportURL,
        oslo_messaging.DriverLoadFailure,
        cfg.Error,
        ValueError,
    ) as error:
        words = masked(str(error).replace(url, masked(url)))
        hint = "rabbit://user:password@host:5672/vhost was expected"
        fault = Fault("options", 0, 0, f"{masked(url)} is no broker's URL: {words}", hint)
        raise ConfigError([fault]) from None


def reasons(error: BaseException) -> Iterator[str]:
    """Yield what an error of the broker says, and what brought it about, outermost first."""
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield str(found)
        found = found.__cause__ or found.__context__


def words(error: BaseException, place: str) -> str:
    """Say what is wrong with a broker, in words for its operator.

    Args:
        error: what a driver raised.
        place: the broker's URL, masked.
    """
    said = " ".join(reasons(error))
    for sign, meaning in _MEANINGS.items():
        if sign.lower() in said.lower():
            return f"{place}: {meaning}"
    first = masked(next(reasons(error)).strip()) or type(error).__name__
    return f"{place}: {first}"


_MEANINGS: Final = {
    "ACCESS_REFUSED": "the broker refuses the user or the password",
    "NOT_ALLOWED": "the broker has no such virtual host, or the user may not enter it",
    "ECONNREFUSED": "nobody listens there",
    "Connection refused": "nobody listens there",
    "CERTIFICATE_VERIFY_FAILED": "the broker's certificate is not trusted",
    "Name or service not known": "no such host is known",
    "timed out": "the broker does not answer",
    "resource_locked": "another connection has the queue for itself",
}

_LOGGERS: Final = (
    "oslo.messaging._drivers.impl_rabbit",
    "oslo_messaging._drivers.impl_rabbit",
    "oslo_messaging._drivers.common",
    "oslo_messaging.notify.listener",
    "oslo_service.backend",
    "amqp",
)


class _Quiet(logging.Filter):
    """Leaves telling to us: a broker that is away is told of once, not at each of its tries."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno < logging.INFO

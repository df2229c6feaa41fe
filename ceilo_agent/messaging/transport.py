# SPDX-License-Identifier: Apache-2.0
"""The way to a broker, by oslo.messaging, with the options that operators give it.

oslo.messaging's own options (``[oslo_messaging_rabbit]`` and the like) are read from the agent's
configuration files; where those are silent some have other defaults here.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Final

from oslo_config import cfg

from ceilo_agent.definition.secret import masked, option_secret, without_secrets
from ceilo_agent.errors import ConfigError, Fault
from ceilo_agent.messaging import outages, topics
from ceilo_agent.messaging.undecoded import let_through

RABBIT: Final = "rabbit"

_SECTION: Final = "oslo_messaging_rabbit"

_WHOLE_URL: Final = "rabbit://user:password@host:5672/vhost was expected"


def read_url(text: str | None, option: str = "[DEFAULT] transport_url") -> str:
    """Return a broker's URL as an operator gave it: itself, or a file's first line.

    Args:
        text: what was given.
        option: where, for messages.

    Raises:
        ConfigError: there is none, or the file cannot be read.
    """
    url = option_secret(option, text)
    if not url:
        hint = "write transport_url = rabbit://user:password@host:5672/"
        raise ConfigError([Fault("options", 0, 0, f"{option} is not given", hint)])
    return url


def durable(exchange: str) -> bool:
    """Return whether queues of an exchange outlive the broker where the options say nothing.

    Ours do. Those that other services declare as well must be alike, so oslo.messaging's default
    holds there.
    """
    return exchange == topics.EXCHANGE


def connect(
    url: str,
    config_files: Sequence[str],
    *,
    defaults: Mapping[str, object] | None = None,
    settings: Mapping[str, object] | None = None,
) -> Any:
    """Return oslo.messaging's transport; nothing is connected yet.

    Args:
        url: of the broker.
        config_files: that have oslo.messaging's options.
        defaults: of options of the rabbit driver, where the files are silent.
        settings: options of it that the agent decides, whatever the files say.

    Raises:
        ConfigError: no driver takes the URL, or it or an option is malformed.
    """
    oslo_messaging = _library()
    conf = cfg.ConfigOpts()
    conf([], project="ceilo_agent", default_config_files=list(config_files), default_config_dirs=[])
    try:
        parsed = oslo_messaging.TransportURL.parse(conf, url)
        is_rabbit = parsed.transport == RABBIT
        if is_rabbit:
            # What the query says takes precedence over the files.
            parsed.query |= {name: str(value) for name, value in (settings or {}).items()}
        transport = oslo_messaging.get_notification_transport(conf, parsed)
        for name in conf[_SECTION] if is_rabbit else ():
            conf[_SECTION][name]  # a value of the wrong type is found when it is read
    except (oslo_messaging.InvalidTransportURL, oslo_messaging.DriverLoadFailure) as error:
        raise _no_broker(url, without_secrets(str(error))) from None
    except ImportError as error:
        raise _no_broker(url, f"its driver needs '{error.name}', which is not installed") from None
    except cfg.NoSuchOptError:
        raise _no_broker(url, "the driver has no option of a name behind '?'") from None
    except (cfg.Error, RuntimeError) as error:
        raise ConfigError([Fault("options", 0, 0, f"[{_SECTION}] {error}")]) from error
    except ValueError:
        # It may quote a part of a password that ought to be escaped.
        raise _no_broker(url, "a port, or an option behind '?', cannot be read") from None
    if is_rabbit:
        for name, value in (defaults or {}).items():
            conf.set_default(name, value, group=_SECTION)
    return transport


def _no_broker(url: str, why: str) -> ConfigError:
    what = f"{masked(url)} is no broker's URL: {why}"
    return ConfigError([Fault("options", 0, 0, what, _WHOLE_URL)])


def _library() -> Any:
    """Return oslo.messaging, on plain threads; agents without a bus never load it."""
    outages.tell_instead()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(ImportError):  # older ones need not be told
            from oslo_service import backend  # noqa: PLC0415

            # oslo.service, which it imports, has more than one.
            backend.register_backend_default_hook(lambda: backend.BackendType.THREADING)
        import oslo_messaging  # noqa: PLC0415
    let_through()
    return oslo_messaging

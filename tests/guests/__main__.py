"""Guests from the command line: python -m tests.guests up|down|list."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import libvirt

from tests.guests import daemon
from tests.guests.errors import GuestsUnavailable
from tests.guests.fleet import READY_SECONDS, VALID_PREFIX, create, existing, remove_all
from tests.guests.paths import need_root

DEMO_PREFIX = "ceilo-demo-"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 done, 1 could not (one line says why), 2 wrong usage."""
    args = _parser().parse_args(argv)
    commands = {"up": _up, "down": _down, "list": _list}
    try:
        need_root()
        commands[args.command](args)
    except (GuestsUnavailable, OSError, ValueError, libvirt.libvirtError) as exc:
        print(f"tests.guests: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("tests.guests: interrupted", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.guests", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start guests and wait until they are ready")
    up.add_argument("--booted", type=_count, default=2, help="guests that run Linux (default 2)")
    up.add_argument("--bare", type=_count, default=0, help="guests without a system (default 0)")
    down = commands.add_parser("down", help="remove the guests, stop the libvirtd 'up' started")
    for command in (up, down):
        command.add_argument(
            "--prefix", type=_prefix, default=DEMO_PREFIX, help=f"default {DEMO_PREFIX}"
        )
    commands.add_parser("list", help="print the guests there are")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) > 1000:
        raise argparse.ArgumentTypeError(f"not a number from 0 to 1000: {text}")
    return int(text)


def _prefix(text: str) -> str:
    if not VALID_PREFIX.fullmatch(text):
        raise argparse.ArgumentTypeError(f"only letters, digits and ._- are possible: {text}")
    return text


def _up(args: argparse.Namespace) -> None:
    started = daemon.ensure()
    if existing(args.prefix):
        raise GuestsUnavailable(f"guests {args.prefix}* are there already: run 'down' first")
    try:
        guests = create(booted=args.booted, bare=args.bare, prefix=args.prefix)
        for guest in guests:
            guest.wait_ready(READY_SECONDS)
            print(f"{guest.name} {guest.uuid} {','.join(guest.taps)}", flush=True)
    except BaseException:
        # Also on an interrupt: what 'up' did not finish, it takes back.
        remove_all(args.prefix)
        _stop(started)
        raise


def _down(args: argparse.Namespace) -> None:
    if daemon.answers():
        count = remove_all(args.prefix)
        print(f"{count} guests removed")
        _stop(not existing())
    else:
        daemon.stop()
        print("no libvirtd answers: no guests")


def _list(_: argparse.Namespace) -> None:
    if daemon.answers():
        for guest in existing():
            kind = "booted" if guest.booted else "bare"
            print(f"{guest.name} {guest.uuid} {guest.state()} {kind} {','.join(guest.taps)}")


def _stop(ours: bool) -> None:
    if ours:
        daemon.stop()


if __name__ == "__main__":
    sys.exit(main())

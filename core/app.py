"""The registry of rooms, the only file that names them all; and the command line.

Results go to stdout, everything else to stderr.

Exit codes: 0 done, 1 it was tried and failed, 2 bad input or usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from core.common.errors import LabError

if TYPE_CHECKING:
    from core.jobs.kind import JobKind

KINDS = ("core.training.kind", "core.regularization.kind", "core.compression.kind")
"""Modules that declare kinds of runs, as `KINDS`."""
COMMANDS = (
    "core.data.cli",
    "core.training.cli",
    "core.regularization.cli",
    "core.compression.cli",
    "core.jobs.cli",
    "core.images.cli",
    "core.attribution.cli",
    "core.compression.cli_measure",
    "core.compression.cli_export",
    "core.language.cli",
    "core.jobs.cli_worker",
    "core.benchmark.cli",
)
"""Modules that add commands, by `add(subcommands)`, in the order of `--help`."""


def further_rooms() -> list[str]:
    """Modules of LAB_ROOMS, between commas: rooms from elsewhere, with `KINDS`, `add` and `PAGES` as they have them.

    Whoever sets it runs code here, as with PYTHONPATH.
    """
    return [name.strip() for name in os.environ.get("LAB_ROOMS", "").split(",") if name.strip()]


def kinds() -> dict[str, JobKind]:
    """All kinds of runs by name."""
    return _kinds(tuple(further_rooms()))


@cache
def _kinds(rooms: tuple[str, ...]) -> dict[str, JobKind]:
    modules = [import_module(name) for name in (*KINDS, *rooms)]
    return {kind.name: kind for module in modules for kind in getattr(module, "KINDS", ())}


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}. See {self.prog} --help\n")


def parser() -> argparse.ArgumentParser:
    root = Parser(prog="python -m core", description="Bottleneck Lab on the command line.")
    subcommands = root.add_subparsers(metavar="COMMAND", required=True)
    for name in (*COMMANDS, *further_rooms()):
        add = getattr(import_module(name), "add", None)
        if add:
            add(subcommands)
    return root


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code. Errors that a user can cause end as one sentence, never as a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file's name must not end an answer with a traceback
            stream.reconfigure(errors="backslashreplace")
    root = parser()
    options, rest = root.parse_known_args(arguments)
    if rest and not getattr(options, "takes_rest", False):
        root.error(f"unrecognized arguments: {' '.join(rest)}")
    options.rest = rest
    try:
        return int(options.command(options))
    except LabError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 128 + signal.SIGINT
    except BrokenPipeError:  # the reader of our output (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"{error.filename or 'A file'} cannot be used: {error.strerror or error}.", file=sys.stderr)
        return 1
    except Exception as error:
        if os.environ.get("LAB_DEBUG"):
            raise
        hint = "run it again with LAB_DEBUG=1 to see where"
        print(f"An error that was not foreseen ({type(error).__name__}: {error}): {hint}.", file=sys.stderr)
        return 1

"""The registry of rooms, the only file that names them all; and the command line.

Results go to stdout, everything else to stderr.

Exit codes: 0 done, 1 it was tried and failed, 2 bad input or usage, 130 interrupted.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from core.common.errors import LabError

if TYPE_CHECKING:
    from cyclopts import App

    from core.jobs.kind import JobKind

KINDS = (
    "core.training.kind",
    "core.regularization.kind",
    "core.attribution.kind",
    "core.compression.kind",
    "core.convolution.kind",
    "core.descent.kind",
    "core.attention.kind",
    "core.features.kind",
    "core.synthesis.kind",
    "core.augmentation.kind",
    "core.shift.kind",
    "core.hardware.kind",
)
"""Modules that declare kinds of runs, as `KINDS`."""
COMMANDS = {
    "core.data.cli": ("data", "models", "checkpoints"),
    "core.training.cli": ("train", "resume", "stop"),
    "core.jobs.cli": ("runs", "worker"),
    "core.networks.cli": ("networks",),
    "core.images.cli": ("classify", "evaluate"),
    "core.attribution.cli": ("explain",),
    "core.attention.cli": ("attention",),
    "core.features.cli": ("features",),
    "core.synthesis.cli": ("synthesize",),
    "core.shift.cli": ("shift",),
    "core.language.cli": ("generate",),
    "core.regularization.cli": ("study",),
    "core.augmentation.cli": ("augment",),
    "core.compression.cli": ("compress",),
    "core.compression.cli_measure": ("measure",),
    "core.compression.cli_export": ("export",),
    "core.hardware.cli": ("hardware",),
    "core.benchmark.cli": ("benchmark",),
}
"""Functions and groups of commands. A module is imported when a command in it is called or listed."""

GROUPS: dict[str, tuple[str, dict[str, str]]] = {
    "foundations": (
        "The numbers behind the pages of Foundations, as JSON.",
        {
            "descent": "core.descent.cli:descent",
            "surface": "core.descent.cli:surface",
            "backprop": "core.backprop.cli:backprop",
            "accumulation": "core.backprop.cli:accumulation",
            "convolution": "core.convolution.cli:convolution",
            "shift": "core.convolution.cli:shift",
            "edit": "core.convolution.cli:edit",
            "recurrence": "core.language.cli:recurrence",
        },
    ),
}
"""Commands of several rooms under one noun: its help, and the verbs, each with its `module:function`."""


def further_rooms() -> list[str]:
    """Modules of LAB_ROOMS, between commas: rooms from elsewhere, with `KINDS`, `COMMANDS` and `PAGE`.

    Whoever sets it runs code here, as with PYTHONPATH.
    """
    return [name.strip() for name in os.environ.get("LAB_ROOMS", "").split(",") if name.strip()]


def import_room(name: str) -> ModuleType:
    """A module of a room. Raises LabError for one of LAB_ROOMS that cannot be imported."""
    try:
        return import_module(name)
    except ImportError as error:
        raise LabError(f"{name} of LAB_ROOMS cannot be imported ({error}): correct LAB_ROOMS, or unset it.") from error


def kinds() -> dict[str, JobKind]:
    """All kinds of runs by name."""
    return _kinds(os.environ.get("LAB_ROOMS", ""))


@cache
def _kinds(rooms: str) -> dict[str, JobKind]:
    found: dict[str, JobKind] = {}
    for name in (*KINDS, *further_rooms()):
        module = import_room(name)
        for kind in getattr(module, "KINDS", ()):
            if kind.name in found:
                raise LabError(f"Two kinds of runs are called {kind.name}: rename the one in {name}.")
            found[kind.name] = kind
    return found


def build_app() -> App:
    """The command line of all rooms."""
    from core.common.commands import new_app

    app = new_app("python -m core", "Bottleneck Lab on the command line.")
    for module, names in COMMANDS.items():
        for name in names:
            app.command(f"{module}:{name}", name=name)
    for noun, (words, verbs) in GROUPS.items():
        if verbs:
            group = new_app(noun, words)
            for verb, function in verbs.items():
                group.command(function, name=verb)
            app.command(group)
    for room in further_rooms():
        for command in getattr(import_room(room), "COMMANDS", ()):
            app.command(command)
    return app


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code. Errors that a user can cause end as one sentence, never as a traceback."""
    from cyclopts import CycloptsError

    from core.common.commands import usage_error

    given = sys.argv[1:] if arguments is None else arguments
    _escape_odd_names()
    try:
        app = build_app()
        if not given or given[0] in app.help_flags:  # a command's help is in its module
            app.resolved_commands()
        return int(app(given) or 0)
    except CycloptsError as error:
        print(usage_error(error), file=sys.stderr)
        return 2
    except LabError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 128 + signal.SIGINT
    except BrokenPipeError:  # the reader of our output (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except SystemExit as end:  # rich, which prints the help, ends the process then
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        return 0
    except OSError as error:
        print(f"{error.filename or 'A file'} cannot be used: {error.strerror or error}.", file=sys.stderr)
        return 1
    except Exception as error:
        if os.environ.get("LAB_DEBUG"):
            raise
        hint = "run it again with LAB_DEBUG=1 to see where"
        print(f"An unexpected error ({type(error).__name__}: {error}): {hint}.", file=sys.stderr)
        return 1


def _escape_odd_names() -> None:
    """A file's name that is no text must not end an answer with a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

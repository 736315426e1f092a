"""The command line, one file a group of commands. Results go to stdout, everything else to stderr.

Exit codes: 0 done, 1 it was tried and failed, 2 bad input or usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from typing import NoReturn

from core.attribution import cli as explain
from core.benchmark import cli as benchmark
from core.common.errors import LabError
from core.compression import cli as compress
from core.compression import cli_export as export
from core.compression import cli_measure as measure
from core.data import cli as data
from core.images import cli as inference
from core.jobs import cli as runs
from core.jobs import cli_worker as worker
from core.language import cli as generate
from core.regularization import cli as study
from core.training import cli as training


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}. See {self.prog} --help\n")


def parser() -> argparse.ArgumentParser:
    root = Parser(prog="python -m core", description="Bottleneck Lab on the command line.")
    subcommands = root.add_subparsers(metavar="COMMAND", required=True)
    for group in (
        data,
        training,
        study,
        compress,
        runs,
        inference,
        explain,
        measure,
        export,
        generate,
        worker,
        benchmark,
    ):
        group.add(subcommands)
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

"""`benchmark`: hands its arguments on to core.benchmark, which is heavy and imported only when asked for."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import Any


def add(subcommands: Any) -> None:
    parser = subcommands.add_parser("benchmark", help="measure speed, side by side in one run", add_help=False)
    parser.set_defaults(command=benchmark, takes_rest=True)


def benchmark(options: argparse.Namespace) -> int:
    return int(import_module("core.benchmark").main(options.rest))

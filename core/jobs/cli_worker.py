"""`worker`: what the engine starts; by hand it takes a run past the queue."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(subcommands: Any) -> None:
    parser = subcommands.add_parser("worker", help="do one run in this process (the engine starts these)")
    parser.add_argument("run_id", metavar="RUN_ID")
    parser.add_argument("--runs-folder", type=Path, help="folder of the runs; default: runs/ in LAB_HOME")
    parser.add_argument("--lock-handle", type=int, help=argparse.SUPPRESS)
    parser.set_defaults(command=work)


def work(options: argparse.Namespace) -> int:
    from core.jobs.worker import run_worker

    status = run_worker(options.run_id, options.runs_folder, options.lock_handle)
    return 0 if status in ("finished", "stopped") else 1

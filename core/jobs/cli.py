"""`runs`: the list, one run, its rows and log; rename and delete."""

from __future__ import annotations

import argparse
from typing import Any

from core.common.errors import LabError
from core.common.output import duration, harmless, note, print_json, print_table
from core.jobs import LocalEngine
from core.jobs.foreground import describe, report
from core.jobs.kind import kinds
from core.jobs.run import Run

NOT_SHOWN = ("run_id", "stage", "stage_fraction", "parts_done", "members_done")
NOT_OF_PARTS = ("epoch", "saved_step", "step", "total_steps", "has_checkpoint")
"""What says nothing of a run that counts parts: its steps are those of its progress bar."""


def add(subcommands: Any) -> None:
    parser = subcommands.add_parser("runs", help="list runs, or look at one")
    parser.add_argument("run_id", metavar="RUN_ID", nargs="?", help="show this run only")
    parser.add_argument("--json", action="store_true", help="print as JSON")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--metrics", action="store_true", help="print the run's metrics rows (as JSON)")
    what.add_argument("--samples", action="store_true", help="print what a language model wrote at each evaluation")
    what.add_argument("--log", action="store_true", help="print the end of the run's log")
    what.add_argument("--rename", metavar="NAME", help="give the run another name")
    what.add_argument("--delete", action="store_true", help="remove the run and its checkpoints")
    parser.set_defaults(command=runs)


def runs(options: argparse.Namespace) -> int:
    engine = LocalEngine()
    store, run_id = engine.store, options.run_id
    if run_id is None:
        if options.metrics or options.samples or options.log or options.rename or options.delete:
            raise LabError("Which run? Give its id, as listed by: python -m core runs")
        engine.tick()
        _print_all(store.list(), options.json)
    elif options.metrics:
        print_json(store.metrics(run_id))
        if command := store.get(run_id).job_kind.figures_command:
            note(f"It has no rows of its own. Its figures: python -m core {command.format(id=run_id)}")
    elif options.samples:
        _print_samples(store.samples(run_id), options.json)
    elif options.log:
        print(store.log(run_id), end="")
    elif options.delete:
        store.delete(run_id)
        note(f"Deleted {run_id}.")
    else:
        if options.rename:
            store.rename(run_id, options.rename)
        _print_one(engine.state(run_id), options.json)
    return 0


def _print_all(found: list[Run], as_json: bool) -> None:
    if as_json:
        print_json([report(run) for run in found])
        return
    if not found:
        note("No runs yet. Start one: python -m core train")
    rows = [
        {
            "run": run.id,
            "name": run.name,
            "status": f"queued ({run.queue_position})" if run.status == "queued" else run.status,
            "done": _done(run),
            "validation": run.job_kind.best(run) or "-",
            "test": f"{test:.2%}" if (test := run.figure("test_accuracy")) is not None else "-",
            "time": duration(run.seconds),
        }
        for run in found
    ]
    print_table(rows, ["run", "name", "status", "done", "validation", "test", "time"])
    if any(run.figure("test_accuracy") is not None and getattr(run.config, "tta", "none") != "none" for run in found):
        note("Validation is measured without test-time augmentation, test with that of the recipe.")


def _done(run: Run) -> str:
    if run.parts:
        return f"{run.parts_done} of {run.parts} {run.part_name}"
    return f"{run.step / run.total_steps:.0%}" if run.total_steps else "-"


def _print_samples(samples: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print_json(samples)
    elif not samples:
        note("Nothing written: a language model writes at each evaluation, an image classifier never.")
    else:
        for row in samples:
            print(f"--- epoch {row['epoch']:g}, step {row['step']:,} ---\n{harmless(row['text'])}")


def _print_one(run: Run, as_json: bool) -> None:
    if as_json:
        print_json(report(run))
        return
    values = report(run)
    for kind in kinds().values():
        values.pop(kind.report_key, None)
    del values["config"]
    hidden = NOT_SHOWN + (NOT_OF_PARTS if run.parts else ())
    for key, value in values.items():
        if value not in (None, "") and key not in hidden:
            print(f"{key}: {value}")
    if run.parts:
        print(f"{run.part_name}: {run.parts_done} of {run.parts}")
    config = {} if run.config is None else run.job_kind.write_config(run.config)
    print("config: " + ", ".join(f"{key}={value}" for key, value in config.items()))
    if run.active:
        fraction, words = describe(run)
        print(f"now: {f'{fraction:.0%} ' if fraction is not None else ''}{words}")

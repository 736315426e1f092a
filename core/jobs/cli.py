"""`runs`: the list, one run, its rows and log; rename and delete. `worker`: what the engine starts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from core.common.commands import Json, RunId
from core.common.errors import LabError
from core.common.output import harmless, note, print_json, print_table
from core.common.values import duration
from core.jobs import open_engine
from core.jobs.foreground import describe, report
from core.jobs.kind import kinds
from core.jobs.run import Run

NOT_SHOWN = ("run_id", "stage", "stage_fraction", "parts_done", "members_done")
NOT_OF_PARTS = ("epoch", "saved_step", "step", "total_steps", "has_checkpoint")
"""What says nothing of a run that counts parts: its steps are those of its progress bar."""


def runs(
    run_id: str | None = None,
    /,
    *,
    metrics: bool = False,
    samples: bool = False,
    log: bool = False,
    tensorboard: Path | None = None,
    rename: str | None = None,
    delete: bool = False,
    as_json: Json = False,
) -> None:
    """List runs, or look at one.

    Args:
        run_id: Show this run only.
        metrics: Print the run's metrics rows (as JSON).
        samples: Print what a language model wrote at each evaluation.
        log: Print the end of the run's log.
        tensorboard: Write the run's metrics to this folder as TensorBoard event files (pip install tensorboard).
        rename: Give the run this name.
        delete: Remove the run and its checkpoints.
    """
    engine = open_engine()
    store = engine.store
    chosen = sum((metrics, samples, log, tensorboard is not None, rename is not None, delete))
    if chosen > 1:
        raise LabError("Give one of --metrics, --samples, --log, --tensorboard, --rename and --delete.")
    if run_id is None:
        if chosen:
            raise LabError("Which run? Give its id, as listed by: python -m core runs")
        engine.tick()
        _print_all(store.list(), as_json)
    elif metrics:
        print_json(store.metrics(run_id))
        if command := store.get(run_id).job_kind.figures_command:
            note(f"This run has no metrics rows. Its figures: python -m core {command.format(id=run_id)}")
    elif samples:
        _print_samples(store.samples(run_id), as_json)
    elif log:
        print(store.log(run_id), end="")
    elif tensorboard is not None:
        from core.jobs.tensorboard import write_events

        count = write_events(store, run_id, tensorboard)
        print(f"{tensorboard / run_id}: {count:,} figures. See them: tensorboard --logdir {tensorboard}")
    elif delete:
        store.delete(run_id)
        note(f"Deleted {run_id}.")
    else:
        if rename:
            store.rename(run_id, rename)
        _print_one(engine.state(run_id), as_json)


def worker(
    run_id: RunId,
    /,
    *,
    runs_folder: Path | None = None,
    lock_handle: Annotated[int | None, Parameter(show=False)] = None,
) -> int:
    """Do one run in this process. The engine starts these; by hand it takes a run past the queue.

    Args:
        runs_folder: Folder of the runs; without it, runs/ in LAB_HOME.
    """
    from core.jobs.worker import run_worker

    return 0 if run_worker(run_id, runs_folder, lock_handle) in ("finished", "stopped") else 1


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
            "test": f"{test:.2%}" if (test := run.figure("test_accuracy")) is not None else "-",
            "validation": run.job_kind.best(run) or "-",
            "time": duration(run.seconds),
        }
        for run in found
    ]
    print_table(rows, ["run", "name", "status", "done", "test", "validation", "time"])
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

"""The state of a run in words: for its view, for lists of runs, and for the table."""

from __future__ import annotations

from core.jobs import Run
from pages.shared.text import duration, plain

STATUS = {
    "queued": ("Queued", "gray", ":material/schedule:"),
    "running": ("Running", "blue", ":material/play_arrow:"),
    "stopping": ("Stopping", "orange", ":material/pause:"),
    "stopped": ("Stopped", "orange", ":material/stop:"),
    "finished": ("Finished", "green", ":material/check:"),
    "failed": ("Failed", "red", ":material/error:"),
    "lost": ("Interrupted", "red", ":material/power_off:"),
}


def trains(run: Run) -> bool:
    """Whether it is a training of one network, with figures and curves of its own."""
    return not run.parts


def address(run: Run) -> tuple[str, dict[str, str]]:
    """Name of the page that shows a run, and the query parameters of a link to it."""
    if run.study is not None:
        return "regularization", {"view": "Studies", "study": run.id}
    if run.compression is not None:
        return "compression", {"view": "Results", "recipe": run.id}
    return run.task, {"view": "Train", "run": run.id}


def fraction(run: Run) -> float:
    """Share done, 0..1."""
    if run.stage_fraction is not None and run.step == 0:
        return min(1.0, max(0.0, run.stage_fraction))
    # A study may have been given more to do since it wrote how much that is.
    total = run.total_steps if run.study is None else run.parts * run.study.steps
    return min(1.0, run.step / total) if total else 0.0


def where(run: Run) -> str:
    """Percent, epoch (of a study its runs, of a recipe its variants), rate and time left in one line of Markdown."""
    if run.status == "queued":
        place = f", place {run.queue_position}" if run.queue_position else ""
        return f"Waiting in the queue{place}"
    if run.status == "running" and run.step == 0:
        stage = run.stage or "starting"
        return plain(stage[:1].upper() + stage[1:]) + _silence(run)
    parts = [f"{100 * fraction(run):.0f}%", f"epoch {run.epoch:.1f} of {run.config.epochs:g}"]
    if not trains(run):
        parts = [f"{100 * fraction(run):.0f}%", done(run)]
    if run.study is not None and run.stage not in ("", "training"):  # rate and time left are of training
        return " · ".join([*parts, plain(run.stage)]) + _silence(run)
    if run.compression is not None and run.stage:
        parts.append(plain(run.stage))
    if run.examples_per_s and (run.compression is None or run.status == "running"):
        parts.append(f"{run.examples_per_s:,.0f} {run.unit}/s")
    if run.status == "running" and run.seconds_left is not None:
        parts.append(f"{duration(run.seconds_left)} left")
    elif run.seconds:
        parts.append(f"{'trained for' if trains(run) else 'took'} {duration(run.seconds)}")
    return " · ".join(parts) + _silence(run)


def _silence(run: Run) -> str:
    return "" if run.silent_s is None else f" · no sign of life for {duration(run.silent_s)}"


def done(run: Run) -> str:
    """`epoch 3.5 of 10`; of a study `runs 12 of 60`; of a recipe `variants 1 of 3`."""
    if run.parts:
        return f"{run.part_name} {run.members_done} of {run.parts}"
    return f"epoch {round(run.epoch, 2):g} of {run.config.epochs:g}"


def compares(run: Run) -> str:
    """What a study compares with no regularization, or what a recipe does, in words; empty for a training."""
    if run.compression is not None:
        return ", ".join(step.words for step in run.compression.parsed())
    if run.study is None:
        return ""
    return ", ".join(arm.title for arm in run.study.parsed() if arm.names)


def state_words(run: Run) -> str:
    """Status for a table; a silence in whole minutes, so that it does not change at every look."""
    silent = f", silent for {duration(60 * (run.silent_s // 60))}" if run.silent_s is not None else ""
    return STATUS[run.status][0] + silent


def best(run: Run) -> str:
    """The best validation figure: `71.3%` for pictures, `1.52 nats` for text; a dash where there is none yet."""
    if run.task == "text":
        return "–" if run.best_val_loss_nats is None else f"{run.best_val_loss_nats:.3f} nats"
    return "–" if run.best_val_accuracy is None else f"{100 * run.best_val_accuracy:.1f}%"

"""The state of a run in words: for its view, for lists of runs, and for the table."""

from __future__ import annotations

from core.jobs import Run
from pages.shared.text import duration, escape_markdown

STATUS = {
    "queued": ("Queued", "gray", ":material/schedule:"),
    "running": ("Running", "blue", ":material/play_arrow:"),
    "stopping": ("Stopping", "orange", ":material/pause:"),
    "stopped": ("Stopped", "orange", ":material/stop:"),
    "finished": ("Finished", "green", ":material/check:"),
    "failed": ("Failed", "red", ":material/error:"),
    "lost": ("Interrupted", "red", ":material/power_off:"),
}


def address(run: Run) -> tuple[str, dict[str, str]]:
    """Name of the page that shows a run, and the query parameters of a link to it."""
    return run.job_kind.page(run)


def fraction(run: Run) -> float:
    """Share done, 0..1."""
    if run.stage_fraction is not None and run.step == 0:
        return min(1.0, max(0.0, run.stage_fraction))
    return min(1.0, run.step / run.total_steps) if run.total_steps else 0.0


def where(run: Run) -> str:
    """Percent, what its kind counts, rate and time left in one line of Markdown."""
    if run.status == "queued":
        place = f", place {run.queue_position}" if run.queue_position else ""
        return f"Waiting in the queue{place}"
    if run.status == "running" and run.step == 0:
        stage = run.stage or "starting"
        return escape_markdown(stage[:1].upper() + stage[1:]) + _silence(run)
    parts = [f"{100 * fraction(run):.0f}%", done(run)]
    if run.stage not in ("", "training"):
        parts.append(escape_markdown(run.stage))
    if run.examples_per_s and (run.status == "running" or not run.parts):
        parts.append(f"{run.examples_per_s:,.0f} {run.unit}/s")
    if run.status == "running" and run.seconds_left is not None and run.seconds_left >= 0.5:
        parts.append(f"{duration(run.seconds_left)} left")
    elif run.seconds:
        spent = duration(run.seconds)
        parts.append(f"{spent} so far" if run.active else f"{run.job_kind.time_spent} {spent}")
    return " · ".join(filter(None, parts)) + _silence(run)


def _silence(run: Run) -> str:
    return "" if run.silent_s is None else f" · no update for {duration(run.silent_s)}"


def done(run: Run) -> str:
    """`epoch 3.5 of 10`, `runs 12 of 60`."""
    return run.job_kind.done(run)


def compares(run: Run) -> str:
    """What it compares or does, in words; empty where its name says it."""
    return run.job_kind.summary(run.config)


def state_words(run: Run) -> str:
    """Status for a table; a silence in whole minutes, so that it does not change at every look."""
    silent = f", silent for {duration(60 * (run.silent_s // 60))}" if run.silent_s is not None else ""
    return STATUS[run.status][0] + silent

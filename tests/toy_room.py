"""A whole room in one file, found through LAB_ROOMS: a config, a job that counts, a page and a command."""

from __future__ import annotations

import time
from typing import Any

from core.common.commands import Json, Whole
from core.common.settings import Count, Settings
from core.jobs import LocalEngine
from core.jobs.foreground import run_in_foreground
from core.jobs.job import Job, Outcome
from core.jobs.kind import JobKind
from pages.shared.registry import Page


class CountConfig(Settings):
    steps: Count = 3
    """How far to count."""
    step_s: float = 0.0
    """Seconds that a number takes."""
    state_bytes: int = 0
    """Size of its saved state, at least."""


def run_count(config: CountConfig, job: Job) -> Outcome:
    """Count on from the saved number."""
    number = int(job.state_path.read_text()) if job.state_path.exists() else 0
    job.rewind(number, number)
    job.update(now=True, stage="", total_steps=config.steps, step=number, threads=2)
    job.interruptible = False
    while number < config.steps:
        time.sleep(config.step_s)
        number += 1
        job.row("eval", {"step": number, "epoch": float(number), "square": number * number})
        job.sync_rows()
        job.state_path.write_text(str(number).ljust(config.state_bytes))
        job.update(now=True, step=number, saved_step=number, square=number * number)
        job.stop_if_wanted()
    return Outcome(status="finished", message=f"Counted to {number}.")


COUNT = JobKind(
    name="count",
    entry="tests.toy_room:run_count",
    read_config=CountConfig.from_dict,
    title=lambda config: f"Count to {config.steps}",
    figures=("square",),
    page=lambda run: ("toy", {"view": "Counts", "count": run.id}),
)
KINDS = (COUNT,)


def draw() -> None:
    import streamlit as st

    from pages.shared.job_page import JobPage
    from pages.shared.run_controls import start_job_button
    from pages.shared.settings_form import settings_form

    def form() -> None:
        values = settings_form(CountConfig, ("steps", "step_s"), CountConfig().to_dict(), "count-{}", labels={})
        start_job_button("Count", COUNT, CountConfig(**values), key="start-count", name_key="count-name")

    def result(rows: list[dict[str, Any]], key: str, _: object) -> None:
        st.table({"Square": [row["square"] for row in rows]})

    JobPage(page=PAGE, kind=COUNT, param="count", form=form, result=result).draw()


VIEWS = {"New count": "How far?", "Counts": "How far did it count?"}
ASKS = "How far does it count?"
PAGE = Page(name="toy", title="Toy", icon=":material/toys:", section="Trust", question=ASKS, views=VIEWS, script=draw)


def count(steps: Whole, /, *, step_s: float = 0.0, as_json: Json = False) -> int:
    """Count.

    Args:
        step_s: Seconds that a number takes.
    """
    engine = LocalEngine()
    run_id = engine.store.create(CountConfig(steps=steps, step_s=step_s), kind=COUNT.name)
    return run_in_foreground(engine, run_id, as_json=as_json)


COMMANDS = (count,)

"""What it costs a run to be written down and watched: its steps beside those of the bare generator."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from core.benchmark import Figure, figure, ratio
from core.benchmark.browser import Server, browser
from core.benchmark.loops import EPOCHS
from core.benchmark.processes import run
from core.errors import LabError
from core.runs.engine import LocalEngine
from core.runs.store import RunStore
from core.training.recipes import get_recipe

SECONDS = 15.0
SETTLE_S = 10.0
"""Opening a page takes a few seconds of processor time once; what is measured is the cost of keeping it open."""


def measure(rounds: int) -> Iterator[Figure]:
    bare: list[float] = []
    written: list[float] = []
    watched: list[float] = []
    with browser() as opened, Server() as server:
        server.wait()
        page = opened.new_page(viewport={"width": 1280, "height": 800})
        for _ in range(rounds):
            bare.append(run("generator", SECONDS, model="simple_cnn"))
            written.append(_run_speed(lambda run_id: None))
            watched.append(_run_speed(lambda run_id: page.goto(f"{server.url}/images?view=Train&run={run_id}")))
            page.goto("about:blank")
    yield figure("observed", "simple_cnn, batch 32: the bare generator", bare, "images/s")
    yield figure("observed", "a run in its worker, metrics written", written, "images/s")
    yield figure("observed", "the same with its dashboard open in a browser here", watched, "images/s")
    yield ratio("observed", "run / bare generator", written, bare)
    yield ratio("observed", "run with dashboard / bare generator", watched, bare)


def _run_speed(watch: Callable[[str], object]) -> float:
    """Images/s of a real run in its worker over SECONDS, from its own rows; `watch` is called once it trains."""
    store = RunStore()
    engine = LocalEngine(store)
    config = get_recipe("simple_cnn", "textbook").replace(epochs=EPOCHS, eval_every=EPOCHS, device="cpu")
    run_id = store.create(config, "benchmark: observed")
    try:
        engine.submit(run_id)
        _wait_for_step(engine, run_id, 100)
        watch(run_id)
        time.sleep(SETTLE_S)
        first = store.metrics(run_id)[-1]
        time.sleep(SECONDS)
        last = store.metrics(run_id)[-1]
        return float((last["examples"] - first["examples"]) / (last["seconds"] - first["seconds"]))
    finally:
        engine.stop(run_id, now=True)
        while engine.state(run_id).status in ("running", "stopping"):
            time.sleep(0.1)
        store.delete(run_id)


def _wait_for_step(engine: LocalEngine, run_id: str, step: int) -> None:
    deadline = time.monotonic() + 120
    while (run := engine.state(run_id)).step < step:
        if run.status not in ("queued", "running") or time.monotonic() > deadline:
            raise LabError(f"The measured run did not start ({run.message or run.status}): stop other runs first.")
        time.sleep(0.2)

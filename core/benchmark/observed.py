"""What it costs a run to be written down and watched: its steps beside those of the bare generator."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from core.benchmark import Figure, figure, ratio
from core.benchmark.browser import Server, browser
from core.benchmark.loops import EPOCHS
from core.benchmark.processes import run
from core.benchmark.tracked import run_speed
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
    config = get_recipe("simple_cnn", "textbook").replace(epochs=EPOCHS, eval_every=EPOCHS, device="cpu")
    return run_speed(config, SECONDS, first_step=100, settle_s=SETTLE_S, watch=watch)

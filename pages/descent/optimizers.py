"""Gradient descent / Optimizers: several of them from one start, and the formula of each step with its numbers."""

from __future__ import annotations

import streamlit as st

from core.common.errors import LabError
from core.descent.charts import height_chart, map_data, optimizer_series
from core.descent.descent import SCHEDULES, STEPS, Path, descend, gradient_noise, lowest, ranking
from core.descent.functions import Landscape, find_minimum
from core.descent.optimizers import OPTIMIZERS, Hyper
from pages.descent.function import COLUMNS, choose_function, identity
from pages.descent.paths import linked_start, linked_view, paths
from pages.shared.number_field import linked_number
from pages.shared.resources import dark
from pages.shared.text import show_error
from pages.shared.url import linked, linked_fragment
from pages.shared.url_values import number, one_of, several_of, write_number, write_several

KEY = "descent-paths"
FIRST = ("sgd", "momentum", "adam")
BATCHES = (0, 256, 64, 16, 4, 1)
RATES = (1e-9, 1e4)
FIELD_PX = 170


def optimizers_view() -> None:
    answer, controls = st.columns(COLUMNS)
    below = st.container()
    try:
        with controls:
            land = choose_function()
            names = _choose_optimizers()
            batch_size = _choose_batch_size()
        with below:
            runs, hyper, schedule, seed = _settings(land, names)
        with answer:
            linked_fragment(_descents)(land, runs, hyper, schedule, batch_size, seed)
    except LabError as error:
        with answer:
            show_error(error)


def _descents(
    land: Landscape, runs: list[tuple[str, float]], hyper: Hyper, schedule: str, batch_size: int, seed: int
) -> None:
    """Runs alone while somebody drags the start."""
    heading = st.container()
    start, dragged = linked_start(KEY, identity(land), land.start, land.window)
    names = tuple(name for name, _ in runs)
    try:
        noise = gradient_noise(land, batch_size, seed)
        found = descend(land, start, runs, hyper=hyper, schedule=schedule, noise=noise)
        least = find_minimum(land.formula, start, land.width)
    except LabError as error:
        show_error(error)
        found, least = [], None
    place, chosen, revision = linked_view(KEY, identity(land), STEPS, STEPS, names)
    words = answer(found, bounded=least is None or least.found)
    heading.markdown(f"## {words}")
    minima = [least.point] if least and least.found else []
    paths(
        KEY,
        {
            "mode": "steps",
            "map": map_data(land, minima),
            "series": optimizer_series(found, dark=dark(), only=chosen if dragged else ""),
            "charts": [height_chart(found, lowest(land, found, minima))],
            "steps": STEPS,
            "start": list(start),
            "place": place,
            "chosen": chosen,
            "numbers": {"beta": hyper.momentum, "beta1": round(1 - hyper.momentum, 6), "decay": hyper.weight_decay},
            "mark": "",
            "markAt": None,
            "label": f"Map of f(x, y) = {land.formula.text} with the paths from ({start[0]:.3g}, {start[1]:.3g}). {words}",
            "revision": revision,
        },
    )


def answer(found: list[Path], *, bounded: bool = True) -> str:
    """Who ends lowest, in a sentence. bounded: whether a minimum was found downhill of the start."""
    alive = [path for path in ranking(found) if not path.diverged]
    if not found:
        return "No descent from here."
    if not alive:
        return "All of them diverge: lower the rates."
    best = alive[0]
    title, value = OPTIMIZERS[best.optimizer].title, f"f = {float(best.values[-1]):.3g}".replace("-", "−")
    if not bounded:
        return f"No minimum lies downhill of here: {title} is at {value} after {STEPS} steps."
    if len(found) == 1:
        return f"{title} reaches {value} in {STEPS} steps."
    return f"{title} ends lowest after {STEPS} steps: {value}."


def _choose_optimizers() -> list[str]:
    names = list(OPTIMIZERS)
    linked(
        "with",
        "descent-optimizers",
        several_of(names, "optimizer", len(names)),
        list(FIRST),
        write=write_several,
    )
    chosen = st.pills(
        "Optimizers",
        names,
        selection_mode="multi",
        format_func=lambda name: OPTIMIZERS[name].title,
        key="descent-optimizers",
        persist_state="session",
        wrap=True,
    )
    if not chosen:
        raise LabError("No optimizer is chosen: choose one.")
    return [name for name in names if name in chosen]


def _choose_batch_size() -> int:
    """0 is the exact gradient."""
    linked("batch", "descent-batch", one_of(BATCHES, "batch size"), 0)
    return st.select_slider(
        "Batch size",
        BATCHES,
        format_func=lambda size: "all" if size == 0 else f"{size}",
        key="descent-batch",
        help="A smaller batch B gives a noisier gradient: normal noise of σ/√B, where σ is the map's median gradient.",
        persist_state="session",
    )


def _settings(land: Landscape, names: list[str]) -> tuple[list[tuple[str, float]], Hyper, str, int]:
    """Rates, what all share, schedule and seed."""
    box = st.expander("Rates and schedule", icon=":material/tune:", key="descent-more")
    with box, st.container(horizontal=True, vertical_alignment="bottom"):
        runs = [
            (
                name,
                linked_number(
                    f"{OPTIMIZERS[name].title}: rate η",
                    *RATES,
                    land.rates[name],
                    param=f"lr_{name}",
                    key=f"descent-rate-{name}",
                    of=identity(land),
                    step=land.rates[name] / 5,
                    format="%.3g",
                    width=FIELD_PX,
                ),
            )
            for name in names
        ]
        linked("beta", "descent-beta", number(0, 0.999, "the momentum", float), 0.9, write=write_number)
        momentum = st.slider(
            "Momentum β", 0.0, 0.999, step=0.01, key="descent-beta", width=FIELD_PX, persist_state="session"
        )
        decay = linked_number(
            "Weight decay of AdamW",
            0.0,
            10.0,
            0.01,
            param="decay",
            key="descent-decay",
            step=0.01,
            format="%g",
            width=FIELD_PX,
        )
        linked("schedule", "descent-schedule", one_of(SCHEDULES, "schedule"), SCHEDULES[0])
        schedule = st.selectbox("Schedule", SCHEDULES, key="descent-schedule", width=FIELD_PX, persist_state="session")
        seed = linked_number("Seed of the noise", 0, 9999, 0, param="seed", key="descent-seed", step=1, width=FIELD_PX)
    return runs, Hyper(momentum=momentum, weight_decay=decay), schedule, seed

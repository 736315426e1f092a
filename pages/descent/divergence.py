"""Gradient descent / Divergence: the largest curvature predicts the rate above which it breaks; cross that line and look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from core.attribution.networks import float_twin_note
from core.common.errors import LabError
from core.common.progress import Progress
from core.common.theme import colour_of
from core.data import dataset_status
from core.descent.charts import map_data, network_charts, sweep_charts, sweep_series
from core.descent.descent import MULTIPLES, STEPS, Sweep, lowest, sweep
from core.descent.functions import Landscape, Minimum
from core.descent.results import SWEEPS, Descent, NetworkSweep
from pages.descent.function import COLUMNS, choose_function, identity
from pages.descent.paths import linked_start, linked_view, paths
from pages.shared import tasks
from pages.shared.checkpoint_picker import checkpoint_picker
from pages.shared.resources import dark, dataset, loaded
from pages.shared.text import escape_markdown, show_error
from pages.shared.url import linked, linked_fragment
from pages.shared.url_values import number, one_of

KEY, NETWORK_KEY = "descent-rates", "descent-network-rates"
FUNCTION, TRAINED, UNTRAINED, OWN = "A function", "A trained network", "An untrained network", "Your checkpoint"
SHIPPED = {TRAINED: "trained", UNTRAINED: "untrained"}
FIRST_PLACE = MULTIPLES.index(0.9)
IMAGES = (50, 1000)
PASSED = 1.1
"""λ over 2/η from which it counts as past it: power iteration on the way is rough."""
OUTCOMES = {
    "settles": "It settles.",
    "slow": f"It still creeps down after {STEPS} steps.",
    "bounces": "It does not settle: it bounces.",
    "diverges": "It diverges.",
}
NETWORK_OUTCOMES = {
    "falls": "The loss falls.",
    "spikes": "The loss first rises, then falls.",
    "rises": "The loss ends above its start.",
    "diverges": "It diverges.",
}


def divergence_view() -> None:
    answer, controls = st.columns(COLUMNS)
    with controls:
        options = [FUNCTION, TRAINED, UNTRAINED, OWN]
        linked("of", "descent-of", one_of(options, "subject"), FUNCTION)
        chosen = st.selectbox("Descend on", options, key="descent-of", persist_state="session")
    try:
        if chosen == FUNCTION:
            with controls:
                land = choose_function()
            with answer:
                linked_fragment(_on_function)(land)
        elif chosen == OWN:
            _own(answer, controls)
        else:
            with answer:
                linked_fragment(_on_network)(SWEEPS.load_shipped(SHIPPED[chosen]), chosen)
    except LabError as error:
        with answer:
            show_error(error)


def _on_function(land: Landscape) -> None:
    heading = st.container()
    start, _ = linked_start(KEY, identity(land), land.start, land.window)
    place, _, revision = linked_view(KEY, identity(land), FIRST_PLACE, len(MULTIPLES) - 1, ())
    try:
        found = sweep(land, start)
    except LabError as error:
        show_error(error)
        return
    least = found.minimum
    heading.markdown(f"## {function_answer(least)}")
    if least.limit:
        where = f"({least.point[0]:.3g}, {least.point[1]:.3g})"
        heading.caption(
            f"λ = {least.curvature:.4g} is the largest curvature at the minimum {where}. Move the rate across the line."
        )
    minima = [least.point] if least.found else []
    words = [_words(found, number) for number in range(len(found.multiples))]
    data: dict[str, Any] = {
        "map": map_data(land, minima),
        "series": sweep_series(found, words, dark=dark()),
        "charts": sweep_charts(found, lowest(land, found.paths, minima)),
        "steps": STEPS,
        "start": list(start),
        "label": f"Path of gradient descent on f(x, y) = {land.formula.text}, at the chosen rate.",
    }
    _rates(KEY, data, found.multiples if least.limit else (), place, revision)


def function_answer(least: Minimum) -> str:
    """What 2/λ predicts, in a sentence."""
    if not least.found:
        return "No minimum lies downhill of this start, so there is nowhere to settle."
    if least.limit is None:
        return "The curvature at the minimum is 0, so 2/λ says nothing there."
    return f"Gradient descent cannot settle here above 2/λ = {least.limit:.3g}."


def _words(found: Sweep, place: int) -> str:
    multiple = found.multiples[place]
    rate = multiple * found.limit
    said = OUTCOMES[found.outcomes[place]]
    if found.minimum.limit is None:
        return f"η = {rate:.3g}. {said}"
    if multiple > 1 and found.outcomes[place] == "settles":
        said = f"It left for a flatter place, where λ = {found.sharpness[place][-1]:.3g}."
    return f"η = {rate:.3g}, {multiple:g} × 2/λ. {said}"


def _on_network(found: NetworkSweep, key: str) -> None:
    whose = f"{found.checkpoint} {found.curvature} {key}"
    telling = (n for n, each in enumerate(found.descents) if each.rate > found.limit or passes(each))
    place, _, revision = linked_view(NETWORK_KEY, whose, next(telling, 0), len(found.descents) - 1, ())
    st.markdown(f"## {network_answer(found)}")
    st.caption(
        f"{escape_markdown(found.title)}, {found.weights:,} weights, full-batch gradient descent on {found.images:,} training "
        f"images. λ = {found.curvature:.3g} at the start, by {found.products} Hessian-vector products."
    )
    colour = colour_of("simple_cnn", dark=dark())
    series = []
    for each in found.descents:
        multiple = each.rate / found.limit
        top = f" λ ends at {each.sharpness[-1][1]:.3g}, 2/η = {2 / each.rate:.3g}." if each.sharpness else ""
        words = f"η = {each.rate:.3g}, {multiple:.3g} × 2/λ. {NETWORK_OUTCOMES[each.outcome]}{top}"
        series.append({"name": f"{each.rate:g}", "colour": colour, "words": words})
    data: dict[str, Any] = {
        "map": None,
        "series": series,
        "charts": network_charts(found),
        "steps": max(len(each.loss_nats) for each in found.descents) - 1,
        "start": [0, 0],
        "label": f"Loss and largest curvature of {found.title} at the chosen rate.",
    }
    _rates(NETWORK_KEY, data, [each.rate / found.limit for each in found.descents], place, revision)


def passes(descent: Descent) -> bool:
    """Whether λ came to lie above 2/η."""
    return any(value > PASSED * 2 / descent.rate for _, value in descent.sharpness)


def network_answer(found: NetworkSweep) -> str:
    """Whether the prediction held, in a sentence."""
    line = f"2/λ = {found.limit:.3g}"
    below, above = ([each for each in found.descents if (each.rate > found.limit) == side] for side in (False, True))
    broken = [each for each in above if each.outcome in ("diverges", "rises")]
    peak = max((value for each in below for _, value in each.sharpness), default=0.0)
    if any(map(passes, below)):
        return f"Below {line} is not safe for long: λ rises from {found.curvature:.3g} to {peak:.3g}, past 2/η."
    if not above:
        return f"Below {line} the loss falls, and λ stays below 2/η."
    if not broken:
        return f"Above {line} it survives: λ falls until it is below 2/η."
    if len(broken) == len(above):
        return f"Above {line} gradient descent breaks, as predicted."
    return f"Just above {line} it survives; at {min(each.rate for each in broken) / found.limit:.3g} × 2/λ it breaks."


def _rates(key: str, data: dict[str, Any], multiples: Sequence[float], place: int, revision: str) -> None:
    """The rates as a slider with the line 2/λ on it. multiples: of 2/λ, one a rate; empty where it predicts nothing."""
    below = [n for n, multiple in enumerate(multiples) if multiple <= 1]
    at = None
    if below and len(below) < len(multiples):
        low, high = multiples[below[-1]], multiples[below[-1] + 1]
        at = (below[-1] + (1 - low) / (high - low)) / (len(multiples) - 1)
    more = {"mode": "rates", "place": place, "chosen": "", "numbers": {}, "mark": "2/λ", "markAt": at}
    paths(key, data | more | {"revision": revision})


def _own(answer: Any, controls: Any) -> None:
    """A checkpoint of the viewer's: measured once it is asked for."""
    with controls:
        reference = checkpoint_picker("Checkpoint", "descent-checkpoint", param="checkpoint")
        if reference is None:
            return
        if twin := float_twin_note(reference.card, "loss and curvature"):
            st.caption(escape_markdown(twin))
        linked("images", "descent-images", number(*IMAGES, "the number of images"), 200)
        count = st.slider("Training images", *IMAGES, step=50, key="descent-images", persist_state="session")
        name = reference.card.image_data.name
        key = f"descent-sweep-{reference.name}-{reference.card.fingerprint}-{count}"

        def work(progress: Progress) -> NetworkSweep:
            from core.data.splits import subset
            from core.descent.network import network_loss, sweep_network

            images = subset(dataset(name).train, count, 0)
            loss = network_loss(loaded(reference), images)
            return sweep_network(loss, name=reference.name, title=reference.label, on_progress=progress)

        if dataset_status(name).ready:
            tasks.start_button(
                "Measure", key, work, button="descent-measure", type="primary", icon=":material/play_arrow:"
            )
        else:
            st.info(f"{escape_markdown(reference.card.dataset.title)} is not on this machine: fetch it under Datasets.")
    with answer:
        if tasks.watch(key):
            return
        task = tasks.find(key)
        if task is not None and task.result is not None:
            linked_fragment(_on_network)(task.result, key)
        else:
            st.markdown("## Does it break above 2/λ?")
            st.markdown("**Measure** finds the largest curvature of its loss, then descends at six rates around 2/λ.")

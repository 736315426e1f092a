"""Language models: writing beside the textbook's loop, training beside a plain PyTorch loop, the page's first character."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from core.benchmark import Figure, figure, ratio
from core.benchmark.first_character import first_characters
from core.benchmark.loops import EPOCHS
from core.benchmark.processes import bare_environment, launch, result, run
from core.benchmark.tracked import run_speed
from core.common.devices import cores, prepare_server
from core.common.errors import LabError

PART = "text"
WRITE_SECONDS = 4.0
TRAIN_SECONDS = 12.0
NAIVE, NAIVE_ALL = "naive loop, window 100, one thread", "naive loop, window 100, all threads"
ONE = ("float32", "int8")


def measure(rounds: int) -> Iterator[Figure]:
    yield from writing(rounds)
    yield from training(rounds)
    yield from first_characters(rounds)


def writing(rounds: int) -> Iterator[Figure]:
    """A fresh process a round, in which all ways take turns on one thread, as in the server."""
    shipped, network = _subject()
    prepare_server()
    server = dict(os.environ) | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    speeds: dict[str, list[float]] = {}
    for _ in range(rounds):
        found = _written(server, shipped, "naive", "stepped", "float32", "int8", "streams, float32", "streams, int8")
        # A second thread that waits as the server's must would be slowed by that: it gets a script's environment.
        found["naive, all"] = _written(bare_environment(), shipped, "naive")["naive"]
        for name, value in found.items():
            speeds.setdefault(name, []).append(value)
    yield from writing_figures(speeds, network)


def writing_figures(speeds: dict[str, list[float]], network: str) -> Iterator[Figure]:
    """speeds: characters/s of each way, round by round. network: the one that writes, in words."""
    from core.benchmark.writing import STREAMS

    unit = "characters/s"
    faster = max(("naive", "naive, all"), key=lambda name: sum(speeds[name]))
    yield figure(PART, NAIVE, speeds["naive"], unit, network)
    yield figure(PART, NAIVE_ALL, speeds["naive, all"], unit, f"{cores()} cores, no thread policy")
    yield figure(PART, "nn.LSTM a character at a time, one thread", speeds["stepped"], unit)
    for name in ONE:
        yield figure(PART, f"writing, one stream, {name}, one thread", speeds[name], unit)
    for name in ONE:
        yield figure(PART, f"writing, {STREAMS} streams together, {name}", speeds[f"streams, {name}"], unit)
    for name, aim in zip(ONE, ("25", "50")):
        note = f"aim: at least {aim}; the naive loop with {'one thread' if faster == 'naive' else 'all threads'}"
        yield ratio(PART, f"one stream, {name} / faster naive loop", speeds[name], speeds[faster], note)
    yield ratio(PART, "one stream, float32 / nn.LSTM a character at a time", speeds["float32"], speeds["stepped"])
    for name, note in zip(ONE, ("aim: at least 4", "")):
        yield ratio(PART, f"{STREAMS} streams / one stream, {name}", speeds[f"streams, {name}"], speeds[name], note)


def training(rounds: int) -> Iterator[Figure]:
    """A run in its worker beside a plain loop on the same network, batches and threads, and in a script's environment."""
    from core.training.recipes import get_recipe

    for recipe in ("quick", "default"):
        config = get_recipe("char_lstm", recipe).replace(epochs=EPOCHS, eval_every=EPOCHS, device="cpu")
        ours: list[float] = []
        policy: list[float] = []
        bare: list[float] = []
        for _ in range(rounds):
            ours.append(run_speed(config, TRAIN_SECONDS, first_step=8, settle_s=2.0))
            policy.append(run("plain_text", TRAIN_SECONDS, recipe=recipe))
            bare.append(run("plain_text", TRAIN_SECONDS, bare_environment(), recipe=recipe))
        yield from training_figures(recipe, config.model_settings, ours, policy, bare)


def training_figures(
    recipe: str, model_config: dict[str, Any], ours: list[float], policy: list[float], bare: list[float]
) -> Iterator[Figure]:
    """Characters/s, round by round: of a run, of the plain loop under a worker's policy, and of it without any."""
    unit = "characters/s"
    name = f"char_lstm {recipe}"
    extra = "with weight dropout, which the plain loop has not" if model_config.get("weight_drop") else ""
    yield figure(PART, f"training {name}: a run in its worker, metrics written", ours, unit, extra)
    yield figure(PART, f"training {name}: plain loop, the same threads", policy, unit)
    yield figure(PART, f"training {name}: plain loop, no policy", bare, unit)
    yield ratio(PART, f"{name}: run / plain loop, the same threads", ours, policy, "aim: at least 1.0")
    yield ratio(PART, f"{name}: run / plain loop, no policy", ours, bare)


def _written(environment: dict[str, str], shipped: bool, *ways: str) -> dict[str, float]:
    arguments = [str(WRITE_SECONDS), "shipped" if shipped else "random", *ways]
    return dict(result(launch("core.benchmark.writing", arguments, environment)))


def _subject() -> tuple[bool, str]:
    """Whether char_lstm ships, and in words what is written with."""
    from core.checkpoints.store import PRETRAINED, read_card
    from core.models import full_config

    try:
        config, words = read_card(PRETRAINED / "char_lstm").model_config, "the checkpoint that ships"
    except LabError:
        config, words = {}, "random weights"
    _, shape = full_config("char_lstm", config)
    return bool(config), f"char_lstm, {shape.layers} x {shape.width}, {words}"

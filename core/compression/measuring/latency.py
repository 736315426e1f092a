"""How long calls take, measured in turn, A B B A A B …: what the machine does meanwhile happens to all of them alike. And how
much memory a network needs that runs alone.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from core.common.memory import measure_in_process

BUDGET_S = 2.0
FEWEST, MOST = 20, 200
WARM_UP = 3
LEAST = 8
"""Rounds of calls that are so slow that FEWEST of them would take more than OVERDRAW times the budget."""
OVERDRAW = 5


def interleaved(
    calls: Sequence[Callable[[], Any]],
    *,
    budget_s: float = BUDGET_S,
    fewest: int = FEWEST,
    most: int = MOST,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> np.ndarray:
    """Milliseconds of each call, (calls, rounds). Every round makes each call once, and the order turns round by round.

    Each is called three times first, unmeasured. Rounds end when the budget is spent, but not before `fewest`, and at `most`;
    calls so slow that this would take five budgets end after 8 rounds or more. The garbage collector is off meanwhile.
    """
    for call in calls:
        for _ in range(WARM_UP):
            call()
    order = range(len(calls))
    rounds: list[list[int]] = []
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        begun = clock()
        while len(rounds) < most:
            spent = (clock() - begun) / 1e9
            if spent > budget_s and (len(rounds) >= fewest or (spent > OVERDRAW * budget_s and len(rounds) >= LEAST)):
                break
            times = [0] * len(calls)
            for index in order if len(rounds) % 2 == 0 else reversed(order):
                started = clock()
                calls[index]()
                times[index] = clock() - started
            rounds.append(times)
    finally:
        if collecting:
            gc.enable()
    return np.array(rounds, dtype=np.float64).T / 1e6


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Sets the threads of PyTorch's operators within a block."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def peak_memory(onnx: bytes, inputs: Sequence[int], *, threads: int = 1) -> int | None:
    """Bytes that a fresh process needs at most, beyond what it has with ONNX Runtime imported and nothing loaded, to load an
    ONNX file and answer one random input. inputs: its shape, such as (1, 3, 32, 32). None where it cannot be measured.
    """
    with tempfile.TemporaryDirectory(prefix="bottleneck-lab-") as folder:
        path = Path(folder) / "model.onnx"
        try:
            path.write_bytes(onnx)
        except OSError:
            return None
        shape = map(str, inputs)
        return measure_in_process("core.compression.measuring.peak_memory", str(path), str(threads), *shape)

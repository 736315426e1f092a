"""The process of one cell: `python -m core.hardware.child`. It computes only when it is told to, and waits on its pipe otherwise.

A line with the Spec loads the checkpoint; `start` builds and answers first, `logits FILE` writes the answers to the sample,
`round` measures some calls, `memory` tells the peak. A line with a RooflineSpec measures that. Every answer is a line of JSON.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from core.common.memory import forget_peak, peak_bytes, resident_bytes
from core.common.parent import end_group, end_with_parent, reason, take_stdout

ROUND_S = 0.4
MOST_CALLS = 50
WARM_UP = 2


def main() -> None:
    say = take_stdout()
    end_with_parent(end_group)
    try:
        spec = json.loads(sys.stdin.readline())
        if spec["what"] == "roofline":
            from core.hardware.layers import measure_roofline

            del spec["what"]
            say(measure_roofline(**spec))
        else:
            _serve(spec, say)
    except Exception as error:
        say({"error": reason(error)})


def _serve(values: dict[str, Any], say: Callable[[Any], None]) -> None:
    from core.hardware.energy import counter, spent
    from core.hardware.networks import Spec, import_libraries, load
    from core.hardware.setups import Setup

    setup = Setup.from_dict(values["setup"])
    spec = Spec(**{key: value for key, value in values.items() if key != "what"} | {"setup": setup})
    import_libraries(setup)
    forget_peak()
    idle, joules = resident_bytes(), counter(setup.device)
    cell = load(spec)
    say({"loaded": True})
    for line in sys.stdin:
        verb, _, file = line.strip().partition(" ")
        began = time.perf_counter()
        if verb == "start":
            cell.start()
            say({"start_s": time.perf_counter() - began})
        elif verb == "logits":
            say(_logits(cell, file))
        elif verb == "round":
            before = joules()
            times = call_times(cell.call, ROUND_S)
            used = spent(before, joules())
            say({"ms": times, "joules": None if used is None else used / (len(times) * setup.batch_size)})
        elif verb == "memory":
            say({"bytes": _peak(setup.device, idle)})


def _logits(cell: Any, file: str) -> dict[str, Any]:
    """Written, unless that would take longer than is given before the file's name."""
    import numpy as np

    budget_s, _, path = file.partition(" ")
    began = time.perf_counter()
    cell.call()
    call_s = time.perf_counter() - began
    if call_s * cell.calls_for_logits > float(budget_s):
        return {"written": False}
    for _ in range(WARM_UP):
        cell.call()
    np.save(path, cell.logits(), allow_pickle=False)
    return {"written": True}


def call_times(call: Callable[[], Any], seconds: float, fewest: int = 1) -> list[float]:
    """Milliseconds of each call, for so long, but at least so many and no more than MOST_CALLS."""
    times: list[float] = []
    gc.collect()
    gc.disable()
    try:
        began = time.perf_counter()
        while len(times) < fewest or (len(times) < MOST_CALLS and time.perf_counter() - began < seconds):
            started = time.perf_counter()
            call()
            times.append(1000 * (time.perf_counter() - started))
    finally:
        gc.enable()
    return times


def _peak(device: str, idle: int) -> int | None:
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    found = peak_bytes()
    return None if found is None else max(0, found - idle)


if __name__ == "__main__":
    main()

"""Which settings to take over: the fastest that are surely faster than the default and lose no accuracy that can be seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core.common.values import signed
from core.hardware.expect import times
from core.hardware.results import HardwareResult, Ratio, Row
from core.hardware.setups import Setup, changes

BUSY = 1.5
"""Ratio of the default's slowest round to its fastest above which the machine was busy with something else."""
ALIKE = 0.8
"""Share of the fastest below which a cell is slower, however wide the ranges are."""
LEAST_GAIN = 1.05
"""Times as fast: less is not worth a change."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Advice:
    """The cell to take over."""

    row: Row
    reference: Row
    speedup: Ratio

    @property
    def setup(self) -> Setup:
        return self.row.setup

    @property
    def break_even(self) -> int | None:
        return self.row.break_even(self.reference)


def no_gain(row: Row) -> str:
    """Why it is not surely faster than the default, with the figures that decide; empty where it is.

    Its slowest round has to beat the fastest of its reference, and its median by more than a change takes. Of noise alone,
    two sets of five rounds lie so apart once in 252 times.
    """
    if row.speedup is None:
        return "it was not compared with the default"
    if row.speedup.middle < LEAST_GAIN:
        return f"less than {LEAST_GAIN:g} times as fast is not worth a change"
    slowest, least = max(row.round_ms), min(row.reference_ms)
    if slowest >= least:
        return f"its rounds spread too much: its slowest took {slowest:.3g} ms, the default's fastest {least:.3g} ms"
    return ""


def keeps_accuracy(row: Row) -> bool:
    """Whether it was asked, and its loss is not beyond the interval."""
    change = row.change
    return change is not None and change.high >= 0


def recommend(result: HardwareResult, work: str, batch_size: int, *, exact: bool = False) -> Advice | None:
    """The best of a group, or None where nothing is surely better. exact: of float32 alone.

    Of cells that cannot be told apart from the fastest, the one with the fewest changes.
    """
    reference = next((row for row in result.group(work, batch_size) if row.measured and result.is_reference(row)), None)
    if reference is None:
        return None
    pairs = [
        (row, speedup)
        for row, speedup in result.compared(work, batch_size)
        if not no_gain(row) and keeps_accuracy(row) and (not exact or row.setup.precision == "float32")
    ]
    if not pairs:
        return None
    best = max(pairs, key=lambda pair: pair[1].middle)[1]
    equal = [pair for pair in pairs if pair[1].high >= best.low and pair[1].middle >= ALIKE * best.middle]
    row, speedup = min(equal, key=lambda pair: (changes(pair[0].setup, reference.setup), -pair[1].middle))
    return Advice(row=row, reference=reference, speedup=speedup)


def default_batch(result: HardwareResult, work: str) -> int | None:
    """The group that is shown first: the largest batch, where throughput counts."""
    sizes = [batch for its, batch in result.groups if its == work]
    return max(sizes, default=None)


def answer(result: HardwareResult, work: str = "inference", batch_size: int | None = None) -> str:
    """What helps, in a sentence without its full stop."""
    batch = batch_size or default_batch(result, work)
    if batch is None:
        return "Nothing is measured yet"
    if not any(row.measured and result.is_reference(row) for row in result.group(work, batch)):
        return "The default could not be measured, so nothing can be compared with it"
    best, exact = recommend(result, work, batch), recommend(result, work, batch, exact=True)
    does = "answers" if work == "inference" else "trains on"
    if best is None:
        words = f"No setting surely {does} more images a second than PyTorch as you left it"
    else:
        first = exact or best
        gain = times(first.speedup.middle)
        words = f"{_name(first.setup)} {does} {gain} times as many images a second as PyTorch as you left it"
        if exact is None and best.setup.precision != "float32":
            words += f" and {_cost(best.row)}"
        elif exact is not None and best.setup != exact.setup:
            more = times(best.speedup.middle / exact.speedup.middle)
            words += f"; {best.setup.precision} adds {more} times and {_cost(best.row)}"
    refused = refused_for_accuracy(result, work, batch, best)
    return words + (f"; {refused.setup.precision} is faster but {_cost(refused)}" if refused else "")


def refused_for_accuracy(result: HardwareResult, work: str, batch_size: int, best: Advice | None) -> Row | None:
    """The fastest cell that would be the better one, if it did not lose accuracy."""
    for row, speedup in result.compared(work, batch_size):
        if speedup.middle <= (best.speedup.middle if best else 1.0):
            break
        if not no_gain(row) and row.change and row.change.high < 0:
            return row
    return None


def passed_over(result: HardwareResult, work: str, batch_size: int) -> str:
    """Why the longest bar is not what is recommended, in a sentence; empty where it is, or where `answer` says why."""
    best = recommend(result, work, batch_size)
    longest, speedup = next(iter(result.compared(work, batch_size)), (None, None))
    if speedup is None or longest is None or speedup.middle <= (best.speedup.middle if best else 1.0):
        return ""
    name = f"{longest.setup.words} measured {speedup.words} times"
    if reason := no_gain(longest):
        return f"{name}, but {reason}."
    if longest.change is None:
        return f"{name}, but its accuracy was not measured."
    if best is None or not keeps_accuracy(longest):
        return ""
    setup = best.setup.words
    return f"{name}, but its rounds overlap those of {setup}, {best.speedup.words} times, which takes fewer changes."


def unrest(result: HardwareResult, work: str, batch_size: int) -> float:
    """How far apart the slowest and fastest round of the default are, as a ratio; 1 where it was not measured."""
    rounds = [ms for row in result.group(work, batch_size) for ms in row.reference_ms]
    return max(rounds) / min(rounds) if rounds else 1.0


def slowdowns(result: HardwareResult, work: str, batch_size: int) -> list[Row]:
    """Cells that are surely slower than the default, the worst first."""
    rows = [row for row, _ in result.compared(work, batch_size) if min(row.round_ms) > max(row.reference_ms)]
    return rows[::-1]


def start_words(advice: Advice) -> str:
    """`Starting takes 31 s: it pays back after 18,400 images.`"""
    after, start_s = advice.break_even, advice.row.start_s
    if start_s is None or after is None:
        return ""
    if not after:
        return "It starts as soon as PyTorch."
    return f"Its start takes {start_s:.1f} s: it pays back after {after:,} images."


def train_settings(setup: Setup) -> dict[str, Any]:
    """What the form of a training takes of a cell."""
    found: dict[str, Any] = {"precision": setup.precision}
    if setup.runtime == "compile":
        found["compile"] = True
    if not setup.on_cpu:
        found["device"] = setup.device
    return found


def usage(setup: Setup, checkpoint: str) -> str:
    """Python that answers with these settings."""
    if setup.runtime == "onnx":
        file, exact = "net.onnx", ""
        if setup.precision == "int8":
            file = "int8.onnx"
            exact = (
                "# x86 without VNNI would add up in 16 bits, which overflows. Elsewhere this only costs speed.\n"
                'options.add_session_config_entry("session.x64quantprecision", "1")\n'
            )
        return (
            "import onnxruntime\n\n"
            "options = onnxruntime.SessionOptions()\n"
            f"options.intra_op_num_threads = {setup.threads}\n"
            f"{exact}"
            f'session = onnxruntime.InferenceSession("{file}", options, providers=["CPUExecutionProvider"])\n'
            '# images: (N, 3, H, W) float32, normalised\nlogits = session.run(["logits"], {"images": images})[0]\n'
        )
    lines = ["import torch", "from core.checkpoints.store import load_checkpoint", ""]
    lines += [f"torch.set_num_threads({setup.threads})"] if setup.on_cpu else []
    placed = [f'"{setup.device}"'] if not setup.on_cpu else []
    placed += [f"dtype=torch.{setup.precision}"] if setup.precision != "float32" else []
    placed += ["memory_format=torch.channels_last"] if setup.memory_format == "channels_last" else []
    lines.append(f'model = load_checkpoint("{checkpoint}").model' + (f".to({', '.join(placed)})" if placed else ""))
    lines += ["model = torch.compile(model)"] if setup.runtime == "compile" else []
    lines += ["# images: (N, 3, H, W), normalised", "with torch.inference_mode():", "    logits = model(images)"]
    return "\n".join(lines) + "\n"


def _name(setup: Setup) -> str:
    """`ONNX Runtime with 2 threads`, `PyTorch with channels last and 2 threads`."""
    extra = ["channels last"] if setup.memory_format == "channels_last" and setup.work == "inference" else []
    return f"{setup.kind.replace(', ', ' in ')} with {' and '.join([*extra, setup.where])}"


def _cost(row: Row) -> str:
    change = row.change
    assert change is not None
    if round(change.middle, 1) == 0:
        return "costs no accuracy that can be seen"
    if change.middle < 0:
        return f"costs {-change.middle:.1f} points"
    return f"changes accuracy by {signed(change.middle)} points"

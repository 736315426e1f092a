"""What the results of a recipe say, in sentences and tables. No torch, no images."""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import dataclass
from typing import Any

from core.common.values import finite, plus_minus, signed, t_half_width
from core.compression.recipe import ORIGINAL
from core.compression.results import (
    SUBJECTS,
    CompressionResult,
    Measurement,
    loss_words,
    quality,
    size_ratio,
    speedup,
)
from core.compression.steps import Distill, read_step

MOST_POINTS_LOST = 1.0
"""Percentage points of accuracy that the winner of a headline may lose."""
MOST_NATS_LOST = 0.05
"""The same for a language model, nats a character."""
FAR = 10.0
"""Times that: what loses more is no longer called fastest or smallest, because a network that guesses is both."""
ALPHA = 0.05
"""A p value below it is called more than luck."""
ABOUT = 0.05
"""Ratios to the original within 5% of 1 count as the same: timings of one network differ by as much."""
UNKNOWN = "–"


@dataclass(frozen=True, kw_only=True, slots=True)
class TeacherEffect:
    """What a teacher added: students against controls of the same seed, paired."""

    seeds: tuple[int, ...]
    students: tuple[float, ...]
    """By seed: accuracy in percent; of text, loss in nats."""
    controls: tuple[float, ...]
    text: bool = False

    @property
    def differences(self) -> tuple[float, ...]:
        """Student minus control of each seed: points, or nats, where less is better."""
        return tuple(ours - theirs for ours, theirs in zip(self.students, self.controls))

    @property
    def mean(self) -> float:
        return statistics.fmean(self.differences)

    @property
    def half_width(self) -> float | None:
        """Half of the 95% interval of the mean (paired t over seeds); None for one seed."""
        return t_half_width(self.differences)

    @property
    def kind(self) -> str:
        """`helps`, `hurts`, `noise`; `none` for one seed, which says nothing about luck."""
        half_width = self.half_width
        if half_width is None:
            return "none"
        if abs(self.mean) <= half_width:
            return "noise"
        return "helps" if (self.mean < 0) == self.text else "hurts"

    @property
    def figures(self) -> str:
        """`+0.62 ± 0.59 points`; with one seed `+0.4 points`."""
        unit, digits = ("nats", 3) if self.text else ("points", 1)
        half_width = self.half_width
        if half_width is None:
            return f"{signed(self.mean, digits)} {unit}"
        return f"{plus_minus(self.mean, half_width, digits)} {unit}"


def teacher_effect(result: CompressionResult) -> TeacherEffect | None:
    """Students and controls of one distillation, of the seeds that have both. None where there is no such pair (yet).

    Of several distillations side by side, the first that has all its pairs, or else the first that has any.
    """
    text = result.task == "text"
    found: dict[tuple[bool, str], dict[int, float]] = {}
    students: dict[str, Measurement] = {}
    for item in result.variants:
        value = quality(item)
        if is_distilled(item) and value is not None:
            key = _training(item.steps)
            found.setdefault((item.control, key), {}).setdefault(item.seed, -value if text else 100 * value)
            if not item.control:
                students.setdefault(key, item)
    effects = []
    for key, student in students.items():
        step = read_step(student.steps[-1])
        assert isinstance(step, Distill)
        ours, theirs = found[False, key], found.get((True, _training(student.steps, without_teacher=True)), {})
        seeds = tuple(sorted(ours.keys() & theirs.keys()))
        if not seeds:
            continue
        values = {"students": tuple(ours[seed] for seed in seeds), "controls": tuple(theirs[seed] for seed in seeds)}
        effect = TeacherEffect(seeds=seeds, text=text, **values)
        if len(seeds) == step.seeds:
            return effect
        effects.append(effect)
    return effects[0] if effects else None


def _training(steps: tuple[dict[str, Any], ...], *, without_teacher: bool = False) -> str:
    """The key of a distillation. without_teacher: that of the controls of these students."""
    step = read_step(steps[-1])
    if without_teacher and isinstance(step, Distill):
        step = step.without_teacher()
    return json.dumps([*steps[:-1], step.to_dict()], sort_keys=True)


def is_distilled(item: Measurement) -> bool:
    """Whether a variant is a student or a control, as its last step left it."""
    return bool(item.steps) and item.steps[-1].get("step") == "distill"


def distils(result: CompressionResult) -> bool:
    """Whether students are among the variants, measured or planned."""
    planned = any(isinstance(step, Distill) for step in result.config.parsed())
    return planned or any(is_distilled(item) for item in result.variants)


def last_ids(result: CompressionResult) -> set[str]:
    """Ids of the variants from which no other variant was made."""
    # As this version writes the steps, whichever version made the results.
    steps = {item.id: [read_step(step).to_dict() for step in item.steps] for item in result.variants}
    return {
        name
        for name, done in steps.items()
        if not any(len(other) > len(done) and other[: len(done)] == done for other in steps.values())
    }


def students_words(result: CompressionResult) -> str:
    """Whether the teacher helped, in a sentence or two; empty for a recipe that does not distill."""
    if not distils(result):
        return ""
    effect = teacher_effect(result)
    if effect is None:
        return "No verdict yet: it takes a student and its control, trained with the same seed."
    ours, theirs = statistics.fmean(effect.students), statistics.fmean(effect.controls)
    means = f"{ours:.3f} against {theirs:.3f} nats" if effect.text else f"{ours:.1f}% against {theirs:.1f}%"
    if effect.kind == "none":
        return f"No verdict: one seed cannot separate the teacher's effect from chance ({effect.figures}, {means})."
    seeds = f"{means} without it, {len(effect.seeds)} seeds, 95% interval of paired differences"
    if effect.kind == "noise":
        return f"The teacher's effect is within seed noise: {effect.figures} ({seeds})."
    return f"The teacher {'helped' if effect.kind == 'helps' else 'hurt'}: {effect.figures} ({seeds})."


def headline(result: CompressionResult) -> str:
    """What is gained and lost so far, in two or three sentences."""
    first = result.first
    if first is None:
        return "Nothing is measured yet."
    done = {item.id for item in result.variants}
    if not done:
        return f"Only the original is measured so far: {_standing(first)}."
    so_far = f"{len(done)} of {result.planned} variants {'is' if len(done) == 1 else 'are'} measured so far."
    best = winner(result)
    sentences = [] if len(done) >= result.planned else [so_far]
    if best is None:
        return so_far
    if _lost(best) > 1:
        most = f"{MOST_NATS_LOST:g} nats" if result.task == "text" else f"{MOST_POINTS_LOST:g} point"
        sentences.append(f"No variant stays within {most} of the original; the least is lost with:")
    sentences.append(f"{_capital(best.title)}: {_bought(best, first)}. {_cost(best)}")
    smallest = _smallest_to_store(result) if len(done) >= result.planned else None
    if smallest is not None and smallest.stored_bytes < best.stored_bytes:
        ratio = times(size_ratio(smallest, first, "stored_bytes") or 1.0)
        sentences.append(f"Smallest to store is {smallest.title}: {ratio} times as small, {loss_words(smallest)}.")
    slower = [item for item in _candidates(result) if item is not best and (faster_by(item) or 1.0) < 1 - ABOUT]
    if slower:
        names = "; ".join(f"{item.title} ({times(faster_by(item) or 0.0)} times as fast)" for item in slower)
        sentences.append(f"Slower than the original{_runtime(slower[0])}: {names}.")
    return " ".join(sentences)


def answer(result: CompressionResult) -> str:
    """What the winner bought and lost, in one sentence; before it, how far an unfinished recipe is."""
    first, best = result.first, winner(result)
    if first is None or best is None:
        return headline(result)
    done = len({item.id for item in result.variants})
    so_far = f"So far, of {done} of {result.planned} variants: " if done < result.planned else ""
    return f"{so_far}{method_words(best)}: {_bought(best, first)}, {_change(best)}."


def is_one_recipe(result: CompressionResult) -> bool:
    """Whether all variants come from one row of steps; some that ship are of several."""
    return all(item.steps == result.config.steps[: len(item.steps)] for item in result.variants)


def picks(result: CompressionResult) -> dict[str, Measurement]:
    """What a person looks for -> the variant. `same`: the smallest stored file of those within the noise of the original;
    `fastest` and `smallest`: of those that lose at most FAR times what a winner may lose, or of all where none does; none that
    is no faster, or no smaller, than the original."""
    items = _candidates(result)
    near = [item for item in items if _lost(item) <= FAR] or items
    same = [item for item in items if is_within_noise(item)]
    fast = [item for item in near if (faster_by(item) or 0.0) > 1 + ABOUT]
    small = [item for item in near if result.first is None or _stored(item) < _stored(result.first)]
    found = {"same": min(same, key=_stored)} if same else {}
    found |= {"fastest": max(fast, key=lambda item: faster_by(item) or 0.0)} if fast else {}
    return found | ({"smallest": min(small, key=_stored)} if small else {})


def is_within_noise(item: Measurement) -> bool:
    """Whether the test shows no loss against the original; False where the loss was not measured."""
    if item.delta_nats is not None:
        return item.delta_nats_interval is not None and item.delta_nats_interval[0] <= 0
    if item.delta_points is None:
        return False
    return item.delta_points >= 0 or (item.p_value is not None and item.p_value >= ALPHA)


def method_words(item: Measurement) -> str:
    """The kinds of its steps: `Prune channels, fine-tune, int8`."""
    first, *more = [*dict.fromkeys(read_step(step).title for step in item.steps)] or [_capital(item.title)]
    return ", ".join([first, *(name if name.startswith("Huffman") else name.lower() for name in more)])


def _stored(item: Measurement) -> tuple[float, float]:
    """For the least: the stored file, and of equal ones the better network."""
    return item.stored_bytes or math.inf, -(quality(item) or 0.0)


def _change(item: Measurement) -> str:
    """`at the same accuracy`, `for 1.0 points of accuracy`, `for 0.024 nats of loss`."""
    text = item.delta_nats is not None
    if is_within_noise(item) and _lost(item) <= 1:
        return f"at the same {'loss' if text else 'accuracy'}"
    if is_within_noise(item) and item.delta_points is not None:
        return f"for {-item.delta_points:.1f} points of accuracy, which so few test images cannot tell from none"
    if text:
        return f"for {item.delta_nats or 0.0:.3f} nats of loss"
    return "accuracy not measured" if item.delta_points is None else f"for {-item.delta_points:.1f} points of accuracy"


def winner(result: CompressionResult) -> Measurement | None:
    """Of the variants that lose little, the one with the best ratios, size times speed; if none does, the least damaged.

    Controls are left out, and all students but the first: the best of several seeds is luck.
    """
    first, items = result.first, _candidates(result)
    if first is None or not items:
        return None
    within = [item for item in items if _lost(item) <= 1]
    if within:
        return max(within, key=lambda item: _ratio(item, first))
    return min(items, key=lambda item: (_lost(item), -_ratio(item, first)))


def _smallest_to_store(result: CompressionResult) -> Measurement | None:
    """Of several recipes side by side: the variant with the smallest file among those that lose little."""
    items = _candidates(result)
    if len(last_ids(result) & {item.id for item in items}) < 2:
        return None
    within = [item for item in items if item.stored_bytes and quality(item) is not None and _lost(item) <= 1]
    return min(within, key=lambda item: item.stored_bytes, default=None)


def short_name(result: CompressionResult, item: Measurement) -> str:
    """What a variant is called beside an image: `3 int8`, `1 student, seed 2`; the step that made it, not those before it."""
    if not item.steps:
        return ORIGINAL if item.id == ORIGINAL else item.title
    step = read_step(item.steps[-1])
    if not isinstance(step, Distill):
        return f"{item.number} {step.words}"
    seed = f", seed {item.seed}" if step.seeds > 1 else ""
    return f"{item.number} {'no teacher' if item.control else 'student'}{seed}"


def rows(result: CompressionResult) -> list[dict[str, str]]:
    """One row a measurement, for people; a dash where something was not measured."""
    return [_row(item, text=result.task == "text") for item in result.measured]


def csv_rows(result: CompressionResult) -> list[dict[str, Any]]:
    """The same as numbers with their units in their names, and None where something was not measured."""
    found = []
    for item in result.measured:
        row: dict[str, Any] = {
            "id": item.id,
            "variant": item.title,
            "model": item.model,
            "seed": item.seed,
            "control": item.control,
            "size_bytes": item.size_bytes,
            "stored_bytes": item.stored_bytes or None,
            "parameters": item.parameters,
            "macs": item.macs,
            "zeros": item.zeros,
            "threads": item.threads,
        }
        for subject in SUBJECTS:
            latency = item.latency_ms.get(subject)
            row[f"{subject}_p50_ms"] = latency.p50 if latency else None
            row[f"{subject}_p95_ms"] = latency.p95 if latency else None
            row[f"{subject}_speedup"] = latency.speedup if latency else None
        for name, value, interval in (
            ("accuracy", item.accuracy, item.accuracy_interval),
            ("delta_points", item.delta_points, item.delta_interval),
            ("delta_nats", item.delta_nats, item.delta_nats_interval),
        ):
            low, high = interval or (None, None)
            row |= {name: value, f"{name}_low": low, f"{name}_high": high}
        for name in ("p_value", "disagreements", "images", "loss_nats", "characters_per_s", "memory_bytes"):
            row[name] = getattr(item, name)
        found.append(row | {"notes": " ".join(item.notes)})
    return found


def byte_words(count: float | None) -> str:
    """Bytes with three figures: `7.91 MB`, `231 kB`; a dash for none."""
    return _scaled(count, ("B", "kB", "MB", "GB")) if count else UNKNOWN


def _scaled(value: float, units: tuple[str, ...]) -> str:
    """A number with three figures in the largest unit that fits; each unit is a thousand of the one before it."""
    place = 0
    while value >= 999.5 and place < len(units) - 1:
        value, place = value / 1000, place + 1
    return f"{figures(value) if place else f'{value:.0f}'} {units[place]}".strip()


def _row(item: Measurement, *, text: bool) -> dict[str, str]:
    size = {
        "Variant": item.title,
        "Weights that run" if text else "File that runs": byte_words(item.size_bytes),
        "Stored": byte_words(item.stored_bytes),
        "Parameters": f"{item.parameters:,}",
        "Multiply-adds": UNKNOWN if item.macs is None else _scaled(item.macs, ("", "k", "M", "G")),
    }
    if text:
        return size | {
            "Characters/s": UNKNOWN if item.characters_per_s is None else f"{item.characters_per_s:,.0f}",
            "Faster": _faster(item),
            "Loss (nats)": UNKNOWN if item.loss_nats is None else f"{item.loss_nats:.3f}",
            "Change": loss_words(item),
            "First guess right": UNKNOWN if item.accuracy is None else f"{100 * item.accuracy:.1f}%",
        }
    return size | {
        "PyTorch ×1 (ms)": latency_words(item, "torch_b1"),
        "ONNX ×1 (ms)": latency_words(item, "onnx_b1"),
        "ONNX ×64 (ms)": latency_words(item, "onnx_b64"),
        "Faster": _faster(item),
        "Memory": byte_words(item.memory_bytes),
        "Accuracy": accuracy_words(item),
        "Change": loss_words(item),
        "p": p_words(item.p_value),
    }


def p_words(value: float | None) -> str:
    """A p value with one or two figures: `0.62`, `0.003`, `<0.001`."""
    if value is None:
        return UNKNOWN
    return "<0.001" if value < 0.001 else f"{value:.3f}" if value < 0.095 else f"{value:.2f}"


def _candidates(result: CompressionResult) -> list[Measurement]:
    """The variants that a winner is chosen from."""
    return [item for item in result.variants if not item.control and item.seed == 0]


def _lost(item: Measurement) -> float:
    """Loss against the original in units of what is tolerated; 0 where it is not known."""
    if item.delta_nats is not None:
        return item.delta_nats / MOST_NATS_LOST
    return -(item.delta_points or 0.0) / MOST_POINTS_LOST


def _ratio(item: Measurement, first: Measurement) -> float:
    """How many times as small, times how many times as fast; what is not known counts as 1."""
    size = max(size_ratio(item, first) or 1.0, size_ratio(item, first, "stored_bytes") or 1.0)
    return size * (faster_by(item) or 1.0)


def _bought(item: Measurement, first: Measurement) -> str:
    running, stored, faster = size_ratio(item, first), size_ratio(item, first, "stored_bytes"), faster_by(item)
    if stored and stored > (running or 1.0) * (1 + 2 * ABOUT):
        runs = "" if running is None else f" ({_compared(running, 'small', 'what runs is ')})"
        parts = [f"{times(stored)} times as small to store{runs}"]
    elif running or stored:
        parts = [_compared(running or stored or 1.0, "small")]
    else:
        parts = []
    size, where = " and ".join(parts), _runtime(item)
    if not faster:
        return size or "size and speed are not measured"
    if faster < 1 - ABOUT:
        return f"{size + ', but ' if size else ''}slower{where} ({times(faster)} times as fast)"
    return f"{size + ' and ' if size else ''}{_compared(faster, 'fast')}{where}"


def _compared(ratio: float, what: str, before: str = "") -> str:
    """`3.9 times as small`, `as fast as before`, `larger, 1.3 times the size`."""
    if abs(ratio - 1) <= ABOUT:
        return f"{before}as {'large' if what == 'small' else what} as before"
    return (
        f"{before}larger, {times(1 / ratio)} times the size" if ratio < 1 else f"{before}{times(ratio)} times as {what}"
    )


def faster_by(item: Measurement) -> float | None:
    """In the runtime that a user would deploy, or, of what cannot be exported, in PyTorch."""
    found = (speedup(item), speedup(item, "torch_b1"))
    return next((ratio for ratio in found if finite(ratio)), None)


def _runtime(item: Measurement) -> str:
    return " at writing" if item.characters_per_s else " in ONNX Runtime" if speedup(item) else " in PyTorch"


def _cost(item: Measurement) -> str:
    """What it cost, and whether that is more than luck."""
    if item.delta_nats is not None:
        interval = item.delta_nats_interval
        sure = None if interval is None else not interval[0] <= 0 <= interval[1]
        end = {None: "", False: ": within what this much text can show", True: ": more than luck"}[sure]
        return f"Loss {loss_words(item)}{end}."
    if item.delta_points is None:
        return "What it costs in accuracy is not measured."
    if item.p_value is None:
        return f"Accuracy {loss_words(item)}."
    if item.p_value >= ALPHA:
        return f"Accuracy {loss_words(item)}: no difference that {item.images:,} test images can show."
    p = p_words(item.p_value).replace("<", "< ")
    return f"Accuracy {loss_words(item)}: more than luck (p {p if '<' in p else '= ' + p})."


def _standing(item: Measurement) -> str:
    size = byte_words(item.size_bytes or item.stored_bytes)
    if item.loss_nats is not None:
        return f"{item.loss_nats:.3f} nats a character, {size}"
    if item.accuracy is None:
        return size
    return f"{100 * item.accuracy:.1f}% on {item.images:,} test images, {size}"


def latency_words(item: Measurement, subject: str) -> str:
    """Median and 95th percentile, ms a batch: `0.800 (0.960)`. subject: one of SUBJECTS."""
    found = item.latency_ms.get(subject)
    return UNKNOWN if found is None else f"{figures(found.p50)} ({figures(found.p95)})"


def _faster(item: Measurement) -> str:
    found = None if item.id == ORIGINAL else speedup(item)
    return f"{times(found)}×" if finite(found) and found else UNKNOWN


def accuracy_words(item: Measurement) -> str:
    """Accuracy with its 95% interval: `94.33% (93.9 to 94.8)`."""
    if item.accuracy is None:
        return UNKNOWN
    interval = item.accuracy_interval
    ends = "" if interval is None else f" ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})"
    return f"{100 * item.accuracy:.2f}%{ends}"


def times(ratio: float) -> str:
    """A ratio with two figures, and all of those before the point: `0.82`, `3.9`, `35`."""
    return f"{ratio:.2f}" if ratio < 0.995 else f"{ratio:.1f}" if ratio < 9.95 else f"{ratio:.0f}"


def figures(value: float) -> str:
    """Three figures: `0.482`, `7.91`, `44.7`, `176`."""
    digits = 3 if value < 0.9995 else 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f}"


def _capital(text: str) -> str:
    """int8 and float16 keep their small letters."""
    return text if text.startswith(("int8", "float16")) else text[:1].upper() + text[1:]

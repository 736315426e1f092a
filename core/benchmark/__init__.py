"""`python -m core benchmark`: figures measured side by side in one run, because machines are shared and noisy.

Each part compares in turn (A B A B …) and reports medians with their range and the ratio. Heavy imports happen inside
the parts.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module

from core.common.errors import LabError

PARTS = {
    "training": "training images/s of simple_cnn and fast_resnet beside the loop every tutorial has",
    "sharing": "two runs at once, and answering while a run trains",
    "observed": "a run with its dashboard open beside the bare generator",
    "answer": "from upload to label in core",
    "app": "first page of a cold server, first answer, page switch, upload to label in the browser",
    "text": "characters/s written and trained beside the textbook's loops, and the first character in the browser",
    "explain": "attribution maps of one picture, their curves, and our wrapper beside Captum called directly",
    "study": "a study's use of the cores, the quick study from start to verdict",
    "runs": "a refresh of any page, and the Runs page, beside 10,000 finished runs",
    "speedrun": "time to 94% on CIFAR-10 (needs a CUDA GPU)",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One measured figure."""

    part: str
    what: str
    value: float
    """Median over the rounds."""
    unit: str
    low: float | None = None
    high: float | None = None
    """Smallest and largest round."""
    rounds: int = 1
    note: str = ""


def figure(part: str, what: str, values: list[float], unit: str, note: str = "") -> Figure:
    """The median of some rounds with their range."""
    return Figure(
        part=part,
        what=what,
        value=statistics.median(values),
        unit=unit,
        low=min(values),
        high=max(values),
        rounds=len(values),
        note=note,
    )


def ratio(part: str, what: str, above: list[float], below: list[float], note: str = "") -> Figure:
    """Round by round, so that a slow moment of the machine hits both sides."""
    return figure(part, what, [a / b for a, b in zip(above, below, strict=True)], "x", note)


def measure(parts: list[str], rounds: int) -> Iterator[Figure]:
    """Run parts in the order given. Raises LabError where one cannot run here."""
    for part in parts:
        yield from import_module(f"core.benchmark.{part}").measure(rounds)


def main(arguments: list[str]) -> int:
    """The command. Returns the exit code: 1 if a part could not run."""
    parser = argparse.ArgumentParser(
        prog="python -m core benchmark", description="Measure speed, side by side in one run."
    )
    described = "; ".join(f"{name}: {text}" for name, text in PARTS.items()).replace("%", "%%")
    parser.add_argument(
        "parts", nargs="*", choices=[*PARTS, []], help=f"which (default: all but speedrun). {described}"
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each comparison (default 5)")
    parser.add_argument("--json", action="store_true", help="one JSON object with all figures on standard output")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    from core.checkpoints.store import versions
    from core.common.devices import cores, prepare_server, processor_name

    prepare_server()  # what is classified in this process is classified as the server does it

    machine = f"{processor_name()}, {cores()} cores"
    found: list[Figure] = []
    problems: dict[str, str] = {}
    if not options.json:
        print(machine)
    for part in options.parts or [name for name in PARTS if name != "speedrun"]:
        try:
            for item in measure([part], options.rounds):
                found.append(item)
                print(_line(item), file=sys.stderr if options.json else sys.stdout, flush=True)
        except LabError as error:
            problems[part] = str(error)
            print(f"{part}: {error}", file=sys.stderr)
    if options.json:
        result = {"machine": machine, "versions": versions(), "figures": [dataclasses.asdict(item) for item in found]}
        print(json.dumps(result | {"problems": problems}, indent=1))
    return 1 if problems else 0


def _line(item: Figure) -> str:
    spread = f" ({item.low:.4g} to {item.high:.4g} in {item.rounds} rounds)" if item.rounds > 1 else ""
    note = f"  {item.note}" if item.note else ""
    return f"{item.part:9} {item.what:58} {item.value:10.4g} {item.unit}{spread}{note}"

"""`benchmark`: figures measured side by side in one run."""

from __future__ import annotations

import dataclasses
import sys
from typing import Annotated

from cyclopts import Parameter

from core.benchmark import ON_REQUEST, PARTS, Figure, measure
from core.common.commands import Json, Whole, between
from core.common.errors import LabError
from core.common.output import note, print_json

Part = Annotated[
    str, Parameter(choices=tuple(PARTS), help="; ".join(f"{name}: {words}" for name, words in PARTS.items()))
]


def benchmark(*parts: Part, rounds: Annotated[Whole, between(1, 1000)] = 5, as_json: Json = False) -> int:
    """Measure speed, side by side in one run. Without PARTS: all but cluster and speedrun.

    Args:
        rounds: Rounds of each comparison.
    """
    from core.checkpoints.store import versions
    from core.common.devices import cores, prepare_server, processor_name

    prepare_server()  # what is classified in this process is classified as the server does it
    machine = f"{processor_name()}, {cores()} cores"
    found: list[Figure] = []
    problems: dict[str, str] = {}
    if not as_json:
        print(machine)
    for part in parts or [name for name in PARTS if name not in ON_REQUEST]:
        try:
            for item in measure([part], rounds):
                found.append(item)
                print(_line(item), file=sys.stderr if as_json else sys.stdout, flush=True)
        except LabError as error:
            problems[part] = str(error)
            note(f"{part}: {error}")
    if as_json:
        result = {"machine": machine, "versions": versions(), "figures": [dataclasses.asdict(item) for item in found]}
        print_json(result | {"problems": problems})
    return 1 if problems else 0


def _line(item: Figure) -> str:
    spread = f" ({item.low:.4g} to {item.high:.4g} in {item.rounds} rounds)" if item.rounds > 1 else ""
    words = f"  {item.note}" if item.note else ""
    return f"{item.part:9} {item.what:58} {item.value:10.4g} {item.unit}{spread}{words}"

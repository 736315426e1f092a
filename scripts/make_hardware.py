"""Make the grids that ship with the Hardware page. Run it on a machine that does nothing else: about half an hour each there.

python -m scripts.make_hardware [simple_cnn fast_resnet] [--rounds 5] [--batches 1,64] [--precisions float32,int8,bfloat16]
It goes on with what is missing when it is started again with the same settings.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from core.common.errors import LabError
from core.common.output import note
from core.common.paths import lab_home
from core.hardware.cli import new_config
from core.hardware.config import HardwareConfig
from core.hardware.estimate import grid_seconds
from core.hardware.kind import HARDWARE
from core.hardware.results import GRIDS, read_grid
from core.jobs import RunStore
from core.jobs.worker import do_run

CHECKPOINTS = ("simple_cnn", "fast_resnet")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="*", default=CHECKPOINTS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", default="1,64")
    parser.add_argument("--precisions", default="float32,int8,bfloat16")
    given = parser.parse_args()
    settings: dict[str, Any] = {
        "rounds": given.rounds,
        "batch_sizes": tuple(map(int, given.batches.split(","))),
        "precisions": tuple(given.precisions.split(",")),
    }
    for name in given.checkpoints:
        make(name, new_config(name, **settings))


def make(name: str, config: HardwareConfig) -> None:
    """Measure what is missing, and write the grid where it ships. Raises LabError where a run does not finish."""
    store = RunStore(lab_home() / "shipping" / "hardware")
    known = [run for run in store.list() if run.kind == HARDWARE.name and store.config(run.id) == config]
    run_id = known[0].id if known else store.create(config, name, kind=HARDWARE.name)
    note(f"{name}: {len(config.setups)} cells, about {grid_seconds(config) / 60:.0f} min.")
    if store.get(run_id).status != "finished" and do_run(store, run_id) != "finished":
        raise LabError(f"The grid of {name} is not finished: {store.get(run_id).message}")
    GRIDS.shipped.mkdir(exist_ok=True)
    text = json.dumps(read_grid(store.folder(run_id), config).to_dict(), separators=(",", ":"))
    (GRIDS.shipped / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()

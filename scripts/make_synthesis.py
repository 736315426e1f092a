"""Make the example of the room Synthesis out of a finished set: python -m scripts.make_synthesis RUN_ID.

The set is made by: python -m core synthesize start --images 5000
"""

from __future__ import annotations

import argparse
import json

from core.common.errors import LabError
from core.common.output import note
from core.jobs import RunStore
from core.synthesis.job import read_set
from core.synthesis.results import SETS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run_id")
    run_id = parser.parse_args().run_id
    runs = RunStore()
    found = read_set(runs.folder(run_id), runs.config(run_id))
    if not found.measured:
        raise LabError(f"{run_id} is not at its end: resume it first.")
    SETS.shipped.mkdir(exist_ok=True)
    path = SETS.shipped / "example.json"
    path.write_text(json.dumps(found.to_dict(), separators=(",", ":")) + "\n")
    note(f"{path}: {found.headline}.")


if __name__ == "__main__":
    main()

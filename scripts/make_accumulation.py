"""Make the comparison of one batch with micro-batches that ships: about ten minutes on one core.

python -m scripts.make_accumulation
"""

from __future__ import annotations

import dataclasses
import json

from core.backprop.accumulation import measure
from core.backprop.cli import accumulation_data
from core.backprop.results import ACCUMULATIONS
from core.common.output import Bar


def main() -> None:
    with Bar() as bar:
        found = measure(*accumulation_data(), on_progress=bar.show)
    ACCUMULATIONS.shipped.mkdir(exist_ok=True)
    text = json.dumps(dataclasses.asdict(found), indent=1)
    (ACCUMULATIONS.shipped / "accumulation.json").write_text(text + "\n")


if __name__ == "__main__":
    main()

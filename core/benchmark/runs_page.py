"""Draw the Runs page of this LAB_HOME a few times, as a server does; prints the seconds of each as JSON."""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TIMES = 4


def main() -> None:
    sys.path.insert(0, str(ROOT))
    page = import_module("streamlit.testing.v1").AppTest.from_file(
        str(ROOT / "pages/runs/page.py"), default_timeout=600
    )
    seconds = []
    for _ in range(TIMES):
        started = time.perf_counter()
        page.run()
        seconds.append(time.perf_counter() - started)
        assert not page.exception, page.exception
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()

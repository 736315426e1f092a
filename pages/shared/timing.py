"""How long the server takes over what a visitor waits for: written to the file that LAB_TIMINGS names."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator


@contextlib.contextmanager
def timed(what: str) -> Iterator[None]:
    """Append a line, {"what": …, "ms": …}, once the block is through. A block that is left early is not counted."""
    started = time.perf_counter()
    yield
    path = os.environ.get("LAB_TIMINGS")
    if path:
        with contextlib.suppress(OSError), open(path, "a") as file:
            file.write(json.dumps({"what": what, "ms": round(1000 * (time.perf_counter() - started), 1)}) + "\n")

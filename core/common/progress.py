"""How far some work is: the share done and a few words, for a page, a run folder or a terminal."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from core.common.values import duration

Progress = Callable[[float, str], None]
"""Called as work goes on with the share done (0..1; 0 while it is not known) and what is being done, as in
`download cifar10 (12.3 MB/s, 1:05 left)`. A callback that raises cancels the work, which leaves nothing behind."""

RATE_WINDOW_S = 5.0
REPORT_EVERY_S = 0.1
TOO_EARLY = 0.005
"""Share of a stage before which no time left is given: it would be in days."""


def no_progress(share: float, words: str) -> None:
    """A Progress that nobody reads."""


class Meter:
    """Turns a growing byte count into progress, at most ten times a second, with the rate of the last five seconds."""

    def __init__(self, on_progress: Progress | None, stage: str, total_bytes: int = 0) -> None:
        """total_bytes: 0 where it is not known."""
        self._report = on_progress
        self._stage, self._total = stage, total_bytes
        self._seen: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])
        self._reported = -1.0
        self.update(0, now=True)

    def update(self, done_bytes: int, *, now: bool = False) -> None:
        """Report that so much of this stage is done. now: do not wait for the next tenth of a second."""
        moment = time.monotonic()
        if self._report is None or (not now and moment - self._reported < REPORT_EVERY_S):
            return
        self._reported = moment
        self._seen.append((moment, done_bytes))
        while len(self._seen) > 2 and moment - self._seen[0][0] > RATE_WINDOW_S:
            self._seen.popleft()
        elapsed, gained = moment - self._seen[0][0], done_bytes - self._seen[0][1]
        fraction = min(1.0, done_bytes / self._total) if self._total else 0.0
        details = []
        if elapsed > 0 and gained > 0:
            details.append(f"{gained / elapsed / 1e6:.1f} MB/s")
            if fraction >= TOO_EARLY:
                details.append(f"{duration(max(0, self._total - done_bytes) * elapsed / gained)} left")
        self._report(fraction, f"{self._stage} ({', '.join(details)})" if details else self._stage)

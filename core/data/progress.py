"""How far a fetch is: plain values that a page, a run folder or a terminal can show."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from core.common.values import duration

RATE_WINDOW_S = 5.0
REPORT_EVERY_S = 0.1
TOO_EARLY = 0.005
"""Share of a stage before which no time left is given: it would be in days."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """One report. A callback that raises cancels the fetch, which then leaves nothing behind."""

    stage: str
    """What is being done, in words: `download cifar10`, `verify`, `unpack`, …"""
    done_bytes: int = 0
    """Bytes done in this stage."""
    total_bytes: int | None = None
    """All bytes of this stage; None where they are not known."""
    bytes_per_s: float = 0.0
    """Rate over the last seconds."""
    seconds_left: float | None = None
    """Estimate for this stage; None while it cannot be told."""

    @property
    def fraction(self) -> float | None:
        """Share done of this stage, 0..1, or None where the total is not known."""
        return min(1.0, self.done_bytes / self.total_bytes) if self.total_bytes else None

    @property
    def detail(self) -> str:
        """Rate and time left for people, as far as they are known: `12.3 MB/s, 1:05 left`."""
        parts = [f"{self.bytes_per_s / 1e6:.1f} MB/s"] if self.bytes_per_s else []
        if self.seconds_left is not None:
            parts.append(f"{duration(self.seconds_left)} left")
        return ", ".join(parts)


OnProgress = Callable[[Progress], None]


class Meter:
    """Turns a growing byte count into Progress reports, at most ten a second, with the rate of the last five seconds."""

    def __init__(self, on_progress: OnProgress | None, stage: str, total: int | None = None) -> None:
        self._report = on_progress
        self._stage, self._total = stage, total
        self._seen: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])
        self._reported = -1.0
        self.update(0, now=True)

    def update(self, done: int, *, now: bool = False) -> None:
        """Report that `done` bytes of this stage are done. now: do not wait for the next tenth of a second."""
        if self._report is None:
            return
        moment = time.monotonic()
        if not now and moment - self._reported < REPORT_EVERY_S:
            return
        self._reported = moment
        self._seen.append((moment, done))
        while len(self._seen) > 2 and moment - self._seen[0][0] > RATE_WINDOW_S:
            self._seen.popleft()
        elapsed, gained = moment - self._seen[0][0], done - self._seen[0][1]
        rate = gained / elapsed if elapsed > 0 else 0.0
        left = None
        if self._total is not None and rate > 0 and done >= self._total * TOO_EARLY:
            left = max(0, self._total - done) / rate
        self._report(
            Progress(
                stage=self._stage,
                done_bytes=done,
                total_bytes=self._total,
                bytes_per_s=rate,
                seconds_left=left,
            )
        )

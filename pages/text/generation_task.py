"""A text being written in the background, which the page looks at while it goes on."""

from __future__ import annotations

import time
from collections.abc import Sequence

from core.checkpoints.store import Checkpoint
from core.common.progress import Progress
from core.inference.generate import MAX_PROMPT, Character, read_prompt, write
from core.inference.sampling import SamplingConfig, usual_precision
from pages.shared.tasks import BackgroundTask

STEADY = 120.0
"""Characters a second that can just be read along."""


class Writing:
    """One piece of writing. `characters` grows until `done`; `before` is what it goes on from."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        prompt: str,
        config: SamplingConfig,
        *,
        before: Sequence[Character] = (),
        precision: str | None = None,
        pace: float | None = None,
    ) -> None:
        """Starts at once. config.length: characters to add. precision: None takes what the checkpoint is stored for. pace:
        characters a second at most. Raises LabError for a prompt that cannot be read, before anything is started."""
        self.checkpoint, self.config = checkpoint, config
        from core.inference.decoding import available_precision

        asked = precision or usual_precision(checkpoint.card)
        self.precision, self.pace = available_precision(asked), pace
        self.without_int8 = self.precision != asked
        reading = read_prompt(checkpoint, prompt)
        self.prompt = reading.given if prompt else ""
        self.replaced, self.line_breaks = reading.replaced, reading.line_breaks
        written = "".join(item.character for item in before)
        # A prompt that has grown too long to be read whole is read from its end on.
        self._given = (self.prompt + written)[-MAX_PROMPT:]
        self.by_hand = bool(before)
        self.characters: list[Character] = list(before)
        self.first_ms: float | None = None
        self.compute_s = 0.0
        self.written = 0
        self._task = BackgroundTask(self._write)

    @property
    def done(self) -> bool:
        return self._task.done

    @property
    def stopped(self) -> bool:
        return self._task.stopped

    @property
    def error(self) -> str | None:
        return self._task.error

    @property
    def read_share(self) -> float:
        """How much of a long prompt is read, 0..1; 0 once it writes."""
        return 0.0 if self.written else self._task.fraction

    @property
    def text(self) -> str:
        return "".join(item.character for item in self.characters)

    @property
    def rate(self) -> float | None:
        """Characters a second that the model made, pauses left out."""
        return self.written / self.compute_s if self.compute_s and self.written > 1 else None

    @property
    def bits_per_character(self) -> float | None:
        """Mean surprise of the model at its own text."""
        seen = list(self.characters)
        return sum(item.surprise_bits for item in seen) / len(seen) if seen else None

    def stop(self) -> None:
        self._task.stop()

    def wait(self, seconds: float) -> None:
        """Give it a moment for its first character, so that the first look finds one."""
        limit = time.monotonic() + seconds
        while self.written == 0 and not self.done and time.monotonic() < limit:
            time.sleep(0.005)

    def _write(self, report: Progress) -> None:
        begun = last = time.perf_counter()
        for character in write(
            self.checkpoint,
            self._given,
            self.config,
            precision=self.precision,
            own=len(self.characters),
            on_read=lambda share: report(share, "reading"),
        ):
            now = time.perf_counter()
            self.compute_s += now - last
            self.first_ms = self.first_ms or 1000 * (now - begun)
            self.characters.append(character)
            self.written += 1
            report(0.0, "writing")
            if self.pace:
                time.sleep(max(0.0, begun + self.written / self.pace - now))
            last = time.perf_counter()

"""How a text is cut for training: the length of a window, the streams side by side, and the steps of an epoch."""

from __future__ import annotations

from dataclasses import dataclass

from core.training.config import TrainConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class TextWindows:
    window: int
    """Characters of a stream that one step reads."""
    streams: int
    """Windows that one step reads side by side."""
    steps: int
    """Of an epoch."""


def text_windows(config: TrainConfig, characters: int) -> TextWindows:
    """How a training part of so many characters is cut: as asked for, or smaller where it is short."""
    usable = max(1, characters - 1)  # the last character has none to follow it
    window = min(config.window, max(1, usable // 4))
    # Every epoch starts at another place of the first window, so that its edges fall elsewhere.
    windows = (usable - (window - 1)) // window
    # Fewer streams than asked for where the windows of a short text would not fill them: what is left over at its end
    # is never trained on.
    most = min(config.batch_size, max(1, windows // 2))
    streams = max(range(max(1, most // 2), most + 1), key=lambda b: (min(0.95, windows // b * b / windows), b))
    return TextWindows(window=window, streams=streams, steps=windows // streams)

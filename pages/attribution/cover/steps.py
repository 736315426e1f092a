"""What was covered so far, step by step: strokes by hand, and masks that a button set."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from core.attribution.evidence.masking import covered_probabilities
from pages.attribution.cover import Drawn

if TYPE_CHECKING:
    from core.attribution.explainer import Explainer

KEY = "covering"
KEPT = 60
"""Steps that Undo goes back over, and that the chart shows; older ones are let go."""


@dataclass(kw_only=True, slots=True, eq=False)
class Covering:
    """Of one image; kept for the session, also while another checkpoint, class or baseline is chosen."""

    pixels: np.ndarray
    """(H, W, 3) uint8."""
    masks: list[np.ndarray]
    """(H, W) bool after each step; the first has nothing covered."""
    forgotten: int = 0
    """Steps between the first mask and the second that were let go."""
    revision: str = field(default_factory=lambda: secrets.token_hex(4))
    """Of the mask that the page set last: what the browser draws on another one is not taken."""
    stroke: int = 0
    """Number of the last stroke that was taken."""
    answers: dict[tuple[str, str, bytes], np.ndarray] = field(default_factory=dict)
    """(classes,) probabilities by fingerprint of the checkpoint, baseline and mask."""

    @property
    def mask(self) -> np.ndarray:
        """(H, W) bool: what is covered now."""
        return self.masks[-1]

    @property
    def steps(self) -> list[int]:
        """Number of each step that is kept; 0 is the image with nothing covered."""
        return [0, *range(self.forgotten + 1, self.forgotten + len(self.masks))]

    def take(self, drawn: Drawn | None) -> None:
        """What was drawn by hand: a new step, or the last one grown. Taking it twice changes nothing."""
        if drawn is None or drawn.revision != self.revision or drawn.stroke < self.stroke:
            return
        if drawn.stroke == self.stroke:
            self.masks[-1] = drawn.mask
        else:
            self._append(drawn.mask)
            self.stroke = drawn.stroke

    def set(self, mask: np.ndarray) -> None:
        """A step that a button made."""
        self._append(mask)
        self.revision = secrets.token_hex(4)

    def undo(self) -> None:
        if len(self.masks) > 1:
            self.masks.pop()
            self.revision = secrets.token_hex(4)

    def probabilities(self, explainer: Explainer, fingerprint: str, baseline: str) -> np.ndarray:
        """(steps, classes) of each mask; asks the network only for those that it was not asked for yet. Raises LabError."""
        keys = [(fingerprint, baseline, mask.tobytes()) for mask in self.masks]
        fresh = {key: mask for key, mask in zip(keys, self.masks, strict=True) if key not in self.answers}
        if fresh:
            found = covered_probabilities(explainer, self.pixels, np.stack(list(fresh.values())), baseline=baseline)
            self.answers.update(zip(fresh, found, strict=True))
        self.answers = {key: self.answers[key] for key in keys}
        return np.stack([self.answers[key] for key in keys])

    def _append(self, mask: np.ndarray) -> None:
        self.masks.append(mask)
        if len(self.masks) > KEPT + 1:
            del self.masks[1]
            self.forgotten += 1


def covering_of(pixels: np.ndarray) -> Covering:
    """That of this image (H, W, 3) uint8; another image starts with nothing covered."""
    found: Covering | None = st.session_state.get(KEY)
    if found is None or not np.array_equal(found.pixels, pixels):
        found = Covering(pixels=pixels, masks=[np.zeros(pixels.shape[:2], dtype=bool)])
        st.session_state[KEY] = found
    return found

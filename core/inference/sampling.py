"""How the next character is chosen from a model's logits: no repeats, temperature, top-k, top-p, in that order."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from core.checkpoints.store import Card
from core.common.settings import Seed, Settings
from core.models import MODELS

MAX_LENGTH = 20_000
PRECISIONS = ("float32", "int8")
"""Of the weights while writing, see core.inference.decoding; named here, where nothing needs torch."""


def runs_in_int8(card: Card) -> bool:
    """Whether it is a language model that writes in 8 bits (see core.inference.decoding)."""
    return card.storage == "int8" and MODELS[card.model].recurrent


def usual_precision(card: Card) -> str:
    """The precision that a language model writes in by default, one of PRECISIONS."""
    return "int8" if runs_in_int8(card) else "float32"


class SamplingConfig(Settings):
    """Settings of one piece of writing. Raises LabError with the valid range for any value outside it."""

    length: Annotated[int, Field(ge=1, le=MAX_LENGTH)] = 500
    """Characters to write."""
    temperature: Annotated[float, Field(ge=0, le=100)] = 0.8
    """Logits are divided by this: below 1 sharpens, above 1 flattens, 0 always takes the likeliest character."""
    top_k: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Choose among the k likeliest characters only; 0 = all (Fan et al., arXiv:1805.04833)."""
    top_p: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Choose among the likeliest characters that together hold this much probability; 1 = all (Holtzman et al.,
    arXiv:1904.09751)."""
    no_repeat: Annotated[int, Field(ge=0, le=1000)] = 0
    """Never write the same sequence of so many characters twice, which ends loops at low temperatures; 0 = off (after Paulus
    et al., arXiv:1705.04304, who do it with words)."""
    seed: Seed = 0
    """The same seed, settings and prompt give the same text on the same device."""


def softmax(logits: np.ndarray) -> np.ndarray:
    """(…, V) logits to probabilities, float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def distribution(logits: np.ndarray, config: SamplingConfig, banned: Any = ()) -> np.ndarray:
    """Probabilities (V,) that the next character is drawn with. logits: (V,) float; banned: tokens not to choose.

    They sum to 1. Where every character is banned, none is.
    """
    scores = logits.astype(np.float64)
    banned = list(banned)
    if banned and len(banned) < len(scores):
        scores[banned] = -np.inf
    if config.temperature == 0:
        chosen = np.zeros(len(scores))
        chosen[scores.argmax()] = 1.0
        return chosen
    with np.errstate(over="ignore"):  # close to temperature 0, what is not the likeliest goes to -inf, as it should
        scores = (scores - scores.max()) / config.temperature
    if config.top_k and config.top_k < len(scores):
        scores[np.argsort(-scores, kind="stable")[config.top_k :]] = -np.inf
    probabilities = softmax(scores)
    if config.top_p < 1:
        order = np.argsort(-probabilities, kind="stable")
        rest = order[1:]  # the likeliest always stays
        before = np.cumsum(probabilities[order])[:-1]
        probabilities[rest[before >= config.top_p]] = 0.0
        probabilities /= probabilities.sum()
    return probabilities


class TokenSampler:
    """Numbers from 0 to 1 for one stream, the same on every machine and numpy version (the raw words of PCG64)."""

    def __init__(self, seed: int, stream: int = 0, drawn: int = 0) -> None:
        """drawn: numbers that a text which goes on has used already."""
        self._words = np.random.PCG64([seed, stream])
        self._words.advance(drawn)

    def pick(self, probabilities: np.ndarray) -> int:
        """An index of `probabilities` (V,), each as likely as it says."""
        uniform = (int(self._words.random_raw()) >> 11) / 2**53
        index = int(probabilities.cumsum().searchsorted(uniform, side="right"))
        if index >= len(probabilities) or probabilities[index] == 0:  # the sum fell short of 1 by rounding
            index = int(np.flatnonzero(probabilities)[-1])
        return index


class NoRepeatNgram:
    """Remembers which character followed each sequence of n - 1 in one stream's own text."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._seen: dict[tuple[int, ...], set[int]] = {}
        self._tail: tuple[int, ...] = ()

    def banned(self) -> set[int]:
        """Tokens that would write a sequence of n characters a second time."""
        if not self._length or len(self._tail) < self._length - 1:
            return set()
        return self._seen.get(self._tail, set())

    def add(self, token: int) -> None:
        if not self._length:
            return
        keep = self._length - 1
        if len(self._tail) == keep:
            self._seen.setdefault(self._tail, set()).add(token)
        self._tail = (*self._tail, token)[-keep:] if keep else ()

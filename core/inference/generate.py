"""Writing with a language model: a prompt in, characters out one by one, each with its probability."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from core.checkpoints.store import Checkpoint
from core.common.errors import LabError
from core.inference.sampling import NoRepeatNgram, SamplingConfig, TokenSampler, distribution, softmax
from core.inference.text import Reading, read

MAX_PROMPT = 20_000
MAX_STREAMS = 256
ALTERNATIVES = 5
TINY = 1e-300
"""Keeps the logarithm of a probability that is 0 a number; times that probability it is 0."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Character:
    character: str
    probability: float
    """The model's own, at temperature 1 and before any cut, 0..1: what surprise and bits per character rest on."""
    drawn_with: float
    """Probability that it was drawn with under the settings, 0..1."""
    alternatives: tuple[tuple[str, float], ...]
    """The model's likeliest characters with their own probabilities, likeliest first."""
    entropy_bits: float
    """Of the model's own distribution: how open the choice was."""

    @property
    def surprise_bits(self) -> float:
        """-log2 of the model's own probability."""
        return -math.log2(max(self.probability, TINY))


def read_prompt(checkpoint: Checkpoint, prompt: str) -> Reading:
    """The prompt as the model reads it; one without a character is read as a new line.

    Raises LabError for one that is too long.
    """
    if len(prompt) > MAX_PROMPT:
        raise LabError(
            f"The prompt has {len(prompt):,} characters and at most {MAX_PROMPT:,} are read: shorten it, its end matters most."
        )
    vocabulary = checkpoint.card.text_data.vocabulary
    reading = read(prompt, vocabulary)
    return reading if reading.text else read("\n" if "\n" in vocabulary else vocabulary[0], vocabulary)


def write(
    checkpoint: Checkpoint,
    prompt: str,
    config: SamplingConfig | None = None,
    *,
    precision: str = "float32",
    own: int = 0,
    on_read: Callable[[float], None] | None = None,
) -> Iterator[Character]:
    """`config.length` characters that follow the prompt. Raises LabError as `read_prompt` and `stepper` do.

    own: how many characters were written before, of a text that is to go on and now ends the prompt: the seed's draws go
    on where they were, and what must not be repeated is looked for in them too. on_read: called with the share of a long
    prompt that is read; may raise to end it.
    """
    for characters in write_many(checkpoint, prompt, config, streams=1, precision=precision, own=own, on_read=on_read):
        yield characters[0]


def write_many(
    checkpoint: Checkpoint,
    prompt: str,
    config: SamplingConfig | None = None,
    *,
    streams: int,
    precision: str = "float32",
    own: int = 0,
    on_read: Callable[[float], None] | None = None,
) -> Iterator[list[Character]]:
    """Several continuations of one prompt at once, a character of each at a time; the first is the one of `write`.

    own, on_read: as in `write`. Their draws differ by stream. Raises LabError as `write` does.
    """
    config = config or SamplingConfig()
    if not 1 <= streams <= MAX_STREAMS:
        raise LabError(f"{streams} continuations are not possible: ask for 1 to {MAX_STREAMS}.")
    reading = read_prompt(checkpoint, prompt)
    import torch

    from core.inference.decoding import stepper

    vocabulary = checkpoint.card.text_data.vocabulary
    device = next(checkpoint.model.parameters()).device
    engine = stepper(checkpoint.model, precision)
    draws = [TokenSampler(config.seed, stream, own) for stream in range(streams)]
    repeats = [NoRepeatNgram(config.no_repeat) for _ in range(streams)]
    for token in reading.tokens[max(0, len(reading.tokens) - own) :].tolist():
        for seen in repeats:
            seen.add(token)
    logits = engine.start(torch.from_numpy(reading.tokens).to(device), streams, on_read)
    for index in range(config.length):
        rows = logits.float().cpu().numpy()  # (streams, V)
        models_own = softmax(rows)
        if not np.isfinite(models_own[:, 0]).all():  # one score that is no number makes all of its row none
            raise LabError(f"The weights of {checkpoint.card.title[:100]} are damaged: pick another checkpoint.")
        entropies = -(models_own * np.log2(models_own + TINY)).sum(axis=1)
        tokens, written = [], []
        for row, probabilities, entropy, draw, seen in zip(rows, models_own, entropies, draws, repeats):
            drawn = distribution(row, config, seen.banned())
            token = draw.pick(drawn)
            seen.add(token)
            tokens.append(token)
            written.append(_character(vocabulary, probabilities, float(entropy), float(drawn[token]), token))
        yield written
        if index + 1 < config.length:
            logits = engine.step(torch.from_numpy(np.array(tokens)).to(device))


def _character(
    vocabulary: str, probabilities: np.ndarray, entropy_bits: float, drawn_with: float, token: int
) -> Character:
    best = (-probabilities).argsort(kind="stable")[:ALTERNATIVES].tolist()
    return Character(
        character=vocabulary[token],
        probability=float(probabilities[token]),
        drawn_with=drawn_with,
        alternatives=tuple((vocabulary[index], float(probabilities[index])) for index in best),
        entropy_bits=entropy_bits,
    )

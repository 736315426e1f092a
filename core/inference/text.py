"""Text in, what a language model makes of it out: how surprised it is by each character, and how good it is overall.

The counterpart of core.inference.images and core.inference.evaluation for text.
"""

from __future__ import annotations

import dataclasses
import math
import time
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.checkpoints.store import Checkpoint
from core.common.errors import LabError
from core.data.dataset import UNKNOWN
from core.data.normalize import normalize
from core.data.text import encode

if TYPE_CHECKING:
    from torch import Tensor, nn

SEGMENTS = 16
"""Parts of a long text that a recurrent model reads side by side, each after a warm-up on what comes before it."""
WARM_UP = 512
"""Characters before a part that are read, to have a state, and not scored."""
CHUNK = 256
TYPED_BREAK = "\\n"
"""How people write a line break on one line."""
LOOKALIKES = {
    character: plain
    for plain, characters in {
        "'": '‘’‚"‹›`',
        '"': "“”„'«»",
        "-": "–—−‐‑―",
        ".": "…",
        " ": "\t",
        "s": "ß",
        "a": "æ",
        "o": "œø",
        "A": "Æ",
        "O": "ŒØ",
    }.items()
    for character in characters
}
"""What a character is most like, for those that Unicode itself takes for something else."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """A text as a model reads it."""

    given: str
    """The text as it was given, normalized: one character for each of `text`."""
    text: str
    """With stand-ins for characters outside the vocabulary."""
    tokens: np.ndarray
    """(N,) int64."""
    replaced: tuple[tuple[str, str], ...]
    """Characters outside the vocabulary, each once, in order, with what stands in for it."""
    line_breaks: int = 0
    """How often a backslash and an n were read as a line break."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TextEvaluation:
    loss_nats: float
    """Mean cross-entropy of a character given those before it."""
    bits_per_character: float
    accuracy: float
    """Share of characters that were the model's first guess, 0..1."""
    characters: int
    """Scored: all but the first and those that training never saw."""
    skipped: int
    """Characters that training never saw; read as their stand-in, not scored."""
    seconds: float

    def metrics(self) -> dict[str, Any]:
        """What a card says of it."""
        return {
            "val_loss_nats": self.loss_nats,
            "val_bits_per_character": self.bits_per_character,
            "val_accuracy": self.accuracy,
            "val_characters": self.characters,
        }

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def replacement_char(character: str, vocabulary: str) -> str:
    """What a model reads in place of a character that it does not know: the same letter without its accent or in the
    other case, or a sign that looks alike; else a space, where it knows one, else its first character."""
    plain = unicodedata.normalize("NFKD", character)[:1]
    alike = LOOKALIKES.get(character, "")
    next_best = LOOKALIKES.get(alike, "")  # a curly quote is like a straight one, or else like one of the other kind
    for candidate in (plain, alike, plain.swapcase(), alike.swapcase(), next_best):
        if len(candidate) == 1 and candidate in vocabulary:
            return candidate
    return " " if " " in vocabulary else vocabulary[0]


def unk_token(vocabulary: str) -> int:
    """What is read in a text that is measured for every character that training never saw: a space, where there is one."""
    return max(0, vocabulary.find(" "))


def read(text: str, vocabulary: str) -> Reading:
    r"""The text with a stand-in for every character outside the vocabulary.

    It is normalized as the texts are that models learn from, but for what this model knows otherwise. `\n`, as people type it
    on one line, is a line break to a model that knows no backslash.
    """
    known = set(vocabulary)
    composed = normalize(text, vocabulary).text
    # A model may have learned from a text in another form, whose letters and accents are characters of their own.
    forms = (composed, unicodedata.normalize("NFD", composed)) if not known.issuperset(composed) else (composed,)
    given = min(forms, key=lambda form: sum(character not in known for character in form))
    line_breaks = given.count(TYPED_BREAK) if "\n" in known and "\\" not in known else 0
    if line_breaks:
        given = given.replace(TYPED_BREAK, "\n")
    replaced = {
        character: replacement_char(character, vocabulary)
        for character in dict.fromkeys(given)
        if character not in known
    }
    shown = "".join(replaced.get(character, character) for character in given) if replaced else given
    return Reading(
        given=given,
        text=shown,
        tokens=encode(shown, vocabulary),
        replaced=tuple(replaced.items()),
        line_breaks=line_breaks,
    )


def evaluate_text(
    checkpoint: Checkpoint, tokens: np.ndarray, on_progress: Callable[[float], None] | None = None
) -> TextEvaluation:
    """How well a language model predicts a text. tokens: (N,) int64, UNKNOWN where training never saw the character.

    on_progress gets the share done, 0..1. Raises LabError for a text without a character to score.
    """
    import torch

    started = time.perf_counter()
    vocabulary = checkpoint.card.text_data.vocabulary
    device = next(checkpoint.model.parameters()).device
    given = torch.from_numpy(np.ascontiguousarray(tokens, dtype=np.int64)).to(device)
    with torch.no_grad():
        losses, right = character_losses(checkpoint.model, given, unk_token(vocabulary), on_progress)
    scored = given[1:] != UNKNOWN
    count = int(scored.sum())
    if count == 0:
        raise LabError("There is no character to score: give at least two that the model knows.")
    loss = float(losses[scored].double().sum()) / count
    return TextEvaluation(
        loss_nats=loss,
        bits_per_character=loss / math.log(2),
        accuracy=int(right[scored].sum()) / count,
        characters=count,
        skipped=int((given == UNKNOWN).sum()),
        seconds=time.perf_counter() - started,
    )


def character_losses(
    model: nn.Module, tokens: Tensor, stand_in_token: int, on_progress: Callable[[float], None] | None = None
) -> tuple[Tensor, Tensor]:
    """Loss (N - 1,) nats and whether it was the first guess (N - 1,) of every character but the first.

    tokens: (N,) int64; UNKNOWN is read as `stand_in_token`, and its own loss is 0. A recurrent model carries its state
    (a long text is read in 16 parts side by side, each warmed up on the 512 characters before it); a Transformer reads
    windows that overlap by half, and what is scored has at least half a context before it.
    """
    import torch

    if len(tokens) < 2:
        return tokens.new_zeros(0, dtype=torch.float32), tokens.new_zeros(0, dtype=torch.bool)
    loss, right = _read_through(model, tokens, stand_in_token, on_progress, _losses)
    return loss, right


def next_logits(
    model: nn.Module, tokens: Tensor, stand_in_token: int, on_progress: Callable[[float], None] | None = None
) -> Tensor:
    """What a model expects after every character but the last: logits (N - 1, V), float16. Reads as `character_losses`."""
    import torch

    def keep(logits: Tensor, wanted: Tensor) -> tuple[Tensor, ...]:
        return (logits.to(torch.float16),)

    (found,) = _read_through(model, tokens, stand_in_token, on_progress, keep)
    return found


Score = Callable[["Tensor", "Tensor"], "tuple[Tensor, ...]"]
"""Logits (B, T, V) and the characters that follow (B, T) to tensors (B, T, ...)."""


def _read_through(
    model: nn.Module,
    tokens: Tensor,
    stand_in_token: int,
    on_progress: Callable[[float], None] | None,
    score: Score,
) -> tuple[Tensor, ...]:
    inputs = tokens.masked_fill(tokens == UNKNOWN, stand_in_token)
    step = _recurrently if getattr(model, "recurrent", False) else _in_windows
    return step(model, inputs, tokens, on_progress or (lambda share: None), score)


def _recurrently(
    model: Any, inputs: Tensor, tokens: Tensor, on_progress: Callable[[float], None], score: Score
) -> tuple[Tensor, ...]:
    import torch

    count = len(tokens) - 1
    segments = SEGMENTS if count >= SEGMENTS * 2 * WARM_UP else 1
    length = -(-count // segments)
    state = model.initial_state(segments)
    pad = segments * length - count
    given = torch.cat([inputs[:-1], inputs.new_zeros(pad)]).view(segments, length)
    wanted = torch.cat([tokens[1:], tokens.new_full((pad,), UNKNOWN)]).view(segments, length)
    if segments > 1:
        # The first part has nothing before it and keeps its zeros.
        _, warm = model(given[:-1, -WARM_UP:])
        state = [tuple(torch.cat([z[:1], w]) for z, w in zip(zs, ws)) for zs, ws in zip(state, warm)]
    parts = []
    for start in range(0, length, CHUNK):
        logits, state = model(given[:, start : start + CHUNK], state)
        parts.append(score(logits, wanted[:, start : start + CHUNK]))
        on_progress(min(1.0, (start + CHUNK) / length))
    return tuple(torch.cat(part, 1).flatten(0, 1)[:count] for part in zip(*parts, strict=True))


def _in_windows(
    model: Any, inputs: Tensor, tokens: Tensor, on_progress: Callable[[float], None], score: Score
) -> tuple[Tensor, ...]:
    import torch

    count, context = len(tokens) - 1, model.config.context
    half = max(1, context // 2)
    first = score(model(inputs[: min(context, count)][None])[0], tokens[1 : min(context, count) + 1][None])
    found = tuple(part.new_zeros(count, *part.shape[2:]) for part in first)
    for whole_text, part in zip(found, first, strict=True):
        whole_text[: part.shape[1]] = part[0]
    ends = range(context, count, half)  # what is scored next begins here
    whole = [end for end in ends if end + half <= count]
    together = max(1, SEGMENTS * CHUNK // context)
    groups = [whole[at : at + together] for at in range(0, len(whole), together)]
    groups += [[end] for end in ends[len(whole) :]]
    for done, group in enumerate(groups, 1):
        size = min(half, count - group[0])
        windows = torch.stack([inputs[end - (context - half) : end + size] for end in group])
        wanted = torch.stack([tokens[end + 1 : end + size + 1] for end in group])
        for whole_text, part in zip(found, score(model(windows)[0][:, -size:], wanted), strict=True):
            for row, end in enumerate(group):
                whole_text[end : end + size] = part[row]
        on_progress(done / len(groups))
    return found


def _losses(logits: Tensor, wanted: Tensor) -> tuple[Tensor, ...]:
    import torch.nn.functional as F

    flat = logits.float().flatten(0, 1)
    loss = F.cross_entropy(flat, wanted.flatten(), ignore_index=UNKNOWN, reduction="none").view_as(wanted)
    return loss, flat.argmax(1).view_as(wanted) == wanted

"""What a head does, measured: the share of its attention that goes where a simple rule points."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.attention.text import TextHeads, text_heads, weights_of
from core.checkpoints.store import Checkpoint
from core.models import build_model

ROLE_WINDOWS = 80
"""Windows of text on which roles are measured."""
REPEAT = 3
"""Characters that must recur before a place counts as a repeat."""
NAMED_SHARE, NAMED_FACTOR = 0.3, 2.0
"""A head is named by a role where that gets this share of its attention, and as many times what untrained heads give it."""
SPEAKER = re.compile(r"^[^\n:]{1,30}:$", re.MULTILINE)


def previous_character(text: str) -> np.ndarray:
    return np.eye(len(text), k=-1, dtype=bool)


def same_character(text: str) -> np.ndarray:
    codes = np.array([ord(character) for character in text])
    return (codes[:, None] == codes[None]) & _before(len(text))


def repeat(text: str) -> np.ndarray:
    """What followed the last three characters where they stood before: induction (Olsson et al., arXiv:2209.11895)."""
    found = np.zeros((len(text), len(text)), bool)
    places: dict[str, list[int]] = {}
    for end in range(REPEAT, len(text) + 1):
        key = text[end - REPEAT : end]
        found[end - 1, [place for place in places.get(key, ()) if place < end - 1]] = True
        places.setdefault(key, []).append(end)
    return found


def line_start(text: str) -> np.ndarray:
    """The line break before the line that a character is in, and the line's first character; itself not."""
    found = np.zeros((len(text), len(text)), bool)
    start = -1
    for place, character in enumerate(text):
        if start >= 0:
            found[place, [at for at in (start, start + 1) if at < place]] = True
        if character == "\n":
            start = place
    return found


def speaker_name(text: str) -> np.ndarray:
    """The latest line of the form `NAME:`, for characters after it."""
    found = np.zeros((len(text), len(text)), bool)
    names = [match.span() for match in SPEAKER.finditer(text)]
    for (start, end), (until, _) in zip(names, [*names, (len(text), 0)][1:], strict=True):
        found[end:until, start:end] = True
    return found


def own_place(text: str) -> np.ndarray:
    return np.eye(len(text), dtype=bool)


def first_place(text: str) -> np.ndarray:
    """The first character that the model sees, where a head can put attention that it has no use for."""
    found = np.zeros((len(text), len(text)), bool)
    found[1:, 0] = True
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Role:
    title: str
    words: str
    """What a head does that has it, after `looks`."""
    targets: Callable[[str], np.ndarray]
    """Text of T characters to (T, T) bool: where the rule points from each character."""


ROLES: dict[str, Role] = {
    "previous": Role(title="Previous character", words="at the previous character", targets=previous_character),
    "same": Role(title="Same character before", words="at the same character before", targets=same_character),
    "repeat": Role(
        title="Induction (repeats)", words="at what followed the same three characters before", targets=repeat
    ),
    "line": Role(title="Line start", words="at the start of the line", targets=line_start),
    "speaker": Role(title="Speaker name", words="at the speaker's name", targets=speaker_name),
    "self": Role(title="Itself", words="at the character itself", targets=own_place),
    "first": Role(title="First character seen", words="at the first character of the text", targets=first_place),
}


@dataclass(slots=True)
class RoleSums:
    """Sums of shares of all heads over all rows in which a rule points anywhere."""

    shares: dict[str, np.ndarray]
    """Role -> (heads,)."""
    rows: dict[str, int]

    @classmethod
    def empty(cls, heads: int) -> RoleSums:
        return cls(shares={name: np.zeros(heads) for name in ROLES}, rows=dict.fromkeys(ROLES, 0))

    def add(self, text: str, weights: np.ndarray) -> None:
        """weights: (heads, T, T) of that text."""
        found = {name: role.targets(text) for name, role in ROLES.items()}
        targets = np.stack(list(found.values())).reshape(len(found), -1).astype(weights.dtype)
        shares = weights.reshape(len(weights), -1) @ targets.T  # (heads, roles)
        for name, share in zip(found, shares.T, strict=True):
            self.shares[name] += share
            self.rows[name] += int(found[name].any(1).sum())

    def means(self) -> dict[str, np.ndarray]:
        """Role -> (heads,) mean share, 0..1; without those roles that the texts had no place for."""
        return {name: share / self.rows[name] for name, share in self.shares.items() if self.rows[name]}


def name_head(shares: dict[str, float], untrained: dict[str, float]) -> str:
    """The role of a head, or empty where none is clear: of the roles above both limits, the one with the largest share.

    shares, untrained: role -> share of attention, of this head and the mean of untrained heads.
    """
    clear = [
        name
        for name, share in shares.items()
        if share >= NAMED_SHARE and share >= NAMED_FACTOR * untrained.get(name, 0.0)
    ]
    return max(clear, key=lambda name: shares[name], default="")


def measure_roles(
    checkpoint: Checkpoint, tokens: np.ndarray, most: int = ROLE_WINDOWS
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Role -> (heads,) shares of attention, in the order of `list_heads`, over windows of a text; and the mean share of
    untrained heads."""
    import torch

    from core.models.heads import list_heads

    model: Any = checkpoint.model
    networks = (model, _untrained(checkpoint))
    device = next(model.parameters()).device
    vocabulary = checkpoint.card.text_data.vocabulary
    known = tokens[tokens >= 0]
    text = "".join(vocabulary[token] for token in known)
    sums = [RoleSums.empty(len(list_heads(model))) for _ in networks]
    with torch.no_grad():
        for part, part_tokens in windows(text, known, min(model.config.context, len(text)), most):
            given = torch.from_numpy(np.ascontiguousarray(part_tokens)).to(device)
            for network, each in zip(networks, sums, strict=True):
                each.add(part, torch.cat(weights_of(network, given)[0]).cpu().numpy())
    return _both(*sums)


def text_roles(checkpoint: Checkpoint, found: TextHeads) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """The same of one text whose attention is known."""
    untrained = text_heads(dataclasses.replace(checkpoint, model=_untrained(checkpoint)), found.text)
    sums = [RoleSums.empty(len(found.heads)) for _ in range(2)]
    for each, heads in zip(sums, (found, untrained), strict=True):
        each.add(heads.text, np.concatenate(heads.weights))
    return _both(*sums)


def role_characters(model: Any, tokens: np.ndarray, most: int = ROLE_WINDOWS) -> int:
    """How many characters of a text `measure_roles` reads."""
    known, context = int((tokens >= 0).sum()), model.config.context
    return min(known, context) * min(most, max(1, known // context))


def _untrained(checkpoint: Checkpoint) -> Any:
    from core.attribution.explainer import seeded

    card = checkpoint.card
    with seeded(0):
        fresh = build_model(card.model, card.model_config)
    return fresh.to(next(checkpoint.model.parameters()).device).eval()


def _both(trained: RoleSums, untrained: RoleSums) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    return trained.means(), {name: float(share.mean()) for name, share in untrained.means().items()}


def _before(length: int) -> np.ndarray:
    return np.tri(length, k=-1, dtype=bool)


def windows(text: str, tokens: np.ndarray, context: int, most: int) -> Sequence[tuple[str, np.ndarray]]:
    """Up to `most` whole windows of a text without overlap."""
    count = min(most, len(text) // context)
    return [(text[at : at + context], tokens[at : at + context]) for at in range(0, count * context, context)]

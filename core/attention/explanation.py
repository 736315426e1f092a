"""Is attention an explanation? The same answer under other attention, and agreement with a gradient method.

Sources: Jain & Wallace, Attention is not Explanation, arXiv:1902.10186 (both experiments); Wiegreffe & Pinter,
arXiv:1908.04626. Here it is the last character's attention that is changed: the only one the answer reads directly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from core.attention.rollout import roll_out
from core.attention.text import attend, forward_with, read_context, weights_of
from core.checkpoints.store import Checkpoint
from core.common.errors import LabError
from core.common.progress import Progress, no_progress

if TYPE_CHECKING:
    from torch import Tensor

FEWEST = 10
"""Characters below which a rank correlation says nothing."""
PERMUTATIONS = 50
SEARCH_STEPS = 150
SAME_ANSWER = 0.05
"""Total variation distance up to which an answer counts as the same (Jain & Wallace's ε for text)."""
DIFFERENT = 0.3
"""Mean Jensen-Shannon divergence, bits of at most 1, from which attention counts as another one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """How far attention on a text explains the model's next character."""

    text: str
    target: str
    """The likeliest next character."""
    probability: float
    permuted_tvd: tuple[float, ...]
    """Total variation distance of the answer, 0..1, of each random permutation of the attention in all layers."""
    permuted_same: float
    """Share of permutations with a distance of at most SAME_ANSWER."""
    adversarial_jsd: float
    """Mean divergence, bits, of the most different attention of the last layer that was found for the same answer."""
    adversarial_tvd: float
    usual: tuple[float, ...]
    """Attention of the last layer from the last character, the mean over heads; sums to 1."""
    adversarial: tuple[float, ...]
    """The most different one that was found; `usual` where none was."""
    agreement: float
    """Spearman's rank correlation of rolled-out attention with |Integrated Gradients| over the characters."""
    agreement_recent: float
    """The same of a rule that only knows how far back a character is: the control."""

    @property
    def answer(self) -> str:
        """In a sentence."""
        if self.adversarial_jsd >= DIFFERENT and self.permuted_same > 0.5:
            return "No explanation here: other attention gives the same answer."
        if self.adversarial_jsd >= DIFFERENT:
            return "Partly an explanation: shuffling it changes the answer, but the last layer can look elsewhere."
        if self.permuted_same > 0.5:
            return "Partly an explanation: the answer hardly changes when attention is shuffled."
        return "It matters here: other attention gives another answer."


def explain_attention(
    checkpoint: Checkpoint, text: str, seed: int = 0, on_progress: Progress = no_progress
) -> Explanation:
    """Raises LabError as `text_heads` does."""
    import torch
    from scipy.stats import spearmanr

    from core.language.attribution import MAX_CHARACTERS, explain_next

    kept, tokens, _ = read_context(checkpoint, text[-MAX_CHARACTERS:])
    if len(kept) < FEWEST:
        raise LabError(f"This test needs at least {FEWEST} characters: write a longer text.")
    model: Any = checkpoint.model

    def show(start: float, end: float, words: str, share: float) -> None:
        on_progress(start + (end - start) * share, words)

    with torch.no_grad():
        weights, logits = weights_of(model, tokens)
        usual = logits[0, -1].float().softmax(0)
        distances = _permute(model, tokens, usual, seed, partial(show, 0.0, 0.4, "permuting attention"))
    last = weights[-1][:, -1]
    search = partial(show, 0.4, 0.8, "searching other attention")
    jsd, tvd, other = _search(model, tokens, usual, last, seed, search)
    values = explain_next(
        checkpoint, kept, on_progress=partial(show, 0.8, 1.0, "comparing with Integrated Gradients")
    ).values
    rolled = roll_out([layer.clone() for layer in weights])[-1].numpy()
    best = int(usual.argmax())
    places = np.arange(len(kept))
    return Explanation(
        text=kept,
        target=checkpoint.card.text_data.vocabulary[best],
        probability=float(usual[best]),
        permuted_tvd=tuple(distances),
        permuted_same=float(np.mean(np.array(distances) <= SAME_ANSWER)),
        adversarial_jsd=jsd,
        adversarial_tvd=tvd,
        usual=tuple(last.mean(0).tolist()),
        adversarial=tuple(other.mean(0).tolist()),
        agreement=_number(spearmanr(rolled, np.abs(values)).statistic),
        agreement_recent=_number(spearmanr(places, np.abs(values)).statistic),
    )


def _permute(model: Any, tokens: Tensor, usual: Tensor, seed: int, on_share: Callable[[float], None]) -> list[float]:
    """Distances of answers when each head's weights are shuffled among the characters that it may look at."""
    import torch

    random = torch.Generator().manual_seed(seed)

    def shuffle(layer: int, weights: Tensor) -> Tensor:
        changed = weights.clone()
        length = weights.shape[-1]
        for head in range(weights.shape[1]):
            changed[0, head, -1] = weights[0, head, -1, torch.randperm(length, generator=random)]
        return changed

    found = []
    for done in range(PERMUTATIONS):
        on_share(done / PERMUTATIONS)
        answer = forward_with(model, tokens[None], shuffle)[0, -1].float().softmax(0)
        found.append(float((answer - usual).abs().sum()) / 2)
    return found


def _search(
    model: Any, tokens: Tensor, usual: Tensor, weights: Tensor, seed: int, on_share: Callable[[float], None]
) -> tuple[float, float, Tensor]:
    """The most different attention (heads, T) of the last layer and character that keeps the answer: its divergence in
    bits, the mean over heads, the distance of the answer, and itself. 0, 0 and what was given where none was found."""
    import torch

    with torch.no_grad():
        x = model.enter(tokens[None])
        for block in model.blocks[:-1]:
            x, _ = block(x, None)
        block = model.blocks[-1]
        inner = block.norm1(x)
    random = torch.Generator().manual_seed(seed)
    scores = torch.randn(weights.shape, generator=random).requires_grad_()
    optimizer = torch.optim.Adam([scores], lr=0.1)
    best = (0.0, 0.0, weights)
    for done in range(SEARCH_STEPS):
        on_share(done / SEARCH_STEPS)
        with torch.enable_grad():
            other = scores.softmax(-1)
            added = attend(block.attention, inner, other[None, :, None])  # (1, 1, width)
            answer = model.leave(block.feed_forward(x[:, -1:] + added))[0, -1].softmax(0)
            tvd = (answer - usual).abs().sum() / 2
            jsd = _divergence(weights, other).mean()
            loss = 20 * (tvd - SAME_ANSWER / 2).clamp(min=0) - jsd
        reached = (float(jsd.detach()), float(tvd.detach()), other.detach())
        if reached[1] <= SAME_ANSWER and reached[0] > best[0]:
            best = reached
        optimizer.zero_grad()
        (scores.grad,) = torch.autograd.grad(loss, [scores])
        optimizer.step()
    return best


def _divergence(first: Tensor, second: Tensor) -> Tensor:
    """Jensen-Shannon divergence of rows, bits: (H, T) each to (H,)."""
    middle = (first + second) / 2

    def relative(rows: Tensor) -> Tensor:
        return (rows * (rows.clamp(min=1e-12) / middle.clamp(min=1e-12)).log()).sum(-1)

    return (relative(first) + relative(second)) / 2 / math.log(2)


def _number(value: Any) -> float:
    return float(value) if math.isfinite(value) else 0.0

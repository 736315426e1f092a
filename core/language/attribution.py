"""Which characters of a text drove the next one: a value for each character, and a check that they matter.

What is explained is log2 of the next character's probability. Its logit would not do: a character that raises every
logit alike changes nothing in what is written. One bit more is twice as likely.

Sources: Integrated Gradients, Sundararajan et al., arXiv:1703.01365; occlusion, Zeiler & Fergus, arXiv:1311.2901; both
through Captum.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from core.attribution.method import Progress, no_progress
from core.checkpoints.store import Checkpoint
from core.common.errors import LabError
from core.data.text import encode
from core.inference.text import read, unk_token
from core.models import clone_model

if TYPE_CHECKING:
    import torch
    from torch import Tensor

METHODS = {"layer_integrated_gradients": "Layer Integrated Gradients", "occlusion": "Occlusion"}
MAX_CHARACTERS = 300
"""Of a longer text its end is read: occlusion asks the network once for each character, so its cost grows with the square."""
ALTERNATIVES = 5
DRAWS = 20
"""Random choices of characters that the largest values have to beat."""
COUNTS = (1, 3, 10)
AT_ONCE = 4096
"""Characters in one pass: bounds memory to some 100 MB for a 2x512 LSTM with gradients."""
CLOSE = 0.05
"""Falls that differ by less than this share of the probability count as equal."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """A text before its next character, as a model reads it."""

    text: str
    """T characters: the last 300, with stand-ins for those that the model does not know."""
    replaced: tuple[tuple[str, str], ...]
    """Characters outside the vocabulary, each once, with what stands in for it."""
    line_breaks: int
    """How often a backslash and an n were read as a line break."""
    dropped: int
    """Characters before `text` that were not read, because the prompt is longer."""
    unseen: int
    """First characters of `text` that are beyond a Transformer's context; 0 for a recurrent network."""
    alternatives: tuple[tuple[str, float], ...]
    """The likeliest next characters with their probabilities, likeliest first."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TextAttribution:
    """How much each character of a text of T characters raised or lowered the probability of one next character."""

    prompt: Prompt
    target: str
    """The next character that is explained."""
    probability: float
    """The model's, of `target`, 0..1."""
    values: np.ndarray
    """(T,) float32, bits: above 0 for a character that makes `target` likelier. 0 where the model does not see it."""
    baseline: str
    """The character that stands for nothing."""
    method: str
    rise: float
    """Bits that the text makes `target` likelier than `baseline` repeated would: what Integrated Gradients sum to."""
    gap: float | None
    """Completeness gap of Integrated Gradients: |sum of values - rise| as a share of |rise|; None for occlusion."""
    milliseconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Replacement:
    """The probability, 0..1, that is left when `count` characters are replaced by the one that stands for nothing."""

    count: int
    largest: float
    """Those with the largest values."""
    random: float
    """As many others at random, not all of them the same: mean of 20 draws."""
    last: float
    """The last ones: what somebody would take who never looked at the network."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """Whether the characters with the largest values are those that the network uses."""

    probability: float
    """With nothing replaced."""
    rows: tuple[Replacement, ...]
    """Fewest first; empty where there are not two characters to choose from."""
    beaten: int
    """Of the 20 random orders, those that cost less probability than the largest values, over all rows."""
    same: bool
    """Whether the largest values are the last characters in every row."""

    @property
    def verdict(self) -> str:
        """One sentence."""
        if not self.rows:
            return "The text is too short to replace some of its characters and keep others: give a longer one."
        mean = np.mean([[row.largest, row.last] for row in self.rows], 0)
        ahead = float(mean[1] - mean[0]) / max(self.probability, 1e-12)
        if self.beaten < 0.95 * DRAWS:
            return (
                f"Not convincing: replacing the characters with the largest values costs more than {self.beaten} of {DRAWS} "
                "random choices do, and 19 are asked for."
            )
        if self.same:
            return "The last characters matter most, as expected."
        if abs(ahead) < CLOSE:
            return "It beats random characters, but replacing just the last ones costs as much probability."
        if ahead < 0:
            return "It beats random characters, but replacing just the last ones costs more probability."
        return "It holds: replacing the largest values costs more probability than random characters, or the last ones, do."


def next_characters(checkpoint: Checkpoint, text: str) -> Prompt:
    """What a model expects after a text. Raises LabError for an empty text and for what is no language model."""
    return _read_prompt(checkpoint, text)[0]


def explain_next(
    checkpoint: Checkpoint,
    text: str,
    *,
    target: str | None = None,
    method: str = "layer_integrated_gradients",
    steps: int = 50,
    window: int = 1,
    baseline: str | None = None,
    on_progress: Progress = no_progress,
) -> TextAttribution:
    """Which characters of a text make the network expect `target` next; None: the character that it expects most.

    `layer_integrated_gradients` follows the embedding of every character, at `steps` points, on the straight way from that
    of `baseline`, and sums what it finds along the embedding. `occlusion` replaces `window` characters by `baseline` and
    takes the fall; with a wider window a character gets the mean over the windows that it is in.

    baseline: None: a space, where the model knows one. Where the text has that character itself, Integrated Gradients have
    nothing to follow and give 0. A Transformer keeps its positions. Of an int8 checkpoint the float twin is asked.

    Raises LabError as `next_characters`, and for a method, character or setting that there is not.
    """
    if method not in METHODS:
        raise LabError(f"There is no method {method[:40]!r} for text: choose one of {', '.join(METHODS)}.")
    _whole("steps", steps, 2, 2000)
    _whole("window", window, 1, 50)
    import torch

    prompt, network, tokens = _read_prompt(checkpoint, text)
    vocabulary = checkpoint.card.text_data.vocabulary
    wanted = _index(prompt.alternatives[0][0] if target is None else target, vocabulary)
    nothing = unk_token(vocabulary) if baseline is None else _index(baseline, vocabulary)
    blank = torch.full_like(tokens, nothing)
    if torch.equal(tokens, blank):
        raise LabError(
            f"What the model sees of the text is only {vocabulary[nothing]!r}, which stands for nothing: choose another "
            "stand-in, or give another text."
        )
    started = time.perf_counter()
    # cuDNN has no backward pass for a recurrent layer outside training.
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        if method == "occlusion":
            seen = _occlusion(network, tokens, blank, wanted, min(window, tokens.shape[1]), on_progress)
        else:
            seen = _integrated(network, tokens, blank, wanted, steps, on_progress)
    milliseconds = (time.perf_counter() - started) * 1000
    with torch.no_grad():
        bits, of_blank = network.bits(torch.cat([tokens, blank]))[:, wanted].tolist()
    values = np.zeros(len(prompt.text), dtype=np.float32)
    values[prompt.unseen :] = seen.detach().float().cpu().numpy()
    if not np.isfinite(values).all():
        raise LabError(f"{METHODS[method]} overflows on this network: choose the other method.")
    rise = bits - of_blank
    gap = abs(float(values.sum(dtype=np.float64)) - rise) / max(abs(rise), 1e-6)
    return TextAttribution(
        prompt=prompt,
        target=vocabulary[wanted],
        probability=2.0**bits,
        values=values,
        baseline=vocabulary[nothing],
        method=method,
        rise=rise,
        gap=None if method == "occlusion" else gap,
        milliseconds=milliseconds,
    )


def evidence(checkpoint: Checkpoint, found: TextAttribution, *, seed: int = 0) -> Evidence:
    """Replace the k characters with the largest values by the stand-in, and beside them k at random and the last k.

    k is 1, 3 and 10, up to half of the characters that the model sees and that are not the stand-in already: those alone
    are replaced. found: of the same checkpoint.
    """
    import torch

    vocabulary = checkpoint.card.text_data.vocabulary
    text = found.prompt.text
    places = np.array(
        [place for place in range(found.prompt.unseen, len(text)) if text[place] != found.baseline], dtype=np.int64
    )
    counts = [count for count in COUNTS if 2 * count <= len(places)]
    if not counts:
        return Evidence(probability=found.probability, rows=(), beaten=0, same=False)
    network = _Network(checkpoint)
    rng = np.random.default_rng(seed)
    orders = [places[(-found.values[places]).argsort(kind="stable")], places[::-1]]
    orders += [_other_order(orders[0], counts[-1], rng) for _ in range(DRAWS)]
    tokens = encode(text, vocabulary)
    copies = np.repeat(tokens[None], len(counts) * len(orders), 0)
    for row, (count, order) in enumerate((count, order) for count in counts for order in orders):
        copies[row, order[:count]] = _index(found.baseline, vocabulary)
    with torch.no_grad():
        given = torch.from_numpy(copies[:, found.prompt.unseen :]).to(network.device)
        parts = given.split(network.rows(given.shape[1]))
        bits = torch.cat([network.bits(part)[:, _index(found.target, vocabulary)] for part in parts])
    left = np.exp2(bits.cpu().numpy().astype(np.float64)).reshape(len(counts), len(orders))
    mean = left.mean(0)
    return Evidence(
        probability=found.probability,
        rows=tuple(
            Replacement(count=count, largest=float(row[0]), last=float(row[1]), random=float(row[2:].mean()))
            for count, row in zip(counts, left, strict=True)
        ),
        beaten=int((mean[0] < mean[2:]).sum()),
        same=all(set(orders[0][:count]) == set(orders[1][:count]) for count in counts),
    )


def _other_order(order: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """The same places at random, their first `count` not those of `order`: a choice cannot be better than itself, and
    random draws from a short text would often repeat it."""
    while True:
        drawn = rng.permutation(order)
        if set(drawn[:count]) != set(order[:count]):
            return drawn


class _Network:
    """A copy of a language model, which Captum may hook, asked for what comes after a text."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.model = clone_model(checkpoint.model)
        self.device: torch.device = self.model.embed.weight.device
        self.context: int = MAX_CHARACTERS if self.model.recurrent else self.model.config.context

    def bits(self, tokens: Tensor) -> Tensor:
        """log2 of the probabilities (N, V) of the character after each text, tokens (N, T)."""
        logits = self.model(tokens)[0][:, -1]
        return logits.float().log_softmax(1) / math.log(2)

    def with_progress(self, total: int, on_progress: Progress) -> Callable[[Tensor], Tensor]:
        """`bits`, telling after each call how much of `total` texts is done."""
        done = 0

        def forward(tokens: Tensor) -> Tensor:
            nonlocal done
            bits = self.bits(tokens)
            done += len(tokens)
            on_progress(min(1.0, done / total))
            return bits

        return forward

    @staticmethod
    def rows(length: int) -> int:
        """Texts of that length in one pass."""
        return max(1, AT_ONCE // length)


def _read_prompt(checkpoint: Checkpoint, text: str) -> tuple[Prompt, _Network, Tensor]:
    """The prompt, the network and the characters that it sees, (1, S) int64."""
    import torch

    vocabulary = checkpoint.card.text_data.vocabulary
    if not text:
        raise LabError("There is no text to explain: write a few characters.")
    reading = read(text[-MAX_CHARACTERS:], vocabulary)
    if not reading.text:
        raise LabError("There is nothing that can be seen in the text: write a few characters.")
    network = _Network(checkpoint)
    unseen = max(0, len(reading.text) - network.context)
    tokens = torch.from_numpy(reading.tokens[None, unseen:]).to(network.device)
    with torch.no_grad():
        probabilities = network.bits(tokens)[0].exp2().cpu().numpy()
    if not np.isfinite(probabilities).all():
        raise LabError(f"The weights of {checkpoint.card.title[:100]} are damaged: pick another checkpoint.")
    best = (-probabilities).argsort(kind="stable")[:ALTERNATIVES].tolist()
    prompt = Prompt(
        text=reading.text,
        replaced=reading.replaced,
        line_breaks=reading.line_breaks,
        dropped=max(0, len(text) - MAX_CHARACTERS),
        unseen=unseen,
        alternatives=tuple((vocabulary[index], float(probabilities[index])) for index in best),
    )
    return prompt, network, tokens


def _integrated(
    network: _Network, tokens: Tensor, blank: Tensor, target: int, steps: int, on_progress: Progress
) -> Tensor:
    """(S,) bits."""
    from captum.attr import LayerIntegratedGradients

    forward = network.with_progress(steps + 2, on_progress)  # two more for the ends of the way
    found = LayerIntegratedGradients(forward, network.model.embed).attribute(
        tokens,
        baselines=blank,
        target=target,
        n_steps=steps,
        internal_batch_size=network.rows(tokens.shape[1]),
    )
    return found.sum(-1)[0]


def _occlusion(
    network: _Network, tokens: Tensor, blank: Tensor, target: int, window: int, on_progress: Progress
) -> Tensor:
    """(S,) bits."""
    from captum.attr import Occlusion

    forward = network.with_progress(tokens.shape[1] - window + 2, on_progress)
    return Occlusion(forward).attribute(
        tokens,
        sliding_window_shapes=(window,),
        baselines=blank,
        target=target,
        perturbations_per_eval=network.rows(tokens.shape[1]),
    )[0]


def _index(character: str, vocabulary: str) -> int:
    if len(character) != 1 or character not in vocabulary:
        raise LabError(f"The model knows no character {character[:20]!r}: choose one that its training text has.")
    return vocabulary.index(character)


def _whole(name: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise LabError(f"{name}={repr(value)[:60]} is not valid: it must be a whole number from {low} to {high:,}.")

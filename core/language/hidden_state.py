"""Inside a recurrent language model: what its units hold while it reads, and how far back its gradient reaches.

Units that follow quotes or the length of a line: Karpathy, Johnson & Fei-Fei, arXiv:1506.02078. Gradients that vanish:
Bengio, Simard & Frasconi 1994; Pascanu, Mikolov & Bengio, arXiv:1211.5063.
"""

from __future__ import annotations

import copy
import dataclasses
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from core.checkpoints.store import Card, Checkpoint
from core.common.errors import LabError
from core.inference.text import Reading, read
from core.models import MODELS, build_model

if TYPE_CHECKING:
    from torch import Tensor

    from core.models.char_rnn import CharRNN

MAX_UNTRAINED = 50_000_000
CELLS = {"rnn": "char_rnn", "gru": "char_gru", "lstm": "char_lstm"}
"""Kinds of cell, and the architectures made of them."""
MAX_CHARACTERS = 2000
LAGS = 100
"""Characters that gradients are followed back."""
WINDOWS = 16
"""Ends that gradients start from, spread evenly over the text."""
_NAME = re.compile(r"[A-Z][\w'’.-]*(?: (?:of|the|to|and|de|[A-Z0-9])[\w'’.-]*){0,4}:")
_ELISIONS = re.compile(
    r"(?:t|tis|twas|twere|twill|twould|twixt|tween|em|er|gainst|gins|mongst|scape|larum|cause)\b", re.I
)
"""Words that Shakespeare begins with an apostrophe: 'tis opens no quote."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class HiddenStates:
    """What every unit of a network holds after each character of a text of T characters."""

    text: str
    """As the model read it, with stand-ins."""
    replaced: tuple[tuple[str, str], ...]
    """Characters outside the vocabulary, each once, with what stood in for it."""
    states: np.ndarray
    """(layers, T, width) float32: h, the output of each layer, from -1 to 1."""
    cells: np.ndarray | None
    """(layers, T, width) float32: c, the memory behind h, without bounds. LSTM only, else None."""

    def of(self, symbol: str) -> np.ndarray:
        """`h` or, where there is one, `c`: (layers, T, width)."""
        return self.cells if symbol == "c" and self.cells is not None else self.states


def require_recurrent(card: Card) -> None:
    """Raises LabError where a card is no recurrent language model's. Needs no torch."""
    if card.task != "text" or card.model not in CELLS.values():
        kind = MODELS[card.model].title if card.model in MODELS else card.model[:60]
        raise LabError(
            f"{card.title[:100]} is a {kind} and carries no hidden state from character to character: choose an RNN, a GRU "
            "or an LSTM."
        )


def hidden_states(checkpoint: Checkpoint, text: str) -> HiddenStates:
    """Read a text from an empty state, dropout off. Raises LabError for a model that is not recurrent, an empty text or
    one of more than 2,000 characters."""
    reading = _read(checkpoint, text)
    states, cells = _states(checkpoint, reading)
    return HiddenStates(
        text=reading.text,
        replaced=reading.replaced,
        states=np.stack([h.float().cpu().numpy() for h in states]),
        cells=np.stack([c.float().cpu().numpy() for c in cells]) if cells else None,
    )


def text_features(text: str) -> dict[str, np.ndarray]:
    """What a unit might keep track of: for each a value 0..1 at every character, (T,) float32.

    `quotes`: inside "…" or '…', from the opening mark to before the closing one, within a paragraph. `line`: characters
    read on this line, 1 at the end of the longest. `speaker`: in a name that has a line to itself, with a colon at its end.
    `word`: in a word, not after it. `capitals`: a capital letter.
    """
    return {
        "quotes": _quotes(text),
        "line": _line(text),
        "speaker": _speaker(text),
        "word": np.array([_in_word(text, index) for index in range(len(text))], dtype=np.float32),
        "capitals": np.array([character.isupper() for character in text], dtype=np.float32),
    }


def correlations(values: np.ndarray, feature: np.ndarray) -> np.ndarray:
    """Pearson's r of each unit with a feature, -1..1; 0 where either never changes. values: (T, n); feature: (T,)."""
    centred = values.astype(np.float64) - values.mean(0, dtype=np.float64)
    wanted = feature.astype(np.float64) - feature.mean(dtype=np.float64)
    scale = np.linalg.norm(centred, axis=0) * np.linalg.norm(wanted)
    return np.divide(wanted @ centred, scale, out=np.zeros(values.shape[1]), where=scale > 1e-9)


def ordering(values: np.ndarray, by: str, text: str) -> np.ndarray:
    """Numbers of units from 0, (n,) int64: most variable first, or those first that correlate most, with either sign.

    values: (T, n) of one layer; by: `variance` or a name in `text_features`. Raises LabError for any other.
    """
    if by == "variance":
        return np.argsort(-values.var(0, dtype=np.float64), kind="stable")
    known = text_features(text)
    if by not in known:
        raise LabError(f"Units cannot be sorted by {by[:60]!r}: choose variance, {', '.join(known)}.")
    return np.argsort(-np.abs(correlations(values, known[by])), kind="stable")


@dataclass(frozen=True, kw_only=True, slots=True)
class Follower:
    """The unit that follows a tracker best."""

    tracker: str
    unit: int
    """Its number in the layer, from 0."""
    r: float
    """Its correlation with the tracker, -1..1."""
    untrained_baseline: float
    """|r| of the best unit of an untrained network: so well one of many units follows by chance, or for being near."""


def best_units(values: np.ndarray, untrained_values: np.ndarray, text: str) -> list[Follower]:
    """The best unit for each tracker that changes within the text. values: (T, n); untrained_values: (T, m)."""
    found = []
    for name, feature in text_features(text).items():
        if np.ptp(feature) > 0:
            r, untrained_baseline = correlations(values, feature), correlations(untrained_values, feature)
            unit = int(np.abs(r).argmax())
            found.append(
                Follower(
                    tracker=name,
                    unit=unit,
                    r=float(r[unit]),
                    untrained_baseline=float(np.abs(untrained_baseline).max()),
                )
            )
    return found


def gradient_norms(checkpoint: Checkpoint, text: str, *, lags: int = LAGS, windows: int = WINDOWS) -> np.ndarray:
    """How much of the gradient is left k characters back: (K + 1,) float64, 1 at lag 0; K is `lags`, less in a short text.

    For up to `windows` ends T, spread over the text, the loss of predicting character T + 1 is followed back. At lag 0 it
    is the norm of its gradient by what the head reads, the last layer's h. At lag k it is that by all that the network
    carries from character T - k to the next: h of every layer, and c beside it in an LSTM, each as an input of the step
    that follows (so c not also by way of its own h). That is the product of the k Jacobians of the whole state, the same
    for every kind of cell. c alone would leave out the LSTM's short paths, and h alone the path that it was made for.
    c has another scale, so what compares between kinds of cell is how a curve falls, not a constant factor.
    Norms are averaged over the ends, then divided by the average at lag 0.

    Raises LabError as hidden_states does, and for fewer than 3 characters.
    """
    import torch

    reading = _read(checkpoint, text)
    count = len(reading.tokens)
    if count < 3:
        raise LabError("The text is too short to follow gradients through: give at least 3 characters.")
    lags = min(lags, count - 2)
    model = _reader(checkpoint)
    tokens = torch.from_numpy(reading.tokens).to(model.embed.weight.device)
    ends = torch.linspace(lags, count - 2, min(windows, count - 1 - lags)).round().long().to(tokens.device)  # (B,)
    states, cells = _states(checkpoint, reading)
    first = [tuple(part[ends - lags] for part in parts) for parts in zip(states, cells or states)]  # (B, width) each
    if not cells:
        first = [parts[:1] for parts in first]
    norms = _norms(model, first, tokens[ends[:, None] + torch.arange(1 - lags, 2, device=tokens.device)])  # (K + 1, B)
    mean = norms.mean(1)
    return np.divide(mean, mean[0], out=np.zeros_like(mean), where=mean[0] > 0)


def untrained(cell: str, like: Checkpoint, seed: int = 0) -> Checkpoint:
    """A fresh network of the same shape and vocabulary, with another kind of cell or the same.

    cell: `rnn`, `gru` or `lstm`. Raises LabError for any other, and where `like` is not recurrent.
    """
    import torch

    require_recurrent(like.card)
    if cell not in CELLS:
        raise LabError(f"There is no cell named {cell[:40]!r}: choose one of {', '.join(CELLS)}.")
    with torch.device("meta"):  # an LSTM like a wide RNN has four times its weights: counted before they take memory
        size = sum(weights.numel() for weights in build_model(CELLS[cell], like.card.model_config).parameters())
    if size > MAX_UNTRAINED:
        raise LabError(
            f"An untrained network like {like.card.title[:100]} would have {size:,} weights and at most {MAX_UNTRAINED:,} are "
            "made here: compare with a trained one."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_model(CELLS[cell], like.card.model_config)
    card = dataclasses.replace(
        like.card,
        title=f"Untrained {MODELS[CELLS[cell]].title}",
        model=CELLS[cell],
        metrics={},
        recipe={},
        seed=seed,
        step=0,
        epoch=0.0,
        weights_sha256="",
        parameters=sum(parameter.numel() for parameter in model.parameters()),
    )
    device = next(like.model.parameters()).device
    return Checkpoint(f"untrained {cell}", card, model.eval().requires_grad_(False).to(device))


def _read(checkpoint: Checkpoint, text: str) -> Reading:
    require_recurrent(checkpoint.card)
    if not text:
        raise LabError("There is no text to read: write or paste a few lines.")
    if len(text) > MAX_CHARACTERS:
        raise LabError(f"The text has {len(text):,} characters and at most {MAX_CHARACTERS:,} are read: shorten it.")
    return read(text, checkpoint.card.text_data.vocabulary)


def _reader(checkpoint: Checkpoint) -> CharRNN:
    """The model in eval mode; a copy where it is in another."""
    from core.models.char_rnn import CharRNN

    model = checkpoint.model
    assert isinstance(model, CharRNN)
    return copy.deepcopy(model).eval() if model.training else model


def _weights(model: CharRNN) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Per layer, without gradients: W_ih (gates x width, inputs), b_ih, W_hh (gates x width, width), b_hh."""
    names = ("weight_ih_l0", "bias_ih_l0", "weight_hh_l0", "bias_hh_l0")
    return [tuple(layer.get_parameter(name).detach() for name in names) for layer in model.layers]  # type: ignore[misc]


def _states(checkpoint: Checkpoint, reading: Reading) -> tuple[list[Tensor], list[Tensor]]:
    """h and, for an LSTM, c of each layer after each character: (T, width) each, in the model's precision."""
    import torch
    import torch.nn.functional as F

    model = _reader(checkpoint)
    with torch.no_grad():
        tokens = torch.from_numpy(reading.tokens).to(model.embed.weight.device)
        states = [h[0] for h in model.hidden(tokens[None])[0]]
        if model.cell != "lstm":
            return states, []
        cells, x = [], model.embed(tokens)  # (T, embedding)
        for h, (w_ih, b_ih, w_hh, b_hh) in zip(states, _weights(model)):
            # nn.LSTM returns the last c only. With every h at hand all gates are one product, and only c needs a loop.
            before = torch.cat([torch.zeros_like(h[:1]), h[:-1]])
            i, f, g, _ = (F.linear(x, w_ih, b_ih) + F.linear(before, w_hh, b_hh)).chunk(4, 1)
            new, kept = i.sigmoid() * g.tanh(), f.sigmoid()  # (T, width) each
            c, found = torch.zeros_like(h[0]), []
            for gain, keep in zip(new, kept):
                c = keep * c + gain
                found.append(c)
            cells.append(torch.stack(found))
            x = h
    return states, cells


def _norms(model: CharRNN, first: list[tuple[Tensor, ...]], tokens: Tensor) -> np.ndarray:
    """(K + 1, B) norms of the gradients at lags 0 to K. first: the states K characters back; tokens: (B, K + 1), those
    read from there on and then the one to predict."""
    import torch
    import torch.nn.functional as F

    weights = _weights(model)
    with torch.enable_grad():
        state = [tuple(part.detach().requires_grad_() for part in parts) for parts in first]
        carried = [state]
        for token in tokens[:, :-1].T:
            x, after = model.embed.weight.detach()[token], []
            for parts, (w_ih, b_ih, w_hh, b_hh) in zip(state, weights):
                parts = _step(model.cell, F.linear(x, w_ih, b_ih), F.linear(parts[0], w_hh, b_hh), parts)
                x = parts[0]
                # A view is a separate node: its gradient is that of the next step alone.
                after.append(tuple(part.view_as(part) for part in parts))
            state = after
            carried.append(state)
        loss = F.cross_entropy(model.logits(state[-1][0]), tokens[:, -1], reduction="sum")
    steps = [[part for parts in state for part in parts] for state in carried[:-1]]
    steps.append([state[-1][0]])
    gradients = iter(torch.autograd.grad(loss, [part for parts in steps for part in parts]))
    squares = [torch.stack([next(gradients).double().square().sum(1) for _ in parts]) for parts in steps]
    return torch.stack([layers.sum(0).sqrt() for layers in reversed(squares)]).cpu().numpy()


def _step(cell: str, given: Tensor, recurrent: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """One character, with the equations of PyTorch's own cells. given, recurrent: (B, gates x width) from input and h."""
    if cell == "rnn":
        return ((given + recurrent).tanh(),)
    if cell == "gru":
        (r, z, n), (r_h, z_h, n_h) = given.chunk(3, 1), recurrent.chunk(3, 1)
        keep = (z + z_h).sigmoid()
        return (keep * state[0] + (1 - keep) * (n + (r + r_h).sigmoid() * n_h).tanh(),)
    i, f, g, o = (given + recurrent).chunk(4, 1)
    c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def _in_word(text: str, index: int) -> bool:
    if text[index].isalnum():
        return True
    # An apostrophe or a hyphen between letters belongs to the word.
    return (
        text[index] in "'’-" and 0 < index < len(text) - 1 and text[index - 1].isalnum() and text[index + 1].isalnum()
    )


def _line(text: str) -> np.ndarray:
    place, found = 0, []
    for character in text:
        place = 0 if character == "\n" else place + 1
        found.append(place)
    values = np.array(found, dtype=np.float32)
    return values / max(1.0, values.max(initial=0))


def _speaker(text: str) -> np.ndarray:
    values, start = np.zeros(len(text), dtype=np.float32), 0
    for line in text.split("\n"):
        if _NAME.fullmatch(line):
            values[start : start + len(line) - 1] = 1
        start += len(line) + 1
    return values


def _quotes(text: str) -> np.ndarray:
    """Apostrophes make this a guess: a single mark opens before a letter and after none, and closes after a letter or a
    stop and before neither letter nor digit; one that never closes in its paragraph opened nothing."""
    values, opened, kind = np.zeros(len(text), dtype=np.float32), -1, ""
    for index, character in enumerate(text):
        before, after = text[index - 1 : index], text[index + 1 : index + 2]
        if character == "\n" and after == "\n":
            opened = -1
        elif character in '"“”':
            if opened >= 0 and kind == '"':
                values[opened:index] = 1
                opened = -1
            elif character != "”":
                opened, kind = index, '"'
        elif character in "'‘’" and not (opened >= 0 and kind == '"'):
            if character != "’" and after.isalnum() and not before.isalnum():
                if not _ELISIONS.match(text, index + 1):
                    opened, kind = index, "'"
            elif opened >= 0 and not after.isalnum() and before.strip():
                values[opened:index] = 1
                opened = -1
    return values

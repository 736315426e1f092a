"""Gradient accumulation: one batch against k micro-batches, normalised rightly and not.

The loss of a batch of texts is a mean over its characters. Micro-batches of texts hold different numbers of them, so the mean of
their means is another loss (the error behind transformers issue 34191). Batch norm computes its statistics within a micro-batch,
so there no normalisation gives the gradient of the whole batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.backprop.results import MEANS, ONE, RIGHT, Accumulation, Comparison, Training
from core.common.progress import Progress
from core.models.char_rnn import CharRNN, CharRNNConfig
from core.models.simple_cnn import SimpleCNN, SimpleCNNConfig

TEXTS, IMAGES = 32, 64
"""In a batch."""
MICRO = (2, 4, 8, 16, 32)
"""Numbers of micro-batches that are compared."""
LONGEST = 100
"""Characters of a text that are read."""
STEPS, SEEDS = 200, 5
RATE = 0.01
HELD_OUT = 256
PADDING = -100
Batch = tuple[Tensor, Tensor]


def speeches(text: str) -> list[str]:
    """The paragraphs of a text, cut at LONGEST characters; those of one line are left out."""
    return [part[: LONGEST + 1] for part in text.split("\n\n") if "\n" in part.strip()]


def encode_texts(texts: Sequence[str], vocabulary: str) -> Batch:
    """Characters and the ones that follow, (N, T) int64 each; PADDING where a text is over."""
    width = max(map(len, texts)) - 1
    inputs, targets = np.zeros((len(texts), width), np.int64), np.full((len(texts), width), PADDING, np.int64)
    place = {character: number for number, character in enumerate(vocabulary)}
    for row, text in enumerate(texts):
        codes = [place[character] for character in text]
        inputs[row, : len(codes) - 1], targets[row, : len(codes) - 1] = codes[:-1], codes[1:]
    return torch.from_numpy(inputs), torch.from_numpy(targets)


def text_model(vocabulary: int, seed: int) -> CharRNN:
    torch.manual_seed(seed)
    config = CharRNNConfig(vocabulary=vocabulary, embedding=32, width=64, layers=1, dropout=0.0)
    return CharRNN(config, cell="gru")


def mean_of_means(model: nn.Module, batch: Batch, micro_batches: int) -> Tensor:
    """The loss whose gradient MEANS accumulates, in one pass: every character weighs as its micro-batch makes it weigh."""
    inputs, targets = batch
    logits, _ = model(inputs)
    losses = F.cross_entropy(logits.transpose(1, 2), targets, ignore_index=PADDING, reduction="none")  # (N, T)
    counts = (targets != PADDING).sum(1).to(losses.dtype)
    weights = torch.cat([1 / part.sum().expand(len(part)) / micro_batches for part in counts.chunk(micro_batches)])
    return (losses.sum(1) * weights).sum()


def text_loss(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """Summed cross-entropy, nats, and the number of characters."""
    inputs, targets = batch
    longest = int((targets != PADDING).sum(1).max())
    logits, _ = model(inputs[:, :longest])
    loss = F.cross_entropy(logits.flatten(0, 1), targets[:, :longest].flatten(), ignore_index=PADDING, reduction="sum")
    return loss, int((targets != PADDING).sum())


def image_loss(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """Summed cross-entropy, nats, and the number of images."""
    return F.cross_entropy(model(batch[0]), batch[1], reduction="sum"), len(batch[0])


Loss = Callable[[nn.Module, Batch], tuple[Tensor, int]]


def accumulate(model: nn.Module, batch: Batch, micro_batches: int, loss: Loss, how: str) -> Tensor:
    """The gradient of all parameters as one vector, summed over micro-batches; it stands in `.grad` as well.

    how: RIGHT divides each sum by the count of the whole batch; MEANS averages the means of the micro-batches.
    """
    model.zero_grad()
    whole = _count(batch)
    for part in _split(batch, micro_batches):
        total, count = loss(model, part)
        (total / whole if how == RIGHT else total / count / micro_batches).backward()
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None])


def saved_bytes(model: nn.Module, batch: Batch, loss: Loss) -> int:
    """Memory that one forward pass keeps for its backward pass, without the parameters."""
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        total, _ = loss(model, batch)
        total.backward()
    return sum(kept.values())


def compare(model: nn.Module, batch: Batch, loss: Loss, what: str, micro: Sequence[int] = MICRO) -> list[Comparison]:
    """For each number of micro-batches how far the two normalisations are from the gradient of the whole batch."""
    model.train()
    whole, full_bytes = accumulate(model, batch, 1, loss, RIGHT).double(), saved_bytes(model, batch, loss)
    found = []
    for k in micro:
        errors = {
            how: float((accumulate(model, batch, k, loss, how).double() - whole).norm() / whole.norm())
            for how in (RIGHT, MEANS)
        }
        found.append(
            Comparison(
                what=what,
                micro_batches=k,
                right=errors[RIGHT],
                means=errors[MEANS],
                memory=max(saved_bytes(model, part, loss) for part in _split(batch, k)) / full_bytes,
                memory_bytes=full_bytes,
            )
        )
    return found


def train(texts: Sequence[str], vocabulary: str, seed: int, how: str, micro_batches: int, steps: int = STEPS) -> float:
    """Bits per character on held-out texts after so many steps of Adam."""
    model = text_model(len(vocabulary), seed).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    for batch in _batches(texts[HELD_OUT:], vocabulary, seed, steps):
        if how == MEANS:
            model.zero_grad()
            mean_of_means(model, batch, micro_batches).backward()
        else:
            accumulate(model, batch, micro_batches, text_loss, RIGHT)
        optimizer.step()
    with torch.inference_mode():
        total, count = text_loss(model, encode_texts(texts[:HELD_OUT], vocabulary))
    return float(total) / count / math.log(2)


def measure(
    text: str,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    seeds: int = SEEDS,
    steps: int = STEPS,
    on_progress: Progress = lambda fraction, words: None,
) -> Accumulation:
    """All of it. text: with paragraphs. images: (IMAGES, 3, H, W) float32, normalised; labels: (IMAGES,). seeds: of the
    trainings; none of those for 0."""
    texts, vocabulary = speeches(text), "".join(sorted(set(text)))
    order = np.random.default_rng(0).permutation(len(texts))
    texts = [texts[place] for place in order]
    batch = encode_texts(texts[HELD_OUT : HELD_OUT + TEXTS], vocabulary)
    comparisons = compare(text_model(len(vocabulary), 0), batch, text_loss, "texts")
    pictures = (torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64)))
    for norm in (False, True):
        torch.manual_seed(0)
        network = SimpleCNN(SimpleCNNConfig(batch_norm=norm))
        comparisons += compare(network, pictures, image_loss, "images, batch norm" if norm else "images")
    arms = ((ONE, 1), (RIGHT, 8), (MEANS, 8), (MEANS, TEXTS)) if seeds else ()
    trainings = []
    for number, (how, k) in enumerate(arms):
        bits = []
        for seed in range(seeds):
            on_progress((number + seed / seeds) / len(arms), f"training, {how}")
            bits.append(train(texts, vocabulary, seed, how, k, steps))
        trainings.append(Training(how=how, micro_batches=k, bits=tuple(bits)))
    return Accumulation(
        lengths=tuple(len(each) - 1 for each in texts[HELD_OUT : HELD_OUT + TEXTS]),
        comparisons=tuple(comparisons),
        trainings=tuple(trainings),
        steps=steps,
    )


def _batches(texts: Sequence[str], vocabulary: str, seed: int, steps: int) -> Iterator[Batch]:
    random = np.random.default_rng((seed, 1))
    for _ in range(steps):
        yield encode_texts([texts[place] for place in random.choice(len(texts), TEXTS, replace=False)], vocabulary)


def _split(batch: Batch, parts: int) -> list[Batch]:
    return list(zip(batch[0].chunk(parts), batch[1].chunk(parts), strict=True))


def _count(batch: Batch) -> int:
    """Characters, or images."""
    return int((batch[1] != PADDING).sum())

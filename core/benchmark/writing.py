"""The ways to write that are compared, each a generator that writes on per `next` and yields the characters it wrote.

Run as a module it is a process that lets some of them take turns, so that a slow moment of the machine hits all alike:
`python -m core.benchmark.writing SECONDS shipped|random WAY…` prints the characters per second of each as JSON.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from core.checkpoints.store import PRETRAINED, Card, Checkpoint, load_checkpoint
from core.data.dataset import TextCard
from core.inference.generate import write, write_many
from core.inference.sampling import MAX_LENGTH, SamplingConfig
from core.inference.text import read
from core.models import build_model

WINDOW = 100
TEMPERATURE = 0.8
STREAMS = 16
PROMPT = (
    "The crow that sat upon the miller's gate\nLooked down, and said: what morning is it here,\nThat men go by and do not "
    "see the corn?\n"
)
TURNS = 4
LETTERS = "\n !$&',-.3:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class TextbookLSTM(nn.Module):
    """The character model of every tutorial: nn.Embedding, nn.LSTM with all its layers, nn.Linear."""

    def __init__(self, vocabulary: int, embedding: int, width: int, layers: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, embedding)
        between = dropout if layers > 1 else 0.0
        self.lstm = nn.LSTM(embedding, width, num_layers=layers, dropout=between, batch_first=True)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, tokens: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """(B, T) to logits (B, T, V) and the state after the last character."""
        hidden, state = self.lstm(self.embed(tokens), state)
        return self.head(self.drop(hidden)), state

    @classmethod
    def like(cls, model: Any) -> TextbookLSTM:
        """The same network as a `char_lstm` of this project, with the same weights, in eval mode."""
        shape = model.config
        textbook = cls(shape.vocabulary, shape.embedding, shape.width, shape.layers)
        head, bias = (model.embed.weight, model.bias) if model.head is None else (model.head.weight, model.head.bias)
        weights = {"embed.weight": model.embed.weight, "head.weight": head, "head.bias": bias}
        for index, layer in enumerate(model.layers):
            for name, parameter in layer.named_parameters():
                weights[f"lstm.{name.removesuffix('_l0')}_l{index}"] = parameter
        textbook.load_state_dict(weights)
        return textbook.eval()


def subject(shipped: bool) -> Checkpoint:
    """The checkpoint that ships, or the same shape with random weights."""
    if shipped:
        return load_checkpoint(str(PRETRAINED / "char_lstm"))
    model = build_model("char_lstm", {"vocabulary": len(LETTERS)}).eval().requires_grad_(False)
    data = TextCard(name="none", title="none", vocabulary=LETTERS)
    return Checkpoint("random", Card(title="random", model="char_lstm", model_config={}, dataset=data), model)


def whole_window(network: TextbookLSTM, text: list[int]) -> Tensor:
    """Probabilities (V,) of the next character as the textbook has them: from the last 100 characters, read anew."""
    hidden, _ = network.lstm(network.embed(torch.tensor([text[-WINDOW:]])))
    return torch.softmax(network.head(hidden[0, -1]) / TEMPERATURE, 0)


def naive(checkpoint: Checkpoint) -> Iterator[int]:
    """The textbook's loop: the whole window through the network for every character."""
    network, text = TextbookLSTM.like(checkpoint.model), _prompt(checkpoint)
    while True:
        with torch.no_grad():
            text.append(int(torch.multinomial(whole_window(network, text), 1)))
        yield 1


def stepped(checkpoint: Checkpoint) -> Iterator[int]:
    """The middle way: nn.LSTM called for one character at a time with the state carried."""
    network, text = TextbookLSTM.like(checkpoint.model), _prompt(checkpoint)
    with torch.no_grad():
        logits, state = network(torch.tensor([text]))
    while True:
        with torch.no_grad():
            following = torch.multinomial(torch.softmax(logits[0, -1] / TEMPERATURE, 0), 1)
            logits, state = network(following[None], state)
        yield 1


def product(checkpoint: Checkpoint, streams: int = 1, precision: str = "float32") -> Iterator[int]:
    """This project's, as the page and the command line use it: sampling and what is told of each character included."""
    for seed in itertools.count():
        config = SamplingConfig(length=MAX_LENGTH, temperature=TEMPERATURE, seed=seed)
        if streams == 1:
            for _ in write(checkpoint, PROMPT, config, precision=precision):
                yield 1
        else:
            for characters in write_many(checkpoint, PROMPT, config, streams=streams, precision=precision):
                yield len(characters)


WAYS: dict[str, Callable[[Checkpoint], Iterator[int]]] = {
    "naive": naive,
    "stepped": stepped,
    "float32": product,
    "int8": partial(product, precision="int8"),
    "streams, float32": partial(product, streams=STREAMS),
    "streams, int8": partial(product, streams=STREAMS, precision="int8"),
}


def in_turn(
    ways: dict[str, Iterator[int]], seconds: float, turns: int = TURNS, warm_steps: int = 5
) -> dict[str, float]:
    """Speed of each over at least `seconds`, which are cut into turns, after a few steps that are not counted."""
    done = dict.fromkeys(ways, 0)
    spent = dict.fromkeys(ways, 0.0)
    for steps in ways.values():
        for _ in itertools.islice(steps, warm_steps):
            pass
    for _ in range(turns):
        for name, steps in ways.items():
            next(steps)  # after the others' turns its weights are no longer in the cache
            started = time.perf_counter()
            while (elapsed := time.perf_counter() - started) < seconds / turns:
                done[name] += next(steps)
            spent[name] += elapsed
    return {name: done[name] / spent[name] for name in ways}


def _prompt(checkpoint: Checkpoint) -> list[int]:
    return list(read(PROMPT, checkpoint.card.text_data.vocabulary).tokens.tolist())


def main() -> None:
    checkpoint = subject(sys.argv[2] == "shipped")
    ways = {name: WAYS[name](checkpoint) for name in sys.argv[3:]}
    print(json.dumps(in_turn(ways, float(sys.argv[1]))))


if __name__ == "__main__":
    main()

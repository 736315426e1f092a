"""Recurrent language models over characters: the textbook tanh RNN, the GRU and the LSTM, one module for all three.

`h_t = f(W_xh x_t + W_hh h_{t-1} + b)`, where f is tanh (Elman 1990), or gates decide what is kept (Cho et al.,
arXiv:1406.1078; Hochreiter & Schmidhuber 1997).
"""

from __future__ import annotations

from functools import partial
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.func import functional_call

from core.common.errors import LabError
from core.common.settings import Probability, Settings

GATES = {"rnn": 1, "gru": 3, "lstm": 4}
State = list[tuple[Tensor, ...]]
"""Per layer (h,) or for the LSTM (h, c), each (B, width)."""


class CharRNNConfig(Settings):
    vocabulary: Annotated[int, Field(ge=2, le=10_000)] = 65
    """Number of characters."""
    embedding: Annotated[int, Field(ge=1, le=4096)] = 128
    """Width of a character's vector."""
    width: Annotated[int, Field(ge=1, le=4096)] = 512
    """Width of the hidden state of each layer."""
    layers: Annotated[int, Field(ge=1, le=8)] = 2
    """Recurrent layers, one on top of the other."""
    dropout: Probability = 0.4
    """Dropout probability between layers and before the output."""
    variational: bool = False
    """Drop the same units at every character of a window instead of new ones (Gal & Ghahramani, arXiv:1512.05287)."""
    weight_drop: Probability = 0.0
    """Dropout probability of the recurrent weights, drawn once a window (Merity et al., arXiv:1708.02182)."""
    tied: bool = False
    """Use the embedding as the output weights too (Press & Wolf, arXiv:1608.05859); needs embedding = width."""

    @model_validator(mode="after")
    def _check_tied(self) -> CharRNNConfig:
        if self.tied and self.embedding != self.width:
            raise LabError(
                f"tied=True needs embedding={self.width}, not {self.embedding}: output and input share weights."
            )
        return self


class LockedDropout(nn.modules.dropout._DropoutNd):
    """Dropout whose mask is the same along time. (B, T, C) to the same shape."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        kept = x.new_empty(x.shape[0], 1, x.shape[2]).bernoulli_(1 - self.p)
        return x * kept / (1 - self.p)


class CharRNN(nn.Module):
    """Tokens (B, T) int64 and a state to logits (B, T, vocabulary) and the state after the last of them."""

    recurrent = True
    """It carries a state, so training may cut a text into windows and lose nothing of the forward pass."""

    def __init__(self, config: CharRNNConfig, cell: str) -> None:
        super().__init__()
        self.config, self.cell = config, cell
        self.embed = nn.Embedding(config.vocabulary, config.embedding)
        inputs = [config.embedding] + [config.width] * (config.layers - 1)
        recurrent = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[cell]
        self.layers = nn.ModuleList(recurrent(size, config.width, batch_first=True) for size in inputs)
        kind = LockedDropout if config.variational else nn.Dropout
        self.drops = nn.ModuleList(kind(config.dropout) for _ in inputs)
        # Tied weights are the embedding's own, not a second parameter of the same memory, which no file could hold.
        self.head = nn.Linear(config.width, config.vocabulary) if not config.tied else None
        self.bias = nn.Parameter(torch.zeros(config.vocabulary)) if config.tied else None
        self.random_in_training = config.weight_drop > 0
        self._initialise()

    @torch.no_grad()
    def _initialise(self) -> None:
        # Orthogonal recurrent weights keep the norm of what passes through time (Saxe et al., arXiv:1312.6120); an open
        # forget gate lets an LSTM remember from the first step on (Jozefowicz et al. 2015).
        width = self.config.width
        # As output weights too, the embedding's usual unit variance would make the first logits far too large.
        nn.init.normal_(self.embed.weight, std=self.config.embedding**-0.5 if self.config.tied else 1.0)
        for layer in self.layers:
            for name, parameter in layer.named_parameters():
                if name == "weight_hh_l0":
                    for gate in range(GATES[self.cell]):
                        nn.init.orthogonal_(parameter[gate * width : (gate + 1) * width])
                elif name == "weight_ih_l0":
                    nn.init.xavier_uniform_(parameter)
                else:
                    nn.init.zeros_(parameter)
                if name == "bias_ih_l0" and self.cell == "lstm":
                    parameter[width : 2 * width] = 1.0

    def initial_state(self, batch: int) -> State:
        """Zeros for `batch` streams, on the model's device."""
        parts = 2 if self.cell == "lstm" else 1
        zeros = self.embed.weight.new_zeros(batch, self.config.width)
        return [tuple(zeros.clone() for _ in range(parts)) for _ in self.layers]

    def forward(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        hidden, after = self.hidden(tokens, state)
        return self.logits(hidden[-1]), after

    def logits(self, hidden: Tensor) -> Tensor:
        """The last layer's output (…, width) to logits (…, vocabulary)."""
        if self.head is None:
            return F.linear(hidden, self.embed.weight, self.bias)
        return self.head(hidden)

    def hidden(self, tokens: Tensor, state: State | None = None) -> tuple[list[Tensor], State]:
        """The output of every layer, (B, T, width) each, after its dropout; and the state after the last token."""
        x = self.embed(tokens)  # (B, T, embedding)
        before = state if state is not None else self.initial_state(len(tokens))
        outputs: list[Tensor] = []
        after: State = []
        for layer, drop, parts in zip(self.layers, self.drops, before, strict=True):
            x, last = self._layer(layer, x, parts)
            after.append(last)
            x = drop(x)
            outputs.append(x)
        return outputs, after

    def _layer(self, layer: nn.Module, x: Tensor, parts: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        given = tuple(part[None] for part in parts)
        start = given if self.cell == "lstm" else given[0]
        if self.training and self.config.weight_drop:
            dropped = {"weight_hh_l0": F.dropout(layer.get_parameter("weight_hh_l0"), self.config.weight_drop)}
            x, last = functional_call(layer, dropped, (x, start))
        else:
            x, last = layer(x, start)
        return x, tuple(part[0] for part in last) if self.cell == "lstm" else (last[0],)


char_lstm = partial(CharRNN, cell="lstm")
char_gru = partial(CharRNN, cell="gru")
char_rnn = partial(CharRNN, cell="rnn")

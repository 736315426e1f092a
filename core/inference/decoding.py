"""One character at a time, with the state carried: what makes writing fast.

`nn.LSTM` called for a single character repacks its weights at every call, which costs more than the arithmetic. Here a
step is a few matrix products on weights that were laid out once; whole prompts still go through the model itself.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from core.common.errors import LabError
from core.inference.sampling import PRECISIONS

NO_ENGINE = "This PyTorch cannot compute in int8 on this processor: float32 is used, with the same weights."
READ_AT_ONCE = 1000
"""Characters of a prompt in one pass: some 0.2 s of a 2x512 LSTM on one core."""


class IncrementalDecoder(Protocol):
    """A model in the middle of a text, for a fixed number of streams."""

    def start(self, tokens: Tensor, streams: int, on_read: Callable[[float], None] | None = None) -> Tensor:
        """Read a prompt (T,) int64 and return the logits (streams, V) of what follows it. on_read: called now
        and then with the share that is read."""

    def step(self, tokens: Tensor) -> Tensor:
        """Read one more character of each stream (streams,) int64 and return the logits (streams, V) of the next."""


def available_precision(precision: str) -> str:
    """`precision`, or float32 in place of an int8 that this PyTorch has no engine for, as on Apple silicon and some of Arm.

    Whoever asks for int8 then says NO_ENGINE."""
    return "float32" if precision == "int8" and torch.backends.quantized.engine == "none" else precision


def stepper(model: Any, precision: str = "float32") -> IncrementalDecoder:
    """For a language model in eval mode. precision: `int8` keeps recurrent weights in 8 bits (a quarter of the memory to
    read for each character), for recurrent models on a CPU that PyTorch has an engine for; it is float32 elsewhere. Raises
    LabError for other models and devices."""
    if precision not in PRECISIONS:
        raise LabError(f"precision={precision[:40]!r} is not valid: it must be one of {', '.join(PRECISIONS)}.")
    if model.recurrent:
        return RecurrentStepper(model, int8=available_precision(precision) == "int8")
    if precision == "int8":
        raise LabError("int8 is for recurrent models: choose an LSTM, GRU or RNN, or float32.")
    return CachedStepper(model)


class RecurrentStepper:
    """An RNN, GRU or LSTM. Equations as in PyTorch's own cells, so that the same characters come out."""

    @torch.inference_mode()
    def __init__(self, model: Any, *, int8: bool = False) -> None:
        self.model, self.cell = model, model.cell
        weights = [dict(layer.named_parameters()) for layer in model.layers]
        first = weights[0]
        # What the first layer makes of each character is looked up: (V, gates x width).
        self.table = model.embed.weight @ first["weight_ih_l0"].T + first["bias_ih_l0"]
        if int8 and self.table.device.type != "cpu":
            raise LabError("int8 runs on the CPU only: choose float32 for this device.")
        self.int8, self.streams = int8, 0
        self.weights = weights
        self.update = {"lstm": _lstm, "gru": _gru, "rnn": _rnn}[self.cell]
        self.state: list[tuple[Tensor, ...]] = []

    def _lay_out(self, streams: int) -> None:
        """The weights as so many rows at once are multiplied fastest."""
        device = self.table.device.type
        packs = can_pack(streams, device) and self.table.dtype == torch.float32
        product = _int8 if self.int8 else partial(_packed, streams) if packs else _product
        self.inputs = [product(w["weight_ih_l0"], w["bias_ih_l0"]) for w in self.weights[1:]]
        self.recurrent = [product(w["weight_hh_l0"], w["bias_hh_l0"]) for w in self.weights]
        model, head = self.model, self.model.head
        self.head = product(*((head.weight, head.bias) if head is not None else (model.embed.weight, model.bias)))
        self.streams = streams

    @torch.inference_mode()
    def start(self, tokens: Tensor, streams: int, on_read: Callable[[float], None] | None = None) -> Tensor:
        state: Any = None
        parts = tokens.split(READ_AT_ONCE)
        for index, part in enumerate(parts):
            if on_read:
                on_read(index / len(parts))
            hidden, state = self.model.hidden(part[None], state)
        self.go_on([tuple(part.expand(streams, -1).contiguous() for part in parts) for parts in state])
        return self.model.logits(hidden[-1][:, -1]).expand(streams, -1)

    def go_on(self, state: list[tuple[Tensor, ...]]) -> None:
        """From the state of each layer, (streams, width)."""
        self.state, streams = state, len(state[0][0])
        if streams != self.streams:
            self._lay_out(streams)

    @torch.inference_mode()
    def step(self, tokens: Tensor) -> Tensor:
        given = self.table[tokens]
        for index, parts in enumerate(self.state):
            if index:
                given = self.inputs[index - 1](self.state[index - 1][0])
            self.state[index] = self.update(given, self.recurrent[index](parts[0]), parts)
        return self.head(self.state[-1][0])


class CachedStepper:
    """A Transformer: keys and values of what was read are kept.

    Its positions are absolute, so a full context cannot simply be shifted: then the later half of it is read again in
    one pass, which happens once in half a context of characters.
    """

    def __init__(self, model: Any) -> None:
        self.model, self.context = model, model.config.context
        self.state: Any = None
        self.seen = torch.empty(0)

    @torch.inference_mode()
    def start(self, tokens: Tensor, streams: int, on_read: Callable[[float], None] | None = None) -> Tensor:
        self.seen = tokens[-self.context :].expand(streams, -1)
        logits, self.state = self.model(self.seen[:1])
        self.state = [tuple(part.expand(streams, -1, -1, -1) for part in parts) for parts in self.state]
        return logits[:, -1].expand(streams, -1)

    @torch.inference_mode()
    def step(self, tokens: Tensor) -> Tensor:
        self.seen = torch.cat([self.seen, tokens[:, None]], 1)
        if self.seen.shape[1] > self.context:
            self.seen = self.seen[:, -max(1, self.context // 2) :]
            logits, self.state = self.model(self.seen)
        else:
            logits, self.state = self.model(tokens[:, None], self.state)
        return logits[:, -1]


def _lstm(given: Tensor, recurrent: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    i, f, g, o = given.add(recurrent).chunk(4, 1)
    c = f.sigmoid().mul_(state[1]).addcmul_(i.sigmoid(), g.tanh())
    return o.sigmoid().mul_(c.tanh()), c


def _gru(given: Tensor, recurrent: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    r_in, z_in, n_in = given.chunk(3, 1)
    r_re, z_re, n_re = recurrent.chunk(3, 1)
    z = (z_in + z_re).sigmoid()
    n = (n_in + (r_in + r_re).sigmoid() * n_re).tanh()
    return (torch.lerp(n, state[0], z),)


def _rnn(given: Tensor, recurrent: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (given.add(recurrent).tanh_(),)


def _product(weight: Tensor, bias: Tensor) -> Callable[[Tensor], Tensor]:
    """x W^T + b with W laid out the other way round: for a single row a quarter faster here than `nn.Linear`."""
    turned = weight.T.contiguous()
    return lambda x: torch.addmm(bias, x, turned)


def can_pack(rows: int, device: str) -> bool:
    """Whether oneDNN lays out weights for so many rows: several on a CPU, where this PyTorch was built with it."""
    return rows > 1 and device == "cpu" and torch.backends.mkldnn.is_available()


def _packed(rows: int, weight: Tensor, bias: Tensor) -> Callable[[Tensor], Tensor]:
    """x W^T + b for several rows, in oneDNN's own layout of W: for 16 rows over twice as fast as `_product` with AVX-512."""
    packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), rows)
    fixed = bias.detach()
    return lambda x: torch.ops.mkldnn._linear_pointwise(x, packed, fixed, "none", [], "")


def _int8(weight: Tensor, bias: Tensor) -> Callable[[Tensor], Tensor]:
    """Weights in 8 bits for each output, inputs in 8 bits for each call (dynamic quantization)."""
    from torch.ao.quantization import per_channel_dynamic_qconfig, quantize_dynamic

    layer = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    layer.weight = nn.Parameter(weight.detach(), requires_grad=False)
    layer.bias = nn.Parameter(bias.detach(), requires_grad=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that torch.ao is to move elsewhere
        return quantize_dynamic(nn.Sequential(layer), {nn.Linear: per_channel_dynamic_qconfig})[0]

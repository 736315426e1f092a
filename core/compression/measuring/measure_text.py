"""The part of core.compression.measuring.measure that is about language models.

Loss is the mean over the validation part of the text. Speed is that of writing characters one by one, each the likeliest, with
the state carried, on one thread and in turn with the original. A recurrent model that is stored in 8 bits is measured as it
writes: in 8 bits, inputs rounded as they come. (For its loss 16 parts of the text are read side by side, and those share the
range that their inputs are rounded in.)
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.checkpoints.store import Card, Checkpoint
from core.common.errors import LabError
from core.common.progress import Progress
from core.compression.measuring.counting import bytes_in_int8, layers_of_text, zeros_of
from core.compression.measuring.latency import interleaved, torch_threads
from core.compression.measuring.notes import about_storage, about_zeros, slower
from core.compression.measuring.significance import mean_interval
from core.data import UNKNOWN, TextDataset
from core.data.text import with_vocabulary
from core.inference.decoding import IncrementalDecoder, RecurrentStepper, stepper
from core.inference.sampling import runs_in_int8, usual_precision
from core.inference.text import character_losses, unk_token

BURST = 32
"""Characters that are written before the other model has its turn."""
PROMPT = 16
NOT_MEASURED = (
    "Times in ONNX Runtime and memory are not measured for language models, which write through this project's own "
    "stepper."
)


class TextBench:
    """Measures language models against an original, whose losses are computed once."""

    def __init__(self, original: Checkpoint, dataset: TextDataset | None, *, on_progress: Progress) -> None:
        self.original, self.on_progress = original, on_progress
        known = dataset and with_vocabulary(dataset, original.card.text_data.vocabulary)
        self.missing = _missing(original.card, dataset, known)
        self.tokens = None if known is None or self.missing else known.validation

    def measure(self, checkpoint: Checkpoint, is_original: bool) -> tuple[dict[str, Any], None]:
        """Fields of a Measurement; a text has no answers to keep. is_original: the checkpoint is the original."""
        card, model = checkpoint.card, checkpoint.model
        int8 = runs_in_int8(card)
        notes = [*([NOT_MEASURED] if is_original else []), *about_storage(card, False)]
        layers, macs = layers_of_text(model)
        zeros = zeros_of(model)
        figures: dict[str, Any] = {
            "size_bytes": bytes_in_int8(model) if int8 else 4 * sum(p.numel() for p in model.parameters()),
            "macs": macs,
            "zeros": zeros,
            "layers": layers,
            "threads": 1,
        }
        engine: IncrementalDecoder | None = None
        try:
            engine = _engine(checkpoint)
        except (LabError, RuntimeError) as error:  # PyTorch without 8-bit products on this processor
            if not int8:
                raise
            notes.append(
                "8-bit arithmetic is not available on this machine, so speed was not measured and loss is that of float32 "
                f"({str(error)[:200]})."
            )
        sentences: list[str] = []
        if engine is not None:
            self.on_progress(0.0, "write")
            own, original = self._times(checkpoint, engine, is_original)
            sentences = slower("when it writes", own, original)
            figures |= {
                "characters_per_s": 1 / float(np.median(own)),
                "original_characters_per_s": 1 / float(np.median(original)),
            }
        if self.missing:
            notes.append(self.missing)
        else:
            before = self._original_losses
            losses, right = before if is_original else self._read(checkpoint, engine)
            figures |= {"loss_nats": float(losses.mean()), "accuracy": float(right.mean()), "images": len(losses)}
            if not is_original:
                differences = losses - before[0]
                figures |= {
                    "delta_nats": float(differences.mean()),
                    "delta_nats_interval": mean_interval(differences),
                    "delta_points": 100 * (float(right.mean()) - float(before[1].mean())),
                }
        notes += about_zeros(zeros) + sentences
        return figures | {"notes": tuple(notes)}, None

    @cached_property
    def _original_losses(self) -> tuple[np.ndarray, np.ndarray]:
        return self._read(self.original, _engine(self.original))

    @torch.no_grad()
    def _read(self, checkpoint: Checkpoint, engine: IncrementalDecoder | None) -> tuple[np.ndarray, np.ndarray]:
        """Loss (N,) nats and whether it was the first guess (N,) of every character of the validation part that counts."""
        words = "read the validation part"
        self.on_progress(0.0, words)
        assert self.tokens is not None
        tokens = torch.from_numpy(np.ascontiguousarray(self.tokens, dtype=np.int64))
        model: Any = checkpoint.model
        if runs_in_int8(checkpoint.card) and isinstance(engine, RecurrentStepper):
            model = _StepwiseReader(engine)
        replacement_char = unk_token(checkpoint.card.text_data.vocabulary)
        # For steps of 16 characters a second thread costs more than it brings.
        with torch_threads(1 if model is not checkpoint.model else torch.get_num_threads()):
            losses, right = character_losses(
                model, tokens, replacement_char, lambda share: self.on_progress(share, words)
            )
        scored = tokens[1:] != UNKNOWN
        return losses[scored].double().numpy(), right[scored].numpy()

    def _times(
        self, checkpoint: Checkpoint, engine: IncrementalDecoder, is_original: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Seconds a character of the checkpoint and of the original, (rounds,) each; twice the same for the original."""
        writers = [_Writer(checkpoint.model, engine)]
        if not is_original:
            writers.append(_Writer(self.original.model, _engine(self.original)))
        with torch_threads(1):
            times = interleaved([writer.burst for writer in writers])
        own, *others = (row / 1e3 / writer.length for writer, row in zip(writers, times, strict=True))
        return own, (others or [own])[0]


class _Writer:
    """Writes bursts of characters. A Transformer's burst is half its context, so it reads the context again just once."""

    def __init__(self, model: Any, engine: IncrementalDecoder) -> None:
        self.engine = engine
        self.length = BURST if model.recurrent else max(1, model.config.context // 2)
        prompt = torch.arange(PROMPT) % model.config.vocabulary
        self.token = engine.start(prompt, 1).argmax(1)

    @torch.inference_mode()
    def burst(self) -> None:
        for _ in range(self.length):
            self.token = self.engine.step(self.token).argmax(1)


class _StepwiseReader:
    """A recurrent model that reads as it writes: step by step, in the arithmetic of its stepper."""

    recurrent = True

    def __init__(self, engine: RecurrentStepper) -> None:
        self.engine = engine

    def initial_state(self, streams: int) -> Any:
        return self.engine.model.initial_state(streams)

    def __call__(self, tokens: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Tokens (B, T) int64 and a state to logits (B, T, V) and the state after the last of them."""
        self.engine.go_on(list(state if state is not None else self.initial_state(len(tokens))))
        logits = torch.stack([self.engine.step(column) for column in tokens.T], 1)
        return logits, list(self.engine.state)


def _engine(checkpoint: Checkpoint) -> IncrementalDecoder:
    return stepper(checkpoint.model, usual_precision(checkpoint.card))


def _missing(card: Card, dataset: TextDataset | None, known: TextDataset | None) -> str:
    """Why there is no text to read, in a sentence; empty where there is."""
    end = "so loss was not measured."
    if dataset is None:
        return f"{card.dataset.title[:100]} is not on this machine, {end}"
    if known is None:
        return f"{dataset.card.title} no longer has the characters that this was trained on, {end}"
    if not (dataset.validation[1:] != UNKNOWN).any():
        return f"{dataset.card.title} has no validation part, {end}"
    return ""

"""A small untrained language model that knows the letters, with dropout in its config."""

from __future__ import annotations

from typing import Any

import torch

from core.checkpoints.store import Card, Checkpoint
from core.data.dataset import TextCard
from core.models import build_model

VOCABULARY = "\n !',.:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def checkpoint(model: str, *, seed: int = 0, **config: Any) -> Checkpoint:
    gpt = {"width": 16, "layers": 2, "heads": 2, "context": 64}
    shape = gpt if model == "char_gpt" else {"embedding": 6, "width": 12, "layers": 2}
    values = {"vocabulary": len(VOCABULARY), "dropout": 0.5} | shape | config
    torch.manual_seed(seed)
    network = build_model(model, values)
    data = TextCard(name="text:play", title="A play", vocabulary=VOCABULARY)
    card = Card(title="Tiny", model=model, model_config=values, dataset=data, metrics={"val_loss_nats": 2.0})
    return Checkpoint("tiny", card, network.eval().requires_grad_(False))


def tokens(text: str) -> torch.Tensor:
    return torch.tensor([[VOCABULARY.index(character) for character in text]])

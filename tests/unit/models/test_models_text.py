"""Language models: the same numbers whichever way a text is read, and what dropout, tied weights and a checkpoint do."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from core.checkpoints.store import Card, load_checkpoint, save_checkpoint
from core.common.errors import LabError
from core.data.dataset import TextCard
from core.models import build_model
from core.models.char_rnn import LockedDropout

V = 12
CARD = TextCard(name="text:/x.txt", title="X", vocabulary="\n abcdefghij")
SMALL = {"vocabulary": V, "embedding": 7, "width": 10, "layers": 2, "dropout": 0.5}
TRICKS = SMALL | {"embedding": 10, "tied": True, "variational": True, "weight_drop": 0.5}
GPT = {"vocabulary": V, "context": 24, "width": 12, "layers": 3, "heads": 3, "dropout": 0.5}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "rnn": ("char_rnn", SMALL),
    "gru": ("char_gru", SMALL | {"layers": 3}),
    "lstm": ("char_lstm", SMALL | {"layers": 1}),
    "rnn-tied": ("char_rnn", SMALL | {"embedding": 10, "tied": True}),
    "gru-weight-drop": ("char_gru", SMALL | {"weight_drop": 0.3}),
    "lstm-variational": ("char_lstm", SMALL | {"variational": True}),
    "lstm-all": ("char_lstm", TRICKS),
    "gpt": ("char_gpt", GPT),
    "gpt-one-block": ("char_gpt", GPT | {"layers": 1, "heads": 1}),
}
EVERY = pytest.mark.parametrize("name", MODELS)
CELLS = pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])


def made(name: str, seed: int = 1, **changes: Any) -> Any:
    """In eval mode, with weights large enough that every character matters for what follows."""
    torch.manual_seed(seed)
    model, config = MODELS.get(name, (name, SMALL))
    built = build_model(model, config | changes).eval()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return built


def text(batch: int = 3, time: int = 24, seed: int = 5) -> Tensor:
    return torch.randint(0, V, (batch, time), generator=torch.Generator().manual_seed(seed))


def close(one: Tensor, other: Tensor, atol: float = 1e-5) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, atol=atol)


@EVERY
@torch.no_grad()
def test_piece_by_piece_is_the_same_as_all_at_once(name: str) -> None:
    model, tokens = made(name), text()
    whole, last = model(tokens)
    for sizes in ([1] * 24, [24], [1, 7, 1, 2, 13], [23, 1]):
        for state in (None, model.initial_state(3)):
            pieces = []
            for part in tokens.split(sizes, 1):
                logits, state = model(part, state)
                pieces.append(logits)
            assert close(torch.cat(pieces, 1), whole)
            assert all(close(a, b) for one, two in zip(state, last) for a, b in zip(one, two, strict=True))


@EVERY
@torch.no_grad()
def test_a_stream_does_not_see_its_neighbours(name: str) -> None:
    model, tokens = made(name), text()
    assert all(close(model(tokens[row : row + 1])[0][0], model(tokens)[0][row]) for row in range(3))


@EVERY
@torch.no_grad()
def test_a_character_changes_what_follows_and_nothing_before_it(name: str) -> None:
    model, tokens = made(name), text(1)
    for place in (0, 1, 11, 23):
        other = tokens.clone()
        other[0, place] = (other[0, place] + 1) % V
        change = (model(tokens)[0] - model(other)[0]).abs().amax(2)[0]
        assert (change[:place] == 0).all()
        assert change[place] > 1e-4
        assert (change[place:] > 0).all()


@CELLS
@torch.no_grad()
def test_a_cell_is_its_textbook_equation(cell: str) -> None:
    model, tokens = made(f"char_{cell}", layers=1), text(1, 15)
    weight = {name: value.double().numpy() for name, value in model.state_dict().items()}
    into, back = weight["layers.0.weight_ih_l0"], weight["layers.0.weight_hh_l0"]
    b, d = weight["layers.0.bias_ih_l0"], weight["layers.0.bias_hh_l0"]
    gate = [slice(10 * index, 10 * index + 10) for index in range(4)]

    def sigmoid(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-x))

    h, c, found = np.zeros(10), np.zeros(10), []
    for token in tokens[0]:
        x = weight["embed.weight"][token]
        sums = [into[g] @ x + b[g] + back[g] @ h + d[g] for g in gate[: len(into) // 10]]
        if cell == "rnn":
            h = np.tanh(sums[0])
        elif cell == "lstm":
            c = sigmoid(sums[1]) * c + sigmoid(sums[0]) * np.tanh(sums[2])
            h = sigmoid(sums[3]) * np.tanh(c)
        else:  # PyTorch's and cuDNN's: the reset gate acts after the product, not before it
            r, z = sigmoid(sums[0]), sigmoid(sums[1])
            n = np.tanh(into[gate[2]] @ x + b[gate[2]] + r * (back[gate[2]] @ h + d[gate[2]]))
            h = (1 - z) * n + z * h
        found.append(weight["head.weight"] @ h + weight["head.bias"])
    assert np.allclose(model(tokens)[0][0].numpy(), np.stack(found), atol=1e-5)


@torch.no_grad()
def test_attention_is_its_textbook_equation() -> None:
    model, tokens = made("gpt-one-block"), text(1, 9)
    block = model.blocks[0]
    x = model.embed(tokens[0]) + model.position.weight[:9]
    query, key, value = block.attention.qkv(block.norm1(x)).chunk(3, 1)
    scores = (query @ key.T / 12**0.5).masked_fill(torch.ones(9, 9).triu(1).bool(), -torch.inf)
    x = x + block.attention.out(scores.softmax(1) @ value)
    x = x + block.back(F.gelu(block.feed(block.norm2(x))))
    assert close(model(tokens)[0][0], model.norm(x) @ model.embed.weight.T)


def test_fresh_weights_are_as_stated() -> None:
    lstm = build_model("char_lstm", {"vocabulary": V, "width": 16, "embedding": 16}).layers[0]
    for gate in lstm.weight_hh_l0.detach().split(16):
        assert close(gate @ gate.T, torch.eye(16))
    assert lstm.bias_ih_l0.tolist() == [0.0] * 16 + [1.0] * 16 + [0.0] * 32
    assert not lstm.bias_hh_l0.any()
    # Neither tied nor untied logits start far from those of a guess, so the first loss is about ln V.
    for name in MODELS:
        torch.manual_seed(0)
        model, config = MODELS[name]
        wide = config | {"width": 96, "embedding": 96} if model != "char_gpt" else config | {"width": 96}
        logits = build_model(model, wide).eval()(text(4))[0]
        assert F.cross_entropy(logits.flatten(0, 1), text(4, seed=8).flatten()) < np.log(V) + 0.4


def test_a_locked_mask_is_the_same_along_time_and_differs_elsewhere() -> None:
    torch.manual_seed(0)
    drop, x = LockedDropout(0.4), torch.ones(6, 30, 500)
    assert drop.eval()(x) is x
    dropped = drop.train()(x)
    assert (dropped == dropped[:, :1]).all()
    assert set(dropped.unique().tolist()) == {0.0, float(torch.tensor(1 / 0.6))}
    assert float((dropped == 0).float().mean()) == pytest.approx(0.4, abs=0.03)
    assert not (dropped[0] == dropped[1]).all()
    assert not torch.equal(drop(x), dropped)
    assert torch.equal(LockedDropout(0.0)(x), x)


@pytest.mark.parametrize("variational", [True, False])
def test_variational_dropout_is_locked_in_every_layer_and_the_usual_one_in_none(variational: bool) -> None:
    model = made("char_lstm", variational=variational, layers=3).train()
    outputs, _ = model.hidden(text())
    assert len(outputs) == 3
    for output in outputs:
        zeros = output == 0
        assert 0.3 < zeros.float().mean() < 0.7
        assert bool((zeros == zeros[:, :1]).all()) == variational


@CELLS
def test_weight_drop_draws_recurrent_weights_once_a_window_and_trains_them(cell: str) -> None:
    model, tokens = made(f"char_{cell}", dropout=0.0, weight_drop=0.5, layers=1).train(), text()
    raw = model.layers[0].weight_hh_l0
    before = raw.detach().clone()
    torch.manual_seed(3)
    logits, _ = model(tokens)
    torch.manual_seed(3)
    twin = copy.deepcopy(model).eval()
    with torch.no_grad():
        dropped = F.dropout(twin.layers[0].weight_hh_l0, 0.5)
        twin.layers[0].weight_hh_l0.copy_(dropped)
    assert 0.3 < (dropped == 0).float().mean() < 0.7
    assert close(logits, twin(tokens)[0])
    assert not close(logits, model(tokens)[0])  # the next window draws others
    logits.sum().backward()
    assert raw is model.layers[0].weight_hh_l0
    assert torch.equal(raw, before)
    assert raw.grad is not None
    assert torch.equal(raw.grad == 0, dropped == 0)


@EVERY
@torch.no_grad()
def test_dropout_acts_in_training_only(name: str) -> None:
    model, tokens = made(name), text()
    plain = {"dropout": 0.0} | ({} if "gpt" in name else {"variational": False, "weight_drop": 0.0})
    assert close(model(tokens)[0], made(name, **plain)(tokens)[0])
    assert torch.equal(model(tokens)[0], model(tokens)[0])
    assert not close(model.train()(tokens)[0], model(tokens)[0])
    assert made(name, **plain).random_in_training is False


@pytest.mark.parametrize("name", ["rnn-tied", "lstm-all", "gpt"])
def test_tied_weights_are_one_tensor(name: str) -> None:
    model, tokens, unread = made(name), text() % (V - 1), V - 1
    vocabulary_wide = [key for key, value in model.state_dict().items() if len(value) == V and value.ndim == 2]
    assert [key for key in vocabulary_wide if "blocks" not in key] == ["embed.weight"]
    with torch.no_grad():
        before = model(tokens)[0]
        model.embed.weight[unread] += 1.0
        change = (model(tokens)[0] - before).abs().amax((0, 1))
    # A character that is never read can only be written.
    assert change[unread] > 0.01
    assert (change[:unread] == 0).all()


@EVERY
@torch.no_grad()
def test_a_checkpoint_gives_the_same_logits(name: str, tmp_path: Path) -> None:
    kind, config = MODELS[name]
    card = Card(title="T", model=kind, model_config=config, dataset=CARD)
    model, tokens = made(name), text()
    save_checkpoint(tmp_path / "full", model, card)
    loaded = load_checkpoint(str(tmp_path / "full"))
    assert loaded.card.text_data == CARD
    assert not loaded.model.training
    # PyTorch multiplies in another order for weights without gradients: the weights are equal, the logits as good as.
    assert all(torch.equal(a, b) for a, b in zip(loaded.model.parameters(), model.parameters(), strict=True))
    assert close(loaded.model(tokens)[0], model(tokens)[0])
    assert close(loaded.model(tokens[:, :1])[0], model(tokens[:, :1])[0])
    save_checkpoint(tmp_path / "half", model, card, storage="float16")
    half = load_checkpoint(str(tmp_path / "half")).model
    assert {parameter.dtype for parameter in half.parameters()} == {torch.float32}
    exact = copy.deepcopy(model)
    exact.load_state_dict({key: value.half().float() for key, value in model.state_dict().items()})
    assert close(half(tokens)[0], exact(tokens)[0])
    assert close(half(tokens)[0], model(tokens)[0], atol=0.05)
    loaded.model.requires_grad_(True)
    with torch.enable_grad():
        loaded.model(tokens)[0].sum().backward()
    assert all(parameter.grad is not None for parameter in loaded.model.parameters())


def test_a_checkpoint_with_another_vocabulary_is_refused(tmp_path: Path) -> None:
    other = TextCard(name="x", title="X", vocabulary="abc")
    save_checkpoint(tmp_path, made("lstm"), Card(title="T", model="char_lstm", model_config=SMALL, dataset=other))
    with pytest.raises(LabError, match="3 characters, but its network has another number"):
        load_checkpoint(str(tmp_path))


def test_a_transformer_refuses_more_than_its_context() -> None:
    model = made("gpt")
    logits, state = model(text(1, 24))
    assert logits.shape == (1, 24, V)
    for tokens, before in ((text(1, 25), None), (text(1, 1), state), (text(1, 24), model(text(1, 1))[1])):
        with pytest.raises(LabError, match="^25 characters do not fit a context of 24: shorten them.$"):
            model(tokens, before)


@pytest.mark.parametrize(
    ("name", "config", "words"),
    [
        ("char_lstm", {"width": 10**9}, "width=1000000000 is not valid: width must be a whole number from 1 to 4,096"),
        ("char_lstm", {"tied": True}, "tied=True needs embedding=512, not 128"),
        ("char_gpt", {"heads": 5}, "heads=5 is not valid: it must divide the width, 192"),
    ],
)
def test_a_wrong_setting_is_one_sentence(name: str, config: dict, words: str) -> None:
    with pytest.raises(LabError, match=rf"^{words}.*\.$"):
        build_model(name, config)

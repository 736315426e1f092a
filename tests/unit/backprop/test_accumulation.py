"""Gradients summed over micro-batches, against the whole batch."""

from __future__ import annotations

import json
import math

import pytest
import torch

from core.app import main
from core.backprop.accumulation import (
    PADDING,
    accumulate,
    compare,
    encode_texts,
    image_loss,
    mean_of_means,
    saved_bytes,
    speeches,
    text_loss,
    text_model,
    train,
)
from core.backprop.memory import measure_memory
from core.backprop.results import ACCUMULATIONS, MEANS, ONE, RIGHT
from core.models.simple_cnn import SimpleCNN, SimpleCNNConfig

TEXTS = ["abcab" * (1 + place % 5) for place in range(8)]


def test_sums_over_micro_batches_are_the_whole_batch_and_means_of_means_are_not() -> None:
    model, batch = text_model(3, 0).double(), encode_texts(TEXTS, "abc")
    logits, _ = model(batch[0])
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[1].flatten(), ignore_index=PADDING)
    wanted = torch.cat([each.flatten() for each in torch.autograd.grad(loss, list(model.parameters()))])
    for k in (1, 2, 4, 8):
        assert torch.allclose(accumulate(model, batch, k, text_loss, RIGHT), wanted, rtol=1e-9, atol=1e-14)
        means = accumulate(model, batch, k, text_loss, MEANS)
        assert torch.allclose(means, wanted, rtol=1e-9, atol=1e-14) == (k == 1)
        model.zero_grad()
        mean_of_means(model, batch, k).backward()
        weighted = torch.cat([each.grad.flatten() for each in model.parameters() if each.grad is not None])
        assert torch.allclose(weighted, means, rtol=1e-9, atol=1e-14)


def test_texts_of_one_length_do_not_care() -> None:
    found = compare(text_model(3, 0).double(), encode_texts(["abcabca"] * 4, "abc"), text_loss, "texts", (2, 4))
    assert all(each.means < 1e-12 and each.right < 1e-12 for each in found)


def test_batch_norm_is_never_the_whole_batch() -> None:
    torch.manual_seed(0)
    batch = (torch.randn(8, 3, 12, 12), torch.arange(8))
    plain, norm = (
        compare(
            SimpleCNN(SimpleCNNConfig(image_size=12, widths=(4, 4), batch_norm=on)), batch, image_loss, "images", (2, 4)
        )
        for on in (False, True)
    )
    assert all(each.right < 1e-5 for each in plain)
    assert all(each.right > 1e-3 for each in norm)


def test_memory_is_what_a_pass_keeps() -> None:
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6, 4, bias=False), torch.nn.ReLU())
    batch = (torch.randn(10, 6), torch.zeros(10, dtype=torch.int64))
    # Input, ReLU's output, log-probabilities, labels, and the total weight of the classes.
    assert saved_bytes(model, batch, image_loss) == pytest.approx(4 * 10 * (6 + 4 + 4) + 8 * 10, abs=8)
    half = (batch[0][:5].clone(), batch[1][:5].clone())
    assert saved_bytes(model, half, image_loss) == pytest.approx(saved_bytes(model, batch, image_loss) / 2, abs=8)


@pytest.mark.slow
def test_a_process_needs_less_for_micro_batches() -> None:
    one, parts = measure_memory("simple_cnn", 8)
    assert 3 < one / parts < 10
    assert one > saved_bytes(
        SimpleCNN(SimpleCNNConfig()), (torch.randn(64, 3, 32, 32), torch.arange(64) % 10), image_loss
    )


def test_texts_and_their_targets() -> None:
    assert speeches("A:\nhello\n\nonly a line\n\nB:\nyes") == ["A:\nhello", "B:\nyes"]
    inputs, targets = encode_texts(["abc", "ca"], "abc")
    assert inputs.tolist() == [[0, 1], [2, 0]]
    assert targets.tolist() == [[1, 2], [0, PADDING]]


def test_training_repeats_with_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.backprop.accumulation.HELD_OUT", 4)
    texts = [*TEXTS, *TEXTS * 4]
    first, again = (train(texts, "abc", 1, MEANS, 4, 3) for _ in range(2))
    assert first == again
    assert train(texts, "abc", 1, RIGHT, 4, 3) == pytest.approx(train(texts, "abc", 1, ONE, 1, 3), abs=1e-4)
    assert first != pytest.approx(train(texts, "abc", 1, ONE, 1, 3), abs=1e-6)


def test_what_ships_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["foundations", "accumulation", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    found = ACCUMULATIONS.load_shipped("accumulation")
    assert len(printed["comparisons"]) == len(found.comparisons)
    right = next(each for each in found.trainings if each.how == RIGHT)
    assert all(math.isfinite(cost) and abs(cost) < 0.05 for cost in found.cost(right))

"""Answers and figures against oracles."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest
import torch

from core.checkpoints.store import Calibration, Card, Checkpoint
from core.common.errors import LabError
from core.compression.methods.int8 import to_int8
from core.compression.steps import Int8
from core.data.dataset import Split
from core.inference.evaluation import (
    best_temperature,
    calibrate,
    calibration_half,
    evaluate,
    fit_calibration,
    split_answers,
    warning_threshold,
    wilson,
)
from core.inference.evaluation_store import card_accuracy
from core.inference.images import Answers, classify, free_energy, logits_of
from core.inference.onnx_network import OnnxNetwork, onnx_inputs
from core.training.config import TrainConfig
from core.training.session import TrainSession
from core.training.trainer import train
from tests.unit.builders import synthetic

DATA = synthetic(held_out=200)


@pytest.fixture(scope="module")
def trained() -> Checkpoint:
    session = TrainSession.start(TrainConfig(epochs=4, batch_size=64, lr=3e-3, tta="flip"), DATA, "cpu")
    list(train(session))
    return Checkpoint("trained", session.card("Trained"), session.eval_model())


def test_probabilities_are_the_scaled_softmax_of_the_logits(trained: Checkpoint) -> None:
    card = dataclasses.replace(trained.card, calibration=Calibration(temperature=2.5, energy_threshold=-1e9))
    checkpoint = dataclasses.replace(trained, card=card)
    images = DATA.test.images[:6]
    logits = logits_of(trained, images)
    for row, answer in zip(logits, classify(checkpoint, images), strict=True):
        expected = torch.softmax(row / 2.5, dim=0)
        assert answer.probabilities == pytest.approx(expected.tolist(), abs=1e-6)
        assert sum(answer.probabilities) == pytest.approx(1, abs=1e-5)
        assert [value for _, value in answer.top] == sorted(answer.probabilities, reverse=True)[:5]
        assert answer.top[0][0] == DATA.card.classes[int(row.argmax())]
        assert answer.energy == pytest.approx(-float(torch.logsumexp(row, 0)), abs=1e-5)
        assert answer.likely_none_of_these
        assert answer.latency_ms > 0
    assert not any(answer.likely_none_of_these for answer in classify(trained, images))  # no threshold, no warning
    assert classify(trained, images[:0]) == []


def test_the_model_sees_what_training_showed_it(trained: Checkpoint) -> None:
    from core.training.batches import DeviceImages

    data = DeviceImages(DATA.test, DATA.card, "cpu")
    images = next(data.chunks(5))[0]
    with torch.no_grad():
        assert torch.allclose(trained.model(images), logits_of(trained, DATA.test.images[:5], "none"), atol=1e-4)


def test_an_int8_checkpoint_answers_as_it_runs(trained: Checkpoint) -> None:
    made, images = to_int8(trained, DATA.train.images, Int8(images=64)), DATA.test.images[:7]
    network = OnnxNetwork(made.onnx)
    straight, mirrored = (network.logits(onnx_inputs(made.card, part)) for part in (images, images[:, :, ::-1]))
    np.testing.assert_allclose(logits_of(made, images, "none").numpy(), straight, atol=1e-4)
    np.testing.assert_allclose(logits_of(made, images, "flip").numpy(), (straight + mirrored) / 2, atol=1e-4)
    twin = logits_of(dataclasses.replace(made, onnx=b""), images, "none").numpy()
    assert np.abs(twin - straight).max() > 1e-4, "else this would tell nothing"
    fewer = dataclasses.replace(made.card.dataset, classes=DATA.card.classes[:3])
    with pytest.raises(LabError, match="has other classes"):
        classify(dataclasses.replace(made, card=dataclasses.replace(made.card, dataset=fewer)), images)


@pytest.mark.parametrize(
    "images", [np.zeros((1, 28, 32, 3), np.uint8), np.zeros((1, 32, 32, 3)), np.zeros((32, 32, 3), np.uint8)]
)
def test_an_image_of_another_size_is_refused(trained: Checkpoint, images: np.ndarray) -> None:
    with pytest.raises(LabError, match="32x32 pixels"):
        classify(trained, images)


def test_evaluation_against_counting_by_hand(trained: Checkpoint) -> None:
    shares: list[float] = []
    # The network answers all of these right, so every fifth label is moved on by one: mistakes are certain.
    labels = np.where(np.arange(200) % 5 == 0, (DATA.test.labels + 1) % 4, DATA.test.labels)
    files = tuple(f"{index}.png" for index in range(200))
    result = evaluate(trained, Split(images=DATA.test.images, labels=labels, files=files), on_progress=shares.append)
    answers = np.array([answer.probabilities for answer in classify(trained, DATA.test.images)])
    predicted = answers.argmax(axis=1)
    assert result.n == 200
    assert len(result.mistakes) >= 30
    assert result.accuracy == (predicted == labels).mean()
    for true in range(4):
        for guess in range(4):
            assert result.confusion[true][guess] == ((labels == true) & (predicted == guess)).sum()
        assert result.per_class[true].accuracy == (predicted[labels == true] == true).mean()
    assert len(result.mistakes) == (predicted != labels).sum()
    confidences = [mistake.confidence for mistake in result.mistakes]
    assert confidences == sorted(confidences, reverse=True)
    for mistake in result.mistakes:
        assert DATA.card.classes[labels[mistake.index]] == mistake.true
        assert DATA.card.classes[predicted[mistake.index]] == mistake.predicted
        assert mistake.file == f"{mistake.index}.png"
    of_one, as_one = ({item.index for item in result.images_of(**asked)} for asked in ({"true": 1}, {"answer": 1}))
    assert of_one == {*np.flatnonzero((labels == 1) & (predicted != 1))}, "of a class: its mistakes"
    assert as_one == {*np.flatnonzero(predicted == 1)}, "of an answer: all that got it"
    assert all(len(result.images_of(i, j)) == result.confusion[i][j] for i in range(4) for j in range(4))
    assert sum(item.n for item in result.calibration) == 200
    edges = np.clip((answers.max(axis=1) * 15).astype(int), 0, 14)
    gaps = [
        abs((predicted == labels)[edges == b].mean() - answers.max(axis=1)[edges == b].mean()) * (edges == b).sum()
        for b in np.unique(edges)
    ]
    assert result.ece == pytest.approx(sum(gaps) / 200, abs=1e-5)
    assert result.loss_nats == pytest.approx(-np.log(answers[np.arange(200), labels]).mean(), rel=1e-4)
    assert shares[-1] == 1.0
    assert json.loads(json.dumps(result.to_dict()))["n"] == 200


def test_wilson_interval_matches_published_values_and_covers() -> None:
    # Newcombe (1998), Statistics in Medicine 17, table I, method 3.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(0, 0) == (0.0, 1.0)
    hits = np.random.default_rng(0).binomial(200, 0.9, size=2000)
    covered = np.mean([low <= 0.9 <= high for low, high in (wilson(int(k), 200) for k in hits)])
    assert 0.93 < covered < 0.97


def test_temperature_finds_what_was_planted() -> None:
    torch.manual_seed(0)
    logits = torch.randn(20_000, 5) * 2
    labels = torch.distributions.Categorical(logits=logits).sample()
    for planted in (0.5, 1.0, 3.0):
        assert best_temperature(logits * planted, labels) == pytest.approx(planted, rel=0.05)


def test_calibration_flags_five_in_a_hundred_and_noise_far_more(trained: Checkpoint) -> None:
    calibration = calibrate(trained.card, DATA, lambda split: split_answers(trained, split))
    assert calibration.split == "validation"
    assert calibration.false_alarm_rate == pytest.approx(0.05, abs=0.006)
    assert calibration.images == 200
    flagged = dataclasses.replace(trained, card=dataclasses.replace(trained.card, calibration=calibration))
    ordinary = np.mean([answer.likely_none_of_these for answer in classify(flagged, DATA.validation.images)])
    assert ordinary == pytest.approx(calibration.false_alarm_rate)
    # No bright row, so no evidence for any class: a hundred shades of grey.
    grey = np.repeat(np.arange(30, 130, dtype=np.uint8), 32 * 32 * 3).reshape(100, 32, 32, 3)
    assert all(answer.likely_none_of_these for answer in classify(flagged, grey))


def test_a_network_that_left_only_test_images_is_calibrated_on_half_of_them_and_measured_on_the_rest(
    trained: Checkpoint,
) -> None:
    card = dataclasses.replace(trained.card, recipe={"train_on": "train+validation"})
    answers, half = split_answers(trained, DATA.test), calibration_half(200)
    assert half.sum() == 100
    calibration = calibrate(card, DATA, lambda split: split_answers(trained, split))
    fitted = fit_calibration(answers[torch.from_numpy(half)], DATA.test.labels[half], "test")
    assert dataclasses.replace(calibration, misses=None) == fitted
    assert (calibration.images, calibration.split) == (100, "test")
    wrong = Split(images=DATA.test.images, labels=np.where(half, DATA.test.labels, (DATA.test.labels + 1) % 4))
    data = dataclasses.replace(card.dataset, sizes={"test": 200})
    checkpoint = dataclasses.replace(trained, card=dataclasses.replace(card, calibration=calibration, dataset=data))
    found, of_validation = evaluate(checkpoint, wrong), evaluate(checkpoint, wrong, name="validation")
    assert found.n == 200
    assert found.accuracy == of_validation.accuracy
    assert sum(item.n for item in found.calibration) == 100
    assert all(item.accuracy < 0.1 for item in found.calibration), "those of the half, which are right, do not count"
    assert found.flagged == float((free_energy(answers.logits[~half]) > calibration.energy_threshold).float().mean())
    assert sum(item.n for item in of_validation.calibration) == 200
    one_less = evaluate(checkpoint, Split(images=DATA.test.images[:199], labels=DATA.test.labels[:199]))
    assert sum(item.n for item in one_less.calibration) == 199, "which of these it was calibrated on is not known"


@pytest.mark.parametrize(("train_on", "split", "share"), [("train", "validation", 1), ("train+validation", "test", 2)])
def test_fewer_than_a_hundred_images_set_no_temperature_and_fewer_than_19_no_threshold(
    trained: Checkpoint, train_on: str, split: str, share: int
) -> None:
    card = dataclasses.replace(trained.card, recipe={"train_on": train_on})
    for n in (100, 99, 19, 18):
        some = Split(images=DATA.test.images[: share * n], labels=DATA.test.labels[: share * n])
        data = dataclasses.replace(DATA, **{split: some})
        found = calibrate(card, data, lambda split: split_answers(trained, split))
        assert found.images == (100 if n == 100 else 0)
        assert found.set_on == (0 if n == 18 else n)
        assert (found.energy_threshold is None) == (n == 18)
        assert (found.temperature == 1.0) == (n < 100)
        assert (found.misses is None) == (n == 18)


@pytest.mark.parametrize("n", [19, 30, 99, 1000])
def test_a_threshold_of_few_images_gives_at_most_5_percent_false_alarms_on_average(n: int) -> None:
    torch.manual_seed(0)
    rates = []
    for _ in range(2000):
        threshold = warning_threshold(torch.randn(n))
        assert threshold is not None
        rates.append(1 - float(torch.special.ndtr(torch.tensor(threshold))))
    assert 0.02 < np.mean(rates) < 0.0515
    assert np.mean(rates) == pytest.approx(1 - math.ceil(0.95 * (n + 1) - 1e-9) / (n + 1), abs=0.002)


def test_logits_that_are_not_numbers_give_no_calibration() -> None:
    assert fit_calibration(Answers(torch.full((4, 2), torch.nan)), np.zeros(4)) == Calibration()


@pytest.mark.parametrize(
    ("metrics", "n"),
    [
        ({"test_accuracy": 0.9, "test_images": 50}, 50),
        ({"test_accuracy": 1}, 200),  # as many as its dataset has
        ({}, None),
        ({"test_accuracy": None}, None),
        ({"test_accuracy": True}, None),
        ({"test_accuracy": "0.9"}, None),
        ({"test_accuracy": 1.01}, None),
        ({"test_accuracy": math.nan}, None),
        ({"test_accuracy": 10**400}, None),
        *(({"test_accuracy": 0.9, "test_images": images}, None) for images in (True, 10**400, 0, -3, 50.0, "50", None)),
    ],
)
def test_the_accuracy_on_a_card_has_an_interval_or_is_not_known(metrics: dict[str, Any], n: int | None) -> None:
    data = dataclasses.replace(DATA.card, sizes={"test": 200})
    card = Card(title="A test", model="simple_cnn", model_config={}, dataset=data, metrics=metrics, tta="flip")
    known = card_accuracy(card)
    if n is None:
        assert known is None
    else:
        assert known is not None
        assert (known.accuracy, known.n, known.tta) == (metrics["test_accuracy"], n, "flip")
        assert known.interval == wilson(round(known.accuracy * n), n)
        compressed = dataclasses.replace(card, compression={"original": "x", "steps": []})
        assert card_accuracy(compressed) == dataclasses.replace(known, tta="none"), "measured on one view"

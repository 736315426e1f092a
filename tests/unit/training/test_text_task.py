"""Training on text: which characters a step reads, the carried state, exact resume, and what is refused."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from core.common.errors import LabError
from core.data.dataset import UNKNOWN, TextDataset
from core.data.text import build, digest
from core.training.config import IMAGES_ONLY, TrainConfig
from core.training.recipes import RECIPES
from core.training.results import EvalResult, StepResult
from core.training.session import TrainSession
from core.training.task import Validation
from core.training.text_task import TextTask
from core.training.trainer import train
from tests.tiny_text import play
from tests.unit.builders import synthetic

RNN = {"width": 16, "embedding": 16, "layers": 2, "dropout": 0.2}
SMALL = TrainConfig(
    model="char_lstm",
    model_config=RNN | {"dropout": 0.0},
    dataset="text:/x",
    epochs=2,
    batch_size=8,
    window=32,
    state_reset=0.0,
    lr=5e-3,
)
OTHER_SHAPE = SMALL.replace(model_config=RNN | {"width": 8})
GPT = {"width": 16, "layers": 2, "heads": 2, "context": 32, "dropout": 0.1}
CONFIGS = {
    "lstm-everything": RECIPES["char_lstm"]["default"].replace(
        epochs=1.5,
        batch_size=8,
        window=32,
        state_reset=0.3,
        eval_every=0.5,
        average="ema",
        average_decay=0.9,
        average_every=3,
        early_stopping=9,
        model_config=RNN | {"variational": True, "weight_drop": 0.3},
    ),
    "lstm-weight-drop-only": SMALL.replace(model_config=RNN | {"dropout": 0.0, "weight_drop": 0.5}),
    "rnn-tied-sgd": SMALL.replace(model="char_rnn", model_config=RNN | {"tied": True}, optimizer="sgd", lr=0.3),
    "gru-bfloat16": SMALL.replace(model="char_gru", precision="bfloat16", label_smoothing=0.1, epochs=1.2),
    "gpt": SMALL.replace(model="char_gpt", model_config=GPT, schedule="cosine", warmup=0.2, grad_clip=0.5, epochs=1.5),
}
RECURRENT = ("char_rnn", "char_gru", "char_lstm")


def dataset(content: str, title: str = "A play") -> TextDataset:
    return build(content, name="text:/x", title=title, source="a test", sha256=digest(content))


DATA = dataset(play(3200))


def session(config: TrainConfig = SMALL, data: Any = DATA) -> TrainSession:
    return TrainSession.start(config, data, "cpu")


def places(config: TrainConfig, data: TextDataset = DATA) -> TextTask:
    """A task whose characters are their own places, so that its batches tell where in the text they were read."""
    task = TextTask(config, data, "cpu", torch.autocast("cpu", enabled=False))
    task.tokens = torch.arange(len(task.tokens))
    return task


def one_epoch(task: TextTask, epoch: int = 0) -> list[tuple[Tensor, Tensor]]:
    batches = task.batches(epoch * task.steps_per_epoch)
    return [next(batches) for _ in range(task.steps_per_epoch)]


def test_a_recurrent_model_reads_on_in_each_stream() -> None:
    task = places(SMALL)
    for epoch in (0, 1, 5):
        batches = one_epoch(task, epoch)
        assert all(torch.equal(inputs + 1, targets) for inputs, targets in batches)
        streams = torch.cat([inputs for inputs, _ in batches], 1)  # (8, characters of an epoch)
        assert (streams.diff(dim=1) == 1).all()
        read = streams.flatten()
        assert torch.equal(read, torch.arange(int(read[0]), int(read[0]) + len(read)))  # one stream follows another
        assert len(DATA.train) - len(read) < 8 * 32 + 2 * 32


def test_a_transformer_reads_the_same_windows_in_a_new_order() -> None:
    task = places(SMALL.replace(model="char_gpt", model_config=GPT))
    orders = []
    for epoch in (0, 1):
        batches = one_epoch(task, epoch)
        assert all(torch.equal(inputs + 1, targets) for inputs, targets in batches)
        windows = torch.cat([inputs for inputs, _ in batches])  # (windows, 32)
        assert (windows.diff(dim=1) == 1).all()
        read = windows.flatten().sort().values
        assert (read.diff() == 1).all()
        orders.append((windows[:, 0] - read[0]).tolist())
    assert orders[0] != sorted(orders[0])
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])


@pytest.mark.parametrize("model", ["char_lstm", "char_gpt"])
def test_windows_begin_elsewhere_every_epoch_by_the_seed_alone(model: str) -> None:
    config = SMALL.replace(model=model, model_config={})

    def offsets(seed: int) -> list[int]:
        task = places(config.replace(seed=seed))
        return [min(int(inputs.min()) for inputs, _ in one_epoch(task, epoch)) for epoch in range(12)]

    assert offsets(3) == offsets(3)
    assert offsets(3) != offsets(4)
    assert len(set(offsets(3))) > 6
    assert all(0 <= offset < 32 for offset in offsets(3))


@pytest.mark.parametrize("model", ["char_lstm", "char_gpt"])
def test_no_size_of_text_batch_and_window_reads_past_the_end(model: str) -> None:
    random = np.random.default_rng(0)
    content = "ab" * 5000
    for _ in range(60):
        length = int(random.integers(1000, 6000))
        batch, window = int(random.integers(1, 80)), int(random.choice([1, 2, 31, 128, 256, 257, 700]))
        context = {"context": 1000} if model == "char_gpt" else {}
        config = SMALL.replace(model=model, model_config=context, batch_size=batch, window=window)
        task = places(config, dataset(content[:length]))
        assert 1 <= task.batch_size <= batch
        assert 1 <= task.window <= window
        assert task.steps_per_epoch >= 1
        for epoch in range(3):
            batches = one_epoch(task, epoch)  # an index past the end would raise
            read = torch.cat([inputs.flatten() for inputs, _ in batches])
            assert all(inputs.shape == (task.batch_size, task.window) for inputs, _ in batches)
            assert len(read) == len(read.unique()) == task.steps_per_epoch * task.step_examples
            assert len(read) > 0.5 * len(task.tokens)


@pytest.mark.parametrize("model", RECURRENT)
def test_the_second_window_goes_on_from_the_first(model: str) -> None:
    run = session(SMALL.replace(model=model))
    task, net = run.task, run.model.eval()
    batches = run.batches()
    windows = [next(batches) for _ in range(3)]
    task.begin(net)
    losses = [task.loss(net, *window)[0] for window in windows]
    assert all(not part.requires_grad for parts in task.carried for part in parts)
    joined, _ = net(torch.cat([inputs for inputs, _ in windows], 1))
    for index, (logits, (_, targets)) in enumerate(zip(joined.split(32, 1), windows)):
        assert torch.allclose(losses[index], F.cross_entropy(logits.flatten(0, 1), targets.flatten()), atol=1e-5)
    task.begin(net)
    assert not torch.allclose(task.loss(net, *windows[1])[0], losses[1], atol=1e-5)


def test_the_state_is_carried_within_an_epoch_and_dropped_at_its_end() -> None:
    run = session()
    seen = []
    for index, (inputs, targets) in zip(range(2 * run.steps_per_epoch + 1), run.batches()):
        seen.append(run.task.carried is None)
        run.task.loss(run.model, inputs, targets)
        assert run.task.carried is not None
        assert seen[-1] == (index % run.steps_per_epoch == 0)
    transformer = session(CONFIGS["gpt"].replace(state_reset=1.0))  # which means nothing for it
    transformer.task.loss(transformer.model, *next(transformer.batches()))
    assert transformer.task.carried is None


def test_a_stream_forgets_as_often_as_asked_and_by_the_seed_alone() -> None:
    def kept(share: float, seed: int = 0, first: int = 0) -> Tensor:
        """(steps, streams): which states three epochs keep, from step `first` on."""
        task = places(SMALL.replace(state_reset=share, seed=seed))
        steps = 3 * task.steps_per_epoch
        batches, found = task.batches(first), []
        for step in range(first, steps):
            task.carried = [(torch.full((8, 16), 7.0), torch.full((8, 16), -7.0))] * 2
            next(batches)
            if step % task.steps_per_epoch == 0:
                assert task.carried is None
                continue
            states = torch.cat([part for parts in task.carried for part in parts], 1)  # (8, 4 x 16)
            assert ((states.abs() == 7) | (states == 0)).all()
            assert (states.abs() == states[:, :1].abs()).all()  # all of a stream or nothing of it
            found.append(states[:, 0] != 0)
        return torch.stack(found)

    assert kept(0.0).all()
    assert not kept(1.0).any()
    some = kept(0.3)
    assert float(some.float().mean()) == pytest.approx(0.7, abs=0.1)
    assert torch.equal(some, kept(0.3))
    assert torch.equal(some[-5:], kept(0.3, first=3 * session().steps_per_epoch - 5))
    assert not torch.equal(some, kept(0.3, seed=1))
    per_epoch = len(some) // 3
    assert not torch.equal(some[:per_epoch], some[per_epoch : 2 * per_epoch])


def test_a_loss_counts_every_character_of_the_batch() -> None:
    run = session(SMALL.replace(label_smoothing=0.2))
    inputs, targets = next(run.batches())
    loss, right = run.task.loss(run.model.eval(), inputs, targets)
    log = run.model(inputs)[0].log_softmax(2)
    picked = log.gather(2, targets[..., None]).mean()
    assert torch.allclose(loss, -0.8 * picked - 0.2 * log.mean(), atol=1e-5)
    assert int(right) == sum(int(row.argmax() == wanted) for row, wanted in zip(log.flatten(0, 1), targets.flatten()))


def test_every_character_is_counted_and_reported() -> None:
    results = list(train(session()))
    steps = [result for result in results if isinstance(result, StepResult)]
    evaluations = [result for result in results if isinstance(result, EvalResult)]
    per_epoch = session().steps_per_epoch
    assert [result.step for result in steps] == list(range(1, 2 * per_epoch + 1))
    assert steps[-1].examples == 2 * per_epoch * 8 * 32
    last_epoch = [result.train_loss_nats or math.nan for result in steps[per_epoch:]]
    assert evaluations[-1].train_loss_nats == pytest.approx(sum(last_epoch) / per_epoch)
    best = min(result.val_loss_nats for result in evaluations)
    assert [result.val_loss_nats for result in evaluations if result.is_best][-1] == best
    assert (results[-1].reason, results[-1].best_val_loss_nats) == ("completed", best)


def test_the_best_is_the_one_with_the_lowest_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    task = session().task
    worse_guesses = Validation(loss_nats=1.0, accuracy=0.1)
    assert task.is_better(worse_guesses, None, None)
    assert task.is_better(worse_guesses, 0.9, 1.1)
    assert not task.is_better(Validation(loss_nats=1.2, accuracy=0.95), 0.9, 1.1)
    assert not task.is_better(Validation(loss_nats=math.nan, accuracy=0.95), None, None)
    run = session(SMALL.replace(epochs=5, early_stopping=2))
    script = [2.0, 1.5, 1.7, 1.4, 1.4, 1.45]
    scripted = (Validation(loss_nats=loss, accuracy=0.9 - index / 10) for index, loss in enumerate(script))
    monkeypatch.setattr(run.task, "validate", lambda model: next(scripted))
    results = list(train(run))
    assert [result.is_best for result in results if isinstance(result, EvalResult)] == [True, True, False, True, False]
    assert results[-1].best_val_loss_nats == 1.4
    assert results[-1].best_val_accuracy == pytest.approx(0.6)


def test_validation_scores_what_training_saw_and_nothing_else() -> None:
    content = play(3600)
    start = int(0.9 * len(content))
    rare = "".join("é" if index % 7 == 3 else each for index, each in enumerate(content[start:]))
    run = session(data=dataset(content[:start] + rare))
    tokens = run.task.validation
    assert (tokens == UNKNOWN).sum() == run.task.validation.numel() // 7
    space = run.task.card.vocabulary.index(" ")
    found = run.task.validate(run.model.eval())
    with torch.no_grad():
        log = run.model(torch.where(tokens == UNKNOWN, space, tokens)[None, :-1])[0][0].log_softmax(1).double()
    known = [(row, int(token)) for row, token in zip(log, tokens[1:]) if token != UNKNOWN]
    assert found.loss_nats == pytest.approx(float(-sum(row[token] for row, token in known) / len(known)), abs=1e-5)
    assert found.accuracy == pytest.approx(sum(int(row.argmax()) == token for row, token in known) / len(known))
    with pytest.raises(LabError, match="^The validation part of A play has no character that training saw: .*\\.$"):
        session(data=dataset(content[:start] + "é" * (len(content) - start)))


@pytest.mark.parametrize("model", [*RECURRENT, "char_gpt"])
def test_it_learns_the_play(model: str) -> None:
    data = dataset(play(12_000))
    tokens = data.train.tolist()
    unigram = -sum(n / len(tokens) * math.log(n / len(tokens)) for n in Counter(tokens).values())
    config = SMALL.replace(model=model, model_config={"width": 48, "layers": 1}, epochs=4, window=64, lr=1e-2)
    if model == "char_gpt":
        config = config.replace(model_config={"width": 48, "layers": 2, "heads": 4}, epochs=8, batch_size=4, lr=3e-3)
    config = config.replace(model_config=config.model_settings | {"dropout": 0.0}, grad_clip=1.0)
    results = list(train(session(config, data)))
    evaluations = [result for result in results if isinstance(result, EvalResult)]
    assert evaluations[-1].val_loss_nats < 0.5 * unigram
    assert evaluations[-1].val_accuracy > 0.5


@pytest.mark.parametrize("model", [*RECURRENT, "char_gpt"])
def test_the_shortest_text_trains_with_the_usual_batch_and_window(model: str) -> None:
    recipe = RECIPES[model]["default"]
    small = {"width": 16, "layers": 1} | ({"heads": 2} if model == "char_gpt" else {})
    run = session(recipe.replace(model_config=small, epochs=3), dataset(play(1000)))
    results = list(train(run))
    assert results[-1].reason == "completed"
    losses = [result.train_loss_nats or math.nan for result in results if isinstance(result, StepResult)]
    assert all(math.isfinite(loss) for loss in losses)
    assert len(losses) >= 6


def test_a_transformer_has_no_place_that_training_never_reaches() -> None:
    def context(window: int, **settings: int) -> int:
        run = session(SMALL.replace(model="char_gpt", model_config={"width": 8, "heads": 2, **settings}, window=window))
        assert run.card("x").model_config["context"] == run.model.config.context == len(run.model.position.weight)
        return run.model.config.context

    assert context(64) == 64
    assert context(256) == 256
    assert context(40, context=50) == 40
    assert context(40, context=40) == 40
    assert context(2000, context=2000) == (len(DATA.train) - 1) // 4
    assert context(1) == 2


@pytest.mark.parametrize("name", IMAGES_ONLY)
def test_what_is_for_images_is_refused_for_a_text(name: str) -> None:
    values = {
        "train_on": "train+validation",
        "flip": "random",
        "auto_augment": "trivialaugment",
        "augmentation": "flip@0.5",
        "tta": "flip",
        "balance": "weights",
    }
    values |= {
        "train_layers": "head",
        "body_lr_factor": 0.5,
        "noise": 0.1,
        "extra_dataset": "cifar10",
        "extra_only": True,
    }
    # What needs another setting for images cannot even be asked for alone.
    alone = {
        "train_layers": "^train_layers='head' needs a network",
        "extra_images": "^extra_images=2 needs a dataset",
        "extra_only": "^extra_only=True needs a dataset",
        "consistency": "^consistency=2 is not valid: it compares views",
    }
    words = alone.get(name, f"^{name}=.* is for images: .*text\\.$")
    with pytest.raises(LabError, match=words):
        session(SMALL.replace(**{name: values.get(name, 2)}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"optimizer": "muon"}, "optimizer='muon' is for convolutions: choose adamw, adam or sgd"),
        (
            {"model": "char_gpt", "window": 257, "model_config": {}},
            "window=257 is not valid: char_gpt reads at most 256",
        ),
        ({"model": "simple_cnn", "model_config": {}}, "Simple CNN cannot learn A play, which is a text"),
        ({"model": "char_rrn", "model_config": {}}, "There is no model named 'char_rrn': choose one of "),
        ({"model_config": {"width": 0}}, "width=0 is not valid"),
    ],
)
def test_what_does_not_fit_a_text_is_one_sentence(changes: dict, words: str) -> None:
    with pytest.raises(LabError, match=rf"^{words}.*\.$") as caught:
        session(SMALL.replace(**changes))
    assert str(caught.value).count(". ") == 0


def test_images_are_refused_by_a_language_model() -> None:
    for model in (*RECURRENT, "char_gpt"):
        with pytest.raises(LabError, match="cannot learn Synthetic, which is images: choose another of both\\.$"):
            session(TrainConfig(model=model), synthetic())

"""Training that goes on from a checkpoint: zeros that stay, weights that go on the way, first weights again, 8-bit rounding."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from core.checkpoints.store import Checkpoint, load_checkpoint, save_checkpoint
from core.common.errors import LabError
from core.compression.methods import pruning
from core.compression.methods.channels import prune_channels
from core.compression.methods.distill import Teaching, soft_targets
from core.compression.methods.finetune import FineTuneSession, tune_config
from core.compression.methods.pruning import magnitude_masks, masks_of, prunable
from core.compression.steps import (
    Distill,
    FineTune,
    LotteryTicket,
    PruneChannels,
    PruneGradually,
    PruneWeights,
    TrainingStep,
    TrainQuantized,
)
from core.data.dataset import Dataset
from core.training.config import TrainConfig
from core.training.results import EvalResult, Finished, StepResult
from core.training.session import TrainSession
from core.training.trainer import train
from tests.unit.compression.compressible import snapshot
from tests.unit.compression.trainable import IMAGES, TEXT, weights

RESNET = TrainConfig(
    model="fast_resnet",
    model_config={"widths": [8, 8, 8]},
    epochs=2,
    batch_size=24,
    lr=3e-3,
    seed=5,
    crop_padding=2,
    flip="random",
    mixup=0.2,
    average="ema",
    average_decay=0.9,
    early_stopping=1,
    device="cpu",
)
CNN = RESNET.replace(model="simple_cnn", model_config={"widths": [6, 8], "batch_norm": True})
WRITER = TrainConfig(
    model="char_lstm",
    model_config={"width": 12, "embedding": 12, "layers": 1},
    dataset="text:/x",
    epochs=1.0,
    batch_size=8,
    window=32,
    lr=5e-3,
    device="cpu",
)
GPT = WRITER.replace(model="char_gpt", model_config={"width": 16, "layers": 1, "heads": 2, "context": 64})
_made: dict[str, Checkpoint] = {}


def trained(config: TrainConfig) -> Checkpoint:
    """A network with its own recipe on its card, after a little training."""
    key = str(config)
    if key not in _made:
        data: Dataset = TEXT if config.model.startswith("char") else IMAGES
        session = TrainSession.start(config, data, "cpu")
        for result in train(session):
            if isinstance(result, EvalResult):
                break
        model = session.eval_model().requires_grad_(False)
        _made[key] = Checkpoint("original", session.card("Original"), model)
    return _made[key]


def sparse(config: TrainConfig = CNN, amount: float = 0.6) -> Checkpoint:
    return pruning.prune_weights(trained(config), PruneWeights(amount=amount))


def tune(
    checkpoint: Checkpoint, step: TrainingStep, teacher: Checkpoint | None = None, seed: int = 1
) -> FineTuneSession:
    data: Dataset = TEXT if checkpoint.card.task == "text" else IMAGES
    session = FineTuneSession(checkpoint, step, data, seed=seed, device="cpu")
    if teacher is not None:
        task: Any = session.task
        targets = soft_targets(teacher, data, task)
        session.teach(Teaching(targets=targets, alpha=0.5, temperature=4.0))
    return session


def zeros(model: nn.Module) -> int:
    return sum(int((weight == 0).sum()) for weight in prunable(model).values())


def size(model: nn.Module) -> int:
    return sum(weight.numel() for weight in prunable(model).values())


@pytest.mark.parametrize("config", [CNN, WRITER], ids=lambda config: config.model)
def test_zeros_stay_zero_and_the_rest_learns(config: TrainConfig) -> None:
    before = sparse(config)
    session = tune(before, FineTune(epochs=1.0, alpha=0.0, lr=0.01))
    start = masks_of(before.model)
    for result in train(session):
        if isinstance(result, StepResult):
            now = prunable(session.model)
            assert all(not now[name][~mask].any() for name, mask in start.items())
    changed = [
        name for name, mask in start.items() if not torch.equal(now[name][mask], prunable(before.model)[name][mask])
    ]
    assert changed == list(start)
    made = session.result()
    assert zeros(made.model) == zeros(before.model) == round(0.6 * size(before.model))


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_pruning_on_the_way_ends_at_its_amount_and_never_goes_back(scope: str) -> None:
    original = trained(CNN)
    session = tune(original, PruneGradually(amount=0.83, epochs=4.0, alpha=0.0, scope=scope))
    assert session.total_steps == 16
    counts = [zeros(session.model)]
    counts += [zeros(session.model) for result in train(session) if isinstance(result, StepResult)]
    assert counts == sorted(counts)
    assert counts[0] < counts[1] < counts[5] < counts[11]
    whole = [round(0.83 * weight.numel()) for weight in prunable(original.model).values()]
    expected = round(0.83 * size(original.model)) if scope == "global" else sum(whole)
    assert counts[-1] == counts[-3] == expected, "the last steps train what is left"
    assert zeros(session.result().model) == expected


@pytest.mark.parametrize("config", [RESNET, CNN.replace(average="none", probe_images=96), GPT], ids=lambda c: c.model)
def test_a_lottery_ticket_starts_from_the_first_weights_under_the_mask_of_the_last(config: TrainConfig) -> None:
    original = trained(config)
    session = tune(original, LotteryTicket(amount=0.7, epochs=1.0), seed=77)
    data: Dataset = TEXT if original.card.task == "text" else IMAGES
    fresh = TrainSession.start(TrainConfig.from_dict(original.card.recipe), data, "cpu").model
    masks = magnitude_masks(original.model, 0.7)
    kept, pruned = prunable(session.model), prunable(fresh)
    assert list(kept) == list(masks)
    for name, mask in masks.items():
        assert torch.equal(kept[name], pruned[name] * mask)
    others = [name for name in fresh.state_dict() if name not in masks]
    assert others
    assert all(torch.equal(session.model.state_dict()[name], fresh.state_dict()[name]) for name in others)
    assert session.config == TrainConfig.from_dict(original.card.recipe).replace(
        model_config=original.card.model_config,
        dataset=original.card.dataset.name,
        epochs=1.0,
        keep="last",
        early_stopping=0,
        eval_every=0.25,
        window=session.config.window,
    )
    list(train(session))
    result = session.result()
    assert not any(prunable(result.model)[name][~mask].any() for name, mask in masks.items())
    assert not all(torch.equal(prunable(result.model)[name], pruned[name] * mask) for name, mask in masks.items())


STEPS: dict[str, tuple[TrainConfig, TrainingStep]] = {
    "fine-tune": (CNN, FineTune(epochs=1.5, alpha=0.5)),
    "fine-tune-text": (WRITER, FineTune(epochs=0.6, alpha=0.5)),
    "fine-tune-gpt": (GPT, FineTune(epochs=0.6, alpha=0.5)),
    "prune": (CNN, PruneGradually(epochs=2.0, alpha=0.5)),
    "ticket": (RESNET, LotteryTicket(epochs=1.5)),
    "quantized": (CNN, TrainQuantized(epochs=4.0, lr=0.02)),
    "distill": (RESNET, Distill(epochs=4.0, student_config={"widths": [4, 4], "dropout": 0.2})),
}


@pytest.mark.usefixtures("lab_home")
@pytest.mark.parametrize("name", STEPS)
def test_a_resumed_session_is_the_same_session(name: str, tmp_path: Path) -> None:
    config, step = STEPS[name]
    original = sparse(config) if isinstance(step, FineTune) else trained(config)
    helped = not isinstance(step, LotteryTicket | TrainQuantized)
    teacher = trained(config) if helped else None
    before = snapshot(original)
    whole = tune(original, step, teacher)
    expected = list(train(whole))
    assert isinstance(expected[-1], Finished)
    assert expected[-1].reason == "completed"
    evaluation = next(index for index, result in enumerate(expected) if isinstance(result, EvalResult))
    for cut in (evaluation, len(expected) - 3):
        first = tune(original, step, teacher)
        results = []
        for result in train(first):
            results.append(result)
            if len(results) == cut + 1:
                break
        assert first.save_state(tmp_path / "state.pt")
        torch.manual_seed(999)
        second = tune(original, step, teacher)
        second.load_state(tmp_path / "state.pt")
        assert results + list(train(second)) == expected
        assert all(torch.equal(a, b) for a, b in zip(weights(second), weights(whole), strict=True))
        assert all(torch.equal(whole.masks[key], mask) for key, mask in second.masks.items())
    assert snapshot(original) == before, "the checkpoint that it began with is as it was"
    made = whole.result()
    assert made.card.compression["original"] == "original"
    assert made.card.compression["steps"][-1] == step.to_dict()
    assert made.card.parent == original.name
    assert made.card.dataset == original.card.dataset
    assert made.card.step == whole.total_steps


def test_a_student_is_trained_as_it_would_be_without_a_teacher() -> None:
    """The control of a distillation: the student's own recipe, first weights included."""
    teacher = trained(RESNET)
    step = Distill(student="simple_cnn", student_config={"widths": [4, 4]}, epochs=2.0, alpha=0.0, lr=2e-3)
    session = tune(teacher, step, seed=3)
    plain = TrainSession.start(session.config, IMAGES, "cpu")
    assert (session.config.seed, session.config.epochs, session.config.lr) == (3, 2.0, 2e-3)
    results = [list(train(item)) for item in (session, plain)]
    assert results[0] == results[1]
    assert all(torch.equal(a, b) for a, b in zip(weights(session), weights(plain), strict=True))
    card, own = session.result().card, plain.card("Original")
    assert (card.model, card.model_config) == (own.model, own.model_config)
    assert card.parameters == sum(value.numel() for value in plain.model.parameters())
    assert (card.parent, card.tta, card.recipe) == ("original", "none", own.recipe)


@pytest.mark.parametrize(("teacher", "student"), [(CNN, "fast_resnet"), (RESNET, "simple_cnn"), (WRITER, "char_gpt")])
def test_a_student_of_another_kind_can_be_rebuilt(teacher: TrainConfig, student: str, tmp_path: Path) -> None:
    sizes: dict[str, Any] = {"simple_cnn": {"widths": [4, 4]}, "fast_resnet": {"widths": [4, 4, 4]}}
    settings = sizes.get(student, {"width": 8, "layers": 1, "heads": 2, "context": 24})
    session = tune(trained(teacher), Distill(student=student, student_config=settings, epochs=0.2, alpha=0.0))
    for _ in train(session):
        break
    made = session.result()
    save_checkpoint(tmp_path, made.model, made.card)
    again = load_checkpoint(str(tmp_path))
    assert again.card.model == student
    assert all(torch.equal(again.model.state_dict()[name], value) for name, value in made.model.state_dict().items())


@pytest.mark.parametrize("step", [FineTune(epochs=1.0), TrainQuantized(epochs=1.0), PruneGradually(epochs=2.0)])
def test_a_network_with_fewer_channels_trains_on_and_is_rebuilt_from_its_card(
    step: TrainingStep, tmp_path: Path
) -> None:
    thin = prune_channels(trained(RESNET), PruneChannels(amount=0.5))
    assert thin.card.model_config["changed_layers"]
    session = tune(thin, step)
    assert sum(value.numel() for value in session.model.parameters()) < 0.5 * size(trained(RESNET).model)
    list(train(session))
    session.save_state(tmp_path / "state.pt")
    resumed = tune(thin, step)
    resumed.load_state(tmp_path / "state.pt")
    made = resumed.result()
    assert made.card.model_config["changed_layers"] == thin.card.model_config["changed_layers"]
    assert [done["step"] for done in made.card.compression["steps"]] == ["prune_channels", step.to_dict()["step"]]
    card = save_checkpoint(tmp_path / "made", made.model, made.card)
    again = load_checkpoint(str(tmp_path / "made"))
    assert again.card.model_config["changed_layers"] == card.model_config["changed_layers"]
    found, begun = again.model.state_dict(), thin.model.state_dict()
    assert all(torch.equal(found[name], value) for name, value in made.model.state_dict().items())
    assert not torch.equal(found["head.weight"], begun["head.weight"])
    with pytest.raises(LabError, match="choose Fine-tune"):
        tune_config(thin.card, LotteryTicket(), seed=0, device="cpu")


@pytest.mark.parametrize(
    "recipe", [{}, {"flip": "sideways", "crop_padding": None, "window": "x", "epoch": 3}, {"recipe": "?"}]
)
@pytest.mark.parametrize("config", [CNN, WRITER, GPT], ids=lambda config: config.model)
def test_a_card_without_a_usable_recipe_can_be_fine_tuned_but_not_begun_anew(
    config: TrainConfig, recipe: dict[str, Any]
) -> None:
    given = trained(config)
    bare = dataclasses.replace(given, card=dataclasses.replace(given.card, recipe=recipe))
    session = tune(bare, FineTune(epochs=0.4))
    usual = TrainConfig()
    assert session.config.batch_size == (125 if config == CNN else usual.batch_size)
    assert (session.config.flip, session.config.crop_padding) == (usual.flip, usual.crop_padding)
    assert isinstance(list(train(session))[-1], Finished)
    with pytest.raises(LabError, match=r"^The first weights of Original are not known .*: choose Fine-tune\.$"):
        tune(bare, LotteryTicket())


def test_what_went_on_from_other_weights_is_no_lottery_ticket() -> None:
    tuned = tune(trained(CNN), FineTune(epochs=1.0)).result()
    with pytest.raises(LabError, match="choose Fine-tune"):
        tune(tuned, LotteryTicket())


def test_a_step_trains_by_the_recipe_of_the_original_or_gently() -> None:
    card = trained(CNN).card
    gentle = tune_config(card, FineTune(epochs=3.0, schedule="gentle"), seed=4, device="cpu")
    assert (gentle.flip, gentle.crop_padding, gentle.mixup, gentle.average) == ("random", 2, 0.0, "none")
    assert (gentle.optimizer, gentle.lr, gentle.epochs, gentle.seed, gentle.keep) == ("sgd", 0.02, 3.0, 4, "last")
    changes: dict[str, Any] = {"epochs": 3.0, "seed": 4, "keep": "last", "eval_every": 0.5, "early_stopping": 0}
    changes |= {"recipe": "fine-tuning", "dataset": "synthetic", "model_config": card.model_config}
    own = TrainConfig.from_dict(card.recipe).replace(**changes)
    assert tune_config(card, FineTune(epochs=3.0), seed=4, device="cpu") == own
    helped = tune_config(card, PruneGradually(epochs=3.0, alpha=0.5, lr=0.1), seed=4, device="cpu")
    assert helped == own.replace(mixup=0.0, lr=0.1), "what a teacher says of an image cannot be mixed"
    text = tune_config(trained(WRITER).card, FineTune(lr=0.1, schedule="gentle"), seed=4, device="cpu")
    assert (text.optimizer, text.lr, text.window, text.batch_size) == ("adamw", 0.1, 32, 8)


def test_a_transformer_is_read_as_far_as_it_was_trained() -> None:
    """Its context is that of its windows, which may be fewer than its recipe asks for."""
    short = TrainSession.start(GPT.replace(window=64), _shorter(200), "cpu")
    assert short.model_config["context"] < 64
    original = Checkpoint("short", short.card("Short"), short.eval_model())
    for step in (FineTune(epochs=1.0), LotteryTicket(epochs=1.0)):
        session = FineTuneSession(original, step, _shorter(200), device="cpu")
        assert session.config.window == session.model_config["context"] == short.model_config["context"]
    with pytest.raises(LabError, match=r"has changed since Short was trained on it: put the data back as they were\.$"):
        FineTuneSession(original, FineTune(), _shorter(100), device="cpu")


def _shorter(characters: int) -> Any:
    return dataclasses.replace(TEXT, train=TEXT.train[:characters])


def test_data_that_are_no_longer_those_of_the_original_are_refused() -> None:
    def session(checkpoint: Checkpoint, data: Dataset, **card: Any) -> FineTuneSession:
        changed: Any = dataclasses.replace(data, card=dataclasses.replace(data.card, **card))
        return FineTuneSession(checkpoint, FineTune(epochs=1.0), changed, device="cpu")

    with pytest.raises(LabError, match="^Synthetic no longer has the classes"):
        session(trained(CNN), IMAGES, classes=("b", "a", "c", "d"))
    with pytest.raises(LabError, match="^A play no longer has the characters"):
        session(trained(WRITER), TEXT, vocabulary="☃" + TEXT.card.vocabulary[1:])
    with pytest.raises(LabError, match="^A play no longer has the kind of data"):
        session(trained(CNN), TEXT)
    # Images are normalised as the network knows them, whatever their mean is now.
    other, same = (
        session(trained(CNN), IMAGES, mean=(0.9, 0.9, 0.9)),
        tune(trained(CNN), FineTune(epochs=1.0), seed=0),
    )
    assert torch.equal(next(other.batches())[0], next(same.batches())[0])

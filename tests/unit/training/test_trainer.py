"""The trainer: exact resume, what it yields, and how it ends."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from core.common.errors import LabError
from core.data.dataset import ImageDataset
from core.training.config import TrainConfig
from core.training.recipes import RECIPES
from core.training.results import EvalResult, StepResult
from core.training.session import TrainSession
from core.training.trainer import evaluate, train
from tests.unit.builders import synthetic

DATA = synthetic()
SMALL = TrainConfig(model="simple_cnn", epochs=3, batch_size=64, lr=3e-3)
OTHER_SHAPE = SMALL.replace(model_config={"widths": [8, 8]})
CONFIGS = {
    "adamw-ema-dropout": RECIPES["simple_cnn"]["default"].replace(
        epochs=3,
        batch_size=64,
        cutout=6,
        model_config={"widths": [8, 8], "dropout": 0.3, "batch_norm": True},
        early_stopping=5,
    ),
    "muon-ema-clip": RECIPES["fast_resnet"]["default"].replace(
        epochs=4,
        batch_size=80,
        lr=0.1,
        grad_clip=1.0,
        grad_accumulation=2,
        average="ema",
        average_decay=0.5,
        average_every=2,
        model_config={"widths": [8, 16, 16], "depth": 3},
    ),
    "every-technique": RECIPES["fast_resnet"]["default"].replace(
        epochs=3,
        batch_size=80,
        optimizer="sgd",
        lr=0.02,
        bias_lr=0,
        weight_decay=1e-3,
        l1=1e-5,
        auto_augment="trivialaugment",
        cutout=6,
        mixup=1.0,
        cutmix=1.0,
        probe_images=40,
        model_config={
            "widths": [8, 16, 16],
            "depth": 3,
            "dropout": 0.2,
            "spatial_dropout": 0.1,
            "stochastic_depth": 0.5,
        },
    ),
    "spatial-dropout": SMALL.replace(
        epochs=2,
        mixup=0.4,
        augmentation="flip@0.5 rotate:0.4@0.7",
        model_config={"widths": [8, 8], "spatial_dropout": 0.3},
    ),
    "stochastic-depth": SMALL.replace(
        epochs=2,
        model="fast_resnet",
        auto_augment="trivialaugment",
        model_config={"widths": [8, 8, 8], "depth": 3, "stochastic_depth": 0.5},
    ),
    "augmix-noise": SMALL.replace(
        epochs=2,
        augmix=3,
        mixup=0.4,
        consistency=12.0,
        noise=0.1,
        cutout=6,
        grad_accumulation=2,
        model_config={"widths": [8, 8], "dropout": 0.2},
    ),
    "sgd-cosine": SMALL.replace(
        optimizer="sgd", schedule="cosine", warmup=0.2, eval_every=0.5, flip="random", model_config={"widths": [8, 8]}
    ),
}


def session(config: TrainConfig = SMALL, data: ImageDataset = DATA) -> TrainSession:
    return TrainSession.start(config, data, "cpu")


def weights(done: TrainSession) -> list[torch.Tensor]:
    return [value.clone() for value in done.eval_model().state_dict().values()]


def test_it_learns_and_reports_every_step_and_evaluation() -> None:
    results = list(train(session()))
    steps = [result for result in results if isinstance(result, StepResult)]
    evaluations = [result for result in results if isinstance(result, EvalResult)]
    assert [result.step for result in steps] == list(range(1, 16))
    assert [result.step for result in evaluations] == [5, 10, 15]
    assert steps[-1].examples == 15 * 64
    assert evaluations[-1].val_accuracy > 0.9
    assert evaluations[-1].train_loss_nats == pytest.approx(sum(r.train_loss_nats or 0 for r in steps[-5:]) / 5)
    best = max(result.val_accuracy for result in evaluations)
    assert [result.val_accuracy for result in evaluations if result.is_best][-1] == best
    last = results[-1]
    assert (last.reason, last.best_val_accuracy) == ("completed", best)


def test_gradient_accumulation_is_the_same_step() -> None:
    runs = [session(SMALL.replace(epochs=1, grad_accumulation=pieces, optimizer="sgd", lr=0.05)) for pieces in (1, 4)]
    for run in runs:
        list(train(run))
    for first, second in zip(weights(runs[0]), weights(runs[1]), strict=True):
        assert torch.allclose(first, second, atol=1e-5)


def test_divergence_is_told_and_never_saved(tmp_path: Path) -> None:
    wild = session(SMALL.replace(optimizer="sgd", lr=10_000.0, schedule="constant"))
    results = list(train(wild))
    last = results[-1]
    assert last.reason == "diverged"
    assert "learning rate below 10000" in last.message
    assert len(results) < 40
    assert not wild.save_state(tmp_path / "state.pt")
    assert not (tmp_path / "state.pt").exists()


def test_weights_that_are_no_numbers_are_never_the_best() -> None:
    broken = session()
    with torch.no_grad():
        next(iter(broken.model.parameters())).fill_(float("nan"))
    assert not evaluate(broken).is_best
    assert broken.counters.best_val_accuracy is None


def test_a_run_resumed_after_its_deciding_evaluation_stops_too(tmp_path: Path) -> None:
    config = SMALL.replace(optimizer="sgd", lr=1e-12, epochs=30, early_stopping=2)
    first = session(config)
    results = train(first)
    evaluations = 0
    for result in results:
        evaluations += isinstance(result, EvalResult)
        if evaluations == 3:
            break
    assert first.save_state(tmp_path / "state.pt")
    second = session(config)
    second.load_state(tmp_path / "state.pt")
    assert list(train(second)) == list(results)
    assert second.counters.step == first.counters.step == 15


def test_early_stopping_waits_as_long_as_asked() -> None:
    flat = SMALL.replace(optimizer="sgd", lr=1e-12, epochs=30, early_stopping=3)
    results = list(train(session(flat)))
    assert results[-1].reason == "early_stopping"
    assert sum(isinstance(result, EvalResult) for result in results) == 4


def test_whitening_bias_is_trained_for_three_epochs_and_then_frozen() -> None:
    run = session(CONFIGS["muon-ema-clip"].replace(epochs=5, average="none"))
    seen = {}
    for result in train(run):
        if isinstance(result, EvalResult):
            seen[round(result.epoch)] = run.model.whiten.bias.detach().clone()
    assert not torch.equal(seen[1], seen[2])
    assert torch.equal(seen[3], seen[4])
    assert torch.equal(seen[4], seen[5])


@pytest.mark.parametrize("examples", [1, 40, 64, 320])
def test_epochs_computed_from_steps_give_those_steps(examples: int) -> None:
    run = session(SMALL.replace(train_images=examples, batch_size=min(7, examples)))
    per_epoch = run.steps_per_epoch
    for steps in (*range(1, 60), 97, 1000, 7919, 10_000):
        run = session(SMALL.replace(train_images=examples, batch_size=min(7, examples), epochs=steps / per_epoch))
        assert run.total_steps == steps


def test_small_sets_train_in_one_batch() -> None:
    results = list(train(session(SMALL.replace(epochs=1, batch_size=1000, train_images=40))))
    assert [result.examples for result in results if isinstance(result, StepResult)] == [40]


def test_bfloat16_is_used_for_the_layers_and_not_for_the_weights() -> None:
    run = session(SMALL.replace(precision="bfloat16", epochs=1))
    seen = []
    run.model.conv2.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    list(train(run))
    assert set(seen) == {torch.bfloat16}
    assert run.model.conv2.weight.dtype == torch.float32


def test_training_on_all_images_uses_them() -> None:
    both = session(SMALL.replace(train_on="train+validation"))
    assert len(both.task.train_data) == len(DATA.train) + len(DATA.validation)


def test_out_of_memory_names_the_batch_size_to_try(monkeypatch: pytest.MonkeyPatch) -> None:
    run = session()

    def fail(images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")

    monkeypatch.setattr(run, "forward", fail)
    with pytest.raises(LabError, match="batch_size=64: try batch_size=32"):
        next(train(run))


@pytest.mark.parametrize(
    ("field", "value", "valid"),
    [
        ("epochs", 0, ("above 0", "10,000")),
        ("device", "tpu", ("auto", "cpu", "cuda", "cuda:N", "mps")),
        ("grad_accumulation", 10_000, ("at most the batch size", "128")),
    ],
)
def test_a_wrong_setting_is_one_sentence_with_the_valid_range(
    field: str, value: object, valid: tuple[str, ...]
) -> None:
    with pytest.raises(LabError, match=f"^{field}=.* is not valid: {field} must be .*\\.$") as caught:
        TrainConfig(**{field: value})
    assert all(words in str(caught.value) for words in valid)


def test_a_config_survives_json_and_unknown_fields_do_not() -> None:
    import json

    for recipes in RECIPES.values():
        for config in recipes.values():
            assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    with pytest.raises(LabError, match="setting named epoch"):
        TrainConfig.from_dict({"epoch": 3})

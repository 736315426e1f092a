"""Training a generator: exact resume, what it draws, what it keeps of each evaluation, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from core.checkpoints.store import find_checkpoint, load_checkpoint
from core.common.errors import LabError
from core.inference.generator import draw_noise, make_images, to_pixels
from core.jobs import RunStore
from core.training.config import TrainConfig
from core.training.results import EvalResult
from core.training.sample_sheets import read_sheets
from core.training.session import TrainSession
from core.training.trainer import train
from tests.unit.builders import synthetic
from tests.unit.in_process import finish

CONFIG = TrainConfig(
    model="flow_unet",
    model_config={"width": 16},
    epochs=2,
    batch_size=16,
    flip="random",
    average="ema",
    precision="float32",
    device="cpu",
)


def small():  # type: ignore[no-untyped-def]
    return synthetic(train=64, held_out=32, classes=3)


def weights(session: TrainSession) -> list[torch.Tensor]:
    return [*session.model.parameters(), *session.eval_model().parameters()]


def test_a_resumed_run_is_the_same_run(tmp_path: Path) -> None:
    whole = TrainSession.start(CONFIG, small())
    expected = list(train(whole))
    resumed, results = TrainSession.start(CONFIG, small()), []
    for result in train(resumed):
        results.append(result)
        if len(results) == 3:
            assert resumed.save_state(tmp_path / "state.pt")
            break
    again = TrainSession.start(CONFIG, small())
    again.load_state(tmp_path / "state.pt")
    results += list(train(again))
    assert results == expected
    assert all(torch.equal(a, b) for a, b in zip(weights(again), weights(whole), strict=True))


def test_it_learns_and_has_no_accuracy() -> None:
    session = TrainSession.start(CONFIG.replace(epochs=4, lr=3e-3), small())
    found = [result for result in train(session) if isinstance(result, EvalResult)]
    assert found[-1].val_loss_nats < found[0].val_loss_nats < 2.2
    assert {result.val_accuracy for result in found} == {result.train_accuracy for result in found} == {None}


def test_a_fresh_network_predicts_no_velocity_and_classes_are_hidden_as_often_as_asked() -> None:
    session = TrainSession.start(CONFIG, small())
    images, labels = next(session.batches())
    torch.manual_seed(0)
    with torch.no_grad():
        loss, right = session.task.loss(session.model, images, labels)
    torch.manual_seed(0)
    noise = torch.randn(images.shape)
    assert float(loss) == pytest.approx(float((images - noise).square().mean()), rel=1e-5)
    assert float(right) == 0
    seen: list[torch.Tensor] = []
    session.model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[2]))
    for _ in range(30):
        with torch.no_grad():
            session.task.loss(session.model, images, labels)
    assert float((torch.cat(seen) == 3).float().mean()) == pytest.approx(0.1, abs=0.04)


def test_a_run_keeps_a_sheet_of_each_evaluation_and_its_checkpoint_makes_images(
    tiny_dataset_folder: Path, lab_home: Path
) -> None:
    config = CONFIG.replace(dataset=f"folder:{tiny_dataset_folder}?size=32")
    store = RunStore()
    run = finish(store, store.create(config, "Small generator"))
    assert run.status == "finished", run.message
    assert run.task == "generation"
    sheets = read_sheets(store.folder(run.id))
    assert [sheet.epoch for sheet in sheets] == [1.0, 2.0]
    assert sheets[0].png != sheets[1].png
    checkpoint = load_checkpoint(find_checkpoint(run.id))
    card = checkpoint.card
    assert card.task == "generation"
    assert card.metrics["velocity_error"] == pytest.approx(card.metrics["val_loss_nats"], rel=1e-4)
    assert "val_accuracy" not in card.metrics
    made = make_images(checkpoint.model, card.pixel_data, np.array([0, 1, 2, 0]), seed=4, steps=3, guidance=2.0)
    assert made.shape == (4, 32, 32, 3)
    assert made.dtype == np.uint8
    later = make_images(checkpoint.model, card.pixel_data, np.array([2, 0]), seed=4, steps=3, guidance=2.0, first=2)
    assert np.abs(later.astype(int) - made[2:]).max() <= 1  # an image depends on its noise, not on the batch


def test_other_sizes_and_pixels() -> None:
    for side in (28, 45):
        session = TrainSession.start(
            CONFIG.replace(epochs=0.25), synthetic(train=64, held_out=32, classes=3, side=side)
        )
        list(train(session))
        made = make_images(session.eval_model(), session.dataset.card, np.array([0]), seed=0, steps=2, guidance=1.0)
        assert made.shape == (1, side, side, 3)
    card = synthetic().card
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (card.mean, card.std))
    assert np.array_equal(to_pixels((torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - mean) / std, card), pixels)
    assert torch.equal(draw_noise(3, 8, 5)[1:], draw_noise(2, 8, 5, first=1))


@pytest.mark.parametrize("field", [{"mixup": 0.4}, {"label_smoothing": 0.1}, {"tta": "flip"}, {"balance": "weights"}])
def test_settings_of_classifiers_are_refused(field: dict[str, object]) -> None:
    with pytest.raises(LabError, match=next(iter(field))):
        TrainSession.start(CONFIG.replace(**field), small())


@pytest.mark.parametrize(("steps", "guidance"), [(0, 1.0), (101, 1.0), (5, -1.0), (5, 11.0)])
def test_settings_out_of_range(steps: int, guidance: float) -> None:
    session = TrainSession.start(CONFIG, small())
    with pytest.raises(LabError, match="not valid"):
        make_images(session.eval_model(), session.dataset.card, np.array([0]), seed=0, steps=steps, guidance=guidance)

"""A trial step is a step of the run that is asked for, and leaves no trace."""

from __future__ import annotations

import pytest
import torch

from core.training import trial
from core.training.config import TrainConfig
from tests.unit.builders import synthetic

CONFIG = TrainConfig(model="flow_unet", model_config={"width": 16}, precision="float32", device="cpu")


def test_the_speed_is_that_of_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "cores", lambda: 3)
    seen = []
    usual = trial.train_step

    def spy(session, inputs, targets):  # type: ignore[no-untyped-def]
        seen.append((len(inputs), session.config.model_settings, session.model.training))
        return usual(session, inputs, targets)

    monkeypatch.setattr(trial, "train_step", spy)
    monkeypatch.setattr(trial, "processor_seconds", lambda work: (work(), 4.0)[1])
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    speed = trial.trial_speed(CONFIG.replace(train_images=1000, batch_size=128), synthetic(classes=3).card)
    assert speed == pytest.approx(3 * trial.TRIAL / 4)
    assert [size for size, *_ in seen] == [trial.TRIAL] * 2, "one step warms up, one is measured"
    assert seen[0][1] == {"width": 16}
    assert torch.equal(torch.rand(3), expected), "other work in this process draws what it would have drawn"

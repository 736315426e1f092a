"""Forecasts: a planted law is recovered, noise is not, and outcomes are those of the studies."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from core.augmentation import store as forecasts
from core.augmentation.figures import class_heat, outcomes, strongest
from core.augmentation.forecast import (
    FEWEST_ARMS,
    PENALTIES,
    TERMS,
    Arm,
    ForecastModel,
    LeftOut,
    choose,
    fit,
    leave_out,
    without_each,
)
from core.augmentation.results import MAPS, Effect
from core.augmentation.store import (
    MODELS_SHIPPED,
    load_model,
    mean_errors,
    read_forecasts,
    scored,
    start_study,
    study_of,
)
from core.checkpoints.store import find_checkpoint
from core.common.errors import LabError
from core.common.values import signed
from core.jobs import RunStore
from core.regularization.arms import parse_arm
from core.regularization.results import MemberResult, StudyResult
from core.regularization.store import STUDIES, member_store
from core.training.augmentation import TRANSFORMS

NAMES = list(TRANSFORMS)


def arms(law: object, noise: float = 0.0, seed: int = 0, count: int = 16) -> list[Arm]:
    """One transform each, with affinity and added loss drawn at random."""
    random = np.random.default_rng(seed)
    found = []
    for name in NAMES[:count]:
        affinity, loss = float(-40 * random.random()), float(2 * random.random())
        gain = law(affinity, loss) + noise * float(random.normal())  # type: ignore[operator]
        found.append(Arm(pipeline=name, affinity=affinity, added_loss=loss, gain=gain, seeds=2))
    return found


def model_of(found: list[Arm]) -> ForecastModel:
    return ForecastModel(
        model="simple_cnn",
        dataset="cifar10",
        train_size=500,
        steps=40,
        batch_size=32,
        network="network",
        arms=tuple(found),
        regression=choose(found),
        left_out=leave_out(found),
    )


def test_ridge_is_that_of_a_library() -> None:
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

    found = arms(lambda affinity, loss: 3 + 0.2 * affinity + 2 * loss, noise=1.0)
    for terms, penalty in zip(TERMS, PENALTIES, strict=True):
        table = np.array([TERMS[terms](arm.affinity / 100, arm.added_loss) for arm in found])
        scaler = StandardScaler().fit(table)
        ridge = Ridge(alpha=penalty).fit(scaler.transform(table), [arm.gain for arm in found])
        mine = fit(found, terms, penalty)
        new = np.array([TERMS[terms](-0.13, 0.7)])
        assert mine.predict(-13.0, 0.7) == pytest.approx(float(ridge.predict(scaler.transform(new))[0]))


def test_a_planted_law_is_recovered_and_noise_is_no_better_than_the_control() -> None:
    law = model_of(arms(lambda affinity, loss: 4 + 0.1 * affinity + 3 * loss))
    assert law.error < 0.1
    assert law.control_error > 1
    assert law.better
    assert "chance" not in law.trust
    assert law.regression.predict(-10, 1.0) == pytest.approx(4 - 1 + 3, abs=0.2)
    assert law.headline(2.0).startswith("Expected: +2.0 points")
    better = [model_of(arms(lambda affinity, loss: 0.0, noise=3.0, seed=seed, count=12)).better for seed in range(6)]
    assert sum(better) <= 1


def test_a_headline_says_first_that_the_forecast_is_no_better_than_the_mean() -> None:
    law = model_of(arms(lambda affinity, loss: 4 + 0.1 * affinity + 3 * loss))

    def with_errors(*errors: float) -> ForecastModel:
        left_out = tuple(
            LeftOut(pipeline="flip", gain=0.0, forecast=error, control=1.0 if place % 2 else 3.0)
            for place, error in enumerate(errors)
        )
        return dataclasses.replace(law, left_out=left_out)

    worse, chance = with_errors(4, 4, 4, 4), with_errors(0, 3.9, 0, 3.9)
    assert worse.error > worse.control_error
    assert chance.error < chance.control_error
    assert not chance.better
    for model, first in ((worse, "No better than"), (chance, "Not surely better than")):
        said = model.headline(7.9)
        assert said.startswith(first)
        assert said.index(signed(model.control)) < said.index("+7.9") < said.index(f"{model.error:.1f}")


def test_the_product_is_taken_where_it_is_the_law() -> None:
    found = arms(lambda affinity, loss: 0.3 * affinity * loss)
    assert choose(found).terms == "affinity, added loss and their product"


def test_arms_that_share_a_transform_are_left_out_together() -> None:
    found = arms(lambda affinity, loss: loss, count=8)
    found += [
        dataclasses.replace(found[0], pipeline="flip@0.5 crop:0.5"),
        dataclasses.replace(found[4], pipeline="shear:0.2"),
    ]
    left = {arm.pipeline: {other.pipeline for other in rest} for arm, rest in without_each(found)}
    assert not left["flip@0.5 crop:0.5"] & {"flip", "crop", "flip@0.5 crop:0.5"}
    assert not left["shear"] & {"shear", "shear:0.2"}
    assert "crop" in left["flip"]
    control = next(item for item in leave_out(found) if item.pipeline == "shear").control
    assert control == pytest.approx(np.mean([arm.gain for arm in found if "shear" not in arm.pipeline]))


def test_too_few_arms_are_refused() -> None:
    with pytest.raises(LabError, match=f"at least {FEWEST_ARMS}"):
        choose(arms(lambda affinity, loss: loss, count=FEWEST_ARMS - 1))


def test_a_forecast_model_is_read_as_it_was_written() -> None:
    model = model_of(arms(lambda affinity, loss: loss, noise=1.0))
    again = ForecastModel.from_dict(json.loads(json.dumps(model.to_dict())))
    assert again.to_dict() == model.to_dict()
    assert again.regression.predict(-5, 0.5) == pytest.approx(model.regression.predict(-5, 0.5), abs=1e-3)


@pytest.fixture
def shipped(lab_home: Path, monkeypatch: pytest.MonkeyPatch) -> ForecastModel:
    model = model_of(arms(lambda affinity, loss: 4 + 0.1 * affinity + 3 * loss))
    folder = lab_home / "forecast-models"
    folder.mkdir(parents=True)
    (folder / "simple_cnn.json").write_text(json.dumps(model.to_dict()))
    monkeypatch.setattr(MODELS_SHIPPED, "shipped", folder)
    return load_model()


EFFECT = Effect(pipeline="flip@0.5 rotate:0.3", accuracy=0.4, affinity=-8.0, low=-9.0, high=-7.0, added_loss=0.9)


def write_study(run_id: str, gain: float) -> None:
    """Every run of a study as its worker leaves it."""
    store = RunStore()
    config = store.config(run_id)
    members = member_store(store, run_id)
    for member in config.members():
        value = 0.4 + 0.01 * member.seed + (gain / 100 if member.variant.techniques else 0)
        folder = members.root / member.id
        folder.mkdir(parents=True)
        result = MemberResult(
            variant=member.variant.spec,
            train_size=member.train_size,
            seed=member.seed,
            status="finished",
            val_accuracy=value,
            test_accuracy=value,
        )
        STUDIES.write_part(folder, result)
    store.write_status(run_id, status="finished")


def test_a_forecast_is_kept_and_scored_by_its_study(shipped: ForecastModel) -> None:
    store = RunStore()
    run_id = start_study(store, EFFECT, seeds=2)
    study = store.config(run_id)
    assert (study.train_sizes, study.steps, study.seeds) == ((500,), 40, 2)
    assert study.arms == ("none", "pipeline=flip@0.5 rotate:0.3")
    trained = study.train_config(study.members()[1])
    assert trained.augmentation == "flip@0.5 rotate:0.3"
    (found,) = read_forecasts()
    assert found.run_id == run_id
    assert found.expected == pytest.approx(shipped.regression.predict(-8.0, 0.9))
    (item,) = scored(store)
    assert item.measured is None
    assert item.status != "finished"
    assert mean_errors([item]) is None
    write_study(run_id, gain=6.5)
    (item,) = scored(store)
    assert item.measured == pytest.approx(6.5)
    assert mean_errors([item]) == pytest.approx((abs(found.expected - 6.5), abs(found.control - 6.5), 1))
    store.delete(run_id)
    (item,) = scored(store)
    assert (item.measured, item.status) == (None, "deleted")
    (forecasts.forecasts_folder() / "damaged.json").write_text("{")
    assert len(read_forecasts()) == 1


def test_the_study_is_that_of_the_regularization_room(shipped: ForecastModel) -> None:
    study = study_of("flip@0.5", seeds=1)
    assert parse_arm(study.arms[1]).variants[0].label == "Flip at 50%"
    with pytest.raises(LabError, match="no steps"):
        study_of("", seeds=1)


@pytest.mark.parametrize("dark", [False, True])
def test_figures_show_the_figures(shipped: ForecastModel, dark: bool) -> None:
    figure = outcomes(shipped.left_out, [], dark=dark)
    assert "always the mean gain" in figure.layout.title.text.split("<br>")[-1], "a line each, none cut on a phone"
    dots = next(item for item in figure.data if item.name == "left out")
    assert list(dots.x) == [item.forecast for item in shipped.left_out]
    assert list(dots.y) == [item.gain for item in shipped.left_out]
    for name in MAPS.shipped_names():
        found = MAPS.load_shipped(name)
        heat = class_heat(found, 1.0, dark=dark).data[0]
        assert len(heat.z) == len(found.transforms)
        hidden = [change for effect in strongest(found, 1.0) for change in effect.classes if change.hidden]
        notes = class_heat(found, 1.0, dark=dark).layout.annotations
        assert sorted(note.text for note in notes) == sorted(f"{-change.points:.0f}" for change in hidden)


def test_what_ships_forecasts(lab_home: Path) -> None:
    """The network beside it gives the figures that its arms have."""
    if not MODELS_SHIPPED.shipped_names():
        pytest.skip("no forecast ships yet")
    model = load_model()
    assert find_checkpoint(str(MODELS_SHIPPED.shipped / model.network)).card.model == model.model
    assert len(model.arms) >= 10
    assert {item.pipeline for item in model.left_out} == {arm.pipeline for arm in model.arms}
    again = choose(model.arms)
    assert again.terms == model.regression.terms
    assert again.predict(-5.0, 0.5) == pytest.approx(model.regression.predict(-5.0, 0.5), abs=0.01)


def test_a_study_result_keeps_pipelines_apart() -> None:
    from core.regularization.analysis import strengths
    from core.regularization.study import StudyConfig

    config = StudyConfig(arms=("pipeline=flip@0.5", "pipeline=rotate:0.2"), train_sizes=(100,), seeds=1)
    members = tuple(
        MemberResult(variant=item.variant.spec, train_size=100, seed=0, status="finished", val_accuracy=0.5)
        for item in config.members()
    )
    assert strengths(StudyResult(config=config, members=members), "pipeline", 100) == []

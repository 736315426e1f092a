"""Arms of a study that change what the training images are: offered nowhere else, fair in steps, and checked against the data."""

from __future__ import annotations

import itertools

import pytest

from core.regularization.arms import parse_arm
from core.regularization.cli import command_of
from core.regularization.figures import arm_colour, arm_dash
from core.regularization.study import StudyConfig
from core.regularization.techniques import ALL_TECHNIQUES, EXTRA_DATA, IMAGE_MODELS, TECHNIQUES, techniques_for
from tests.unit.failures import refusal

EXTRA = "generated:flow"
ARMS = ("synthetic=300", "synthetic_only=300", "more_real=300", "augment=2+synthetic=300")


def study(**changes: object) -> StudyConfig:
    return StudyConfig(
        **{"arms": ARMS, "extra_dataset": EXTRA, "train_sizes": (100, 700), "steps": 90, "seeds": 2} | changes
    )


def test_no_form_offers_them_and_a_study_needs_images_for_them() -> None:
    assert not set(EXTRA_DATA) & set(TECHNIQUES)
    assert not [model for model in IMAGE_MODELS if set(techniques_for(model)) & set(EXTRA_DATA)]
    for name in EXTRA_DATA:
        with refusal(f"{name} needs extra images: set extra_dataset"):
            StudyConfig(arms=(name,))
    with refusal("has synthetic and more_real: give one"):
        study(arms=("synthetic=5+more_real=5",))
    with refusal("extra_dataset is the dataset of the run itself"):
        study(extra_dataset="cifar10")
    with refusal("synthetic=1.5 is not valid"):
        study(arms=("synthetic=1.5",))
    with refusal("synthetic=0 is not valid"):
        study(arms=("synthetic=0",))


def test_an_arm_is_written_and_read_in_one_way() -> None:
    assert parse_arm("synthetic=300+augment").spec == "augment=2+synthetic=300"
    assert parse_arm("synthetic=5000/1000").spec == "synthetic=1000/5000"
    assert [parse_arm(f"{name}=5000").variants[0].label for name in EXTRA_DATA] == [
        "Adding 5,000 synthetic images",
        "Using 5,000 synthetic images alone",
        "Adding 5,000 real images",
    ]
    config = study()
    assert StudyConfig.from_dict(config.to_dict()) == config
    assert f"--extra-dataset {EXTRA}" in command_of(config)
    assert "extra" not in command_of(StudyConfig())
    old = {name: value for name, value in StudyConfig().to_dict().items() if name != "extra_dataset"}
    assert StudyConfig.from_dict(old) == StudyConfig()


def test_all_arms_take_as_many_steps_on_the_images_that_they_say() -> None:
    config = study()
    images = {"": 0, "synthetic": 300, "synthetic_only": 300, "more_real": 300}
    for member in config.members():
        run = config.train_config(member)
        kind = next((item.name for item in member.variant.techniques if item.name in EXTRA_DATA), "")
        real = 0 if kind == "synthetic_only" else member.train_size + (300 if kind == "more_real" else 0)
        extra = images[kind] if kind in ("synthetic", "synthetic_only") else 0
        assert (run.extra_dataset, run.extra_images) == ((EXTRA, 300) if extra else ("", 0))
        assert run.extra_only == (kind == "synthetic_only")
        if not run.extra_only:
            assert run.train_images == real
        total = real + extra
        per_epoch = total // min(config.batch_size, total)
        assert round(run.epochs * per_epoch, 6) == config.steps
        assert run.eval_every * per_epoch == pytest.approx(config.steps / config.evaluations)


def test_sizes_beyond_the_data_are_one_sentence() -> None:
    config = study()
    config.check_data(1000, 300)
    config.check_data(1000)
    with refusal(r"more_real=300 beside 700 training images takes 1,000, and .* has 999"):
        config.check_data(999, 300)
    with refusal(r"synthetic=300 is not valid: .* has 299 images"):
        config.check_data(1000, 299)
    study(arms=ARMS[:2]).check_data(700, 300)


@pytest.mark.parametrize("dark", [False, True])
def test_no_two_techniques_look_alike(dark: bool) -> None:
    looks = [(arm_colour(name, dark=dark), arm_dash(name)) for name in (*ALL_TECHNIQUES, "none")]
    assert all(one != other for one, other in itertools.combinations(looks, 2))


def test_arms_can_be_added_to_such_a_study() -> None:
    config = study(arms=ARMS[:1])
    wider = config.extended(arms=("more_real=300", "dropout"), seeds=3)
    assert {member.id for member in config.members()} < {member.id for member in wider.members()}
    assert wider.extra_dataset == EXTRA

"""Studies before they run: how arms are written, what is refused, and that a study is fair."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.common.errors import LabError
from core.regularization.arms import BASELINE, MAX_VARIANTS, parse_arm
from core.regularization.study import MAX_RUNS, StudyConfig
from core.regularization.techniques import IMAGE_MODELS, TECHNIQUES, plain_number, techniques_for
from core.training.config import TrainConfig

CHANGES = {
    "l2": {"weight_decay"},
    "l1": {"l1"},
    "augment": {"flip", "crop_padding"},
    "cutout": {"cutout"},
    "mixup": {"mixup"},
    "cutmix": {"cutmix"},
    "trivial_augment": {"auto_augment"},
    "pipeline": {"augmentation"},
    "augmix": {"augmix", "consistency"},
    "noise": {"noise"},
    "label_smoothing": {"label_smoothing"},
    "early_stopping": {"early_stopping", "keep"},
    "ema": {"average", "average_decay"},
}
"""Fields of a training run that a technique may change; the others change one setting of the model, of their own name."""


@st.composite
def arms(draw: st.DrawFn, among: tuple[str, ...] = tuple(TECHNIQUES)) -> str:
    """Up to three techniques, each with some of its usual strengths, in any order."""
    parts = []
    for name in draw(st.lists(st.sampled_from(among), min_size=1, max_size=3, unique=True)):
        kind = TECHNIQUES[name]
        picked = draw(st.lists(st.sampled_from(kind.grid), min_size=1, unique=True))
        parts.append(f"{name}={'/'.join(plain_number(value) for value in picked)}" if kind.unit else name)
    return draw(st.sampled_from(["+", " + "])).join(parts)


@st.composite
def studies(draw: st.DrawFn) -> StudyConfig:
    model = draw(st.sampled_from(IMAGE_MODELS))
    steps = draw(st.integers(1, 5000))
    return StudyConfig(
        model=model,
        arms=tuple(draw(st.lists(arms(techniques_for(model)), min_size=1, max_size=3, unique_by=_spec))),
        train_sizes=tuple(draw(st.lists(st.integers(1, 60_000), min_size=1, max_size=3))),
        seeds=draw(st.integers(1, 3)),
        steps=steps,
        batch_size=draw(st.integers(1, 600)),
        evaluations=draw(st.integers(1, min(steps, 1000))),
    )


def _spec(text: str) -> str:
    return parse_arm(text).spec


@settings(deadline=None)
@given(arms(), st.randoms(use_true_random=False))
def test_an_arm_can_be_written_and_read_in_any_order(text: str, random: Any) -> None:
    arm = parse_arm(text)
    assert parse_arm(arm.spec) == arm
    parts = text.split("+")
    assert set(arm.names) == {part.partition("=")[0].strip() for part in parts}
    assert len(arm.variants) == math.prod(part.count("/") + 1 for part in parts)
    random.shuffle(parts)
    assert parse_arm("+".join(parts)) == arm
    for variant in arm.variants:
        assert parse_arm(variant.spec).variants == (variant,)


def test_strengths_are_the_usual_one_the_given_ones_or_all_worth_trying() -> None:
    for name, kind in TECHNIQUES.items():
        assert [item.techniques[0].strength for item in parse_arm(name).variants] == [kind.default]
        assert [item.techniques[0].strength for item in parse_arm(f"{name}=tune").variants] == sorted(kind.grid)
    assert parse_arm("dropout=0.5/0.1").spec == "dropout=0.1/0.5"
    assert parse_arm("augment=2.0").spec == "augment=2"
    assert parse_arm("trivial_augment").spec == "trivial_augment"
    assert parse_arm(" none ").names == ()
    assert parse_arm("dropout=-0").spec == parse_arm("dropout=0").spec
    assert parse_arm("l2=0.03/1+dropout=tune").title == "L2 (weight decay) and dropout"
    assert parse_arm("dropout+trivial_augment").title == "Dropout and TrivialAugment"
    assert [variant.spec for variant in parse_arm("dropout=0.1/0.5+l2=0.1").variants] == [
        "l2=0.1+dropout=0.1",
        "l2=0.1+dropout=0.5",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dropout=0.96", "from 0 to 0.95"),
        ("dropout=nan", "must be a number"),
        ("dropout=high", "is not a number"),
        ("augment=1.5", "a whole number from 0 to 8"),
        ("dropout=0.3/0.30", "twice"),
        ("dropout+dropout=0.5", "twice"),
        ("batch_norm=2", "no strength"),
        ("dopout", "choose among none, l2"),
        ("dropout+none", "stands alone"),
        ("", "no technique named ''"),
        ("dropout+", "no technique named ''"),
        (
            "+".join(f"{name}=0/0.1/0.2/0.3/0.4" for name in ("l2", "dropout", "ema")),
            f"125 combinations of strengths: give at most {MAX_VARIANTS}",
        ),
    ],
)
def test_a_wrong_arm_is_told(text: str, words: str) -> None:
    with pytest.raises(LabError, match=re.escape(words)):
        parse_arm(text)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"arms": ()}, "No technique is chosen"),
        ({"arms": ("none",)}, "No technique is chosen"),
        ({"arms": ("dropout", f"dropout={TECHNIQUES['dropout'].default}")}, "is given twice"),
        ({"arms": ("none", "none", "l2")}, "none is given twice"),
        ({"arms": ("stochastic_depth",)}, "cannot be used with simple_cnn"),
        ({"model": "resnet18", "arms": ("batch_norm",)}, "cannot be used with resnet18"),
        ({"model": "char_lstm"}, "needs an image classifier"),
        ({"train_sizes": ()}, "No training-set size"),
        ({"seeds": 0}, "seeds must be a whole number from 1 to 50"),
        ({"steps": 5, "evaluations": 6}, "only 5 steps"),
        ({"arms": ("dropout",), "steps": 20_000, "train_sizes": (20,)}, "20,000 epochs"),
        ({"seeds": 50, "train_sizes": tuple(range(1, 42)), "arms": ("l2",)}, f"at most {MAX_RUNS:,}"),
    ],
    ids=str,
)
def test_a_wrong_study_is_told(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(LabError, match=re.escape(words)):
        StudyConfig(**changes)


def test_a_study_is_written_in_one_way() -> None:
    config = StudyConfig(arms=("dropout=0.3", "none", "l2=0.1 + augment=2"), train_sizes=[500, 100, 500])  # type: ignore[arg-type]
    assert config.arms == (BASELINE, "dropout=0.3", "l2=0.1+augment=2")
    assert config.train_sizes == (100, 500)
    assert StudyConfig(arms=("l2=0.1",)).arms == (BASELINE, "l2=0.1"), "the baseline is always among them"
    assert StudyConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    with pytest.raises(LabError, match="bogus"):
        StudyConfig.from_dict(config.to_dict() | {"bogus": 1})
    config.check_data(500)
    with pytest.raises(LabError, match="500 is not valid: CIFAR-10 has 499"):
        config.check_data(499)


def steps_of(config: TrainConfig) -> tuple[int, float]:
    """Steps of a run, and steps between its evaluations, as `TrainSession` counts them."""
    per_epoch = config.train_images // min(config.batch_size, config.train_images)
    return max(1, math.ceil(round(config.epochs * per_epoch, 6))), config.eval_every * per_epoch


@settings(deadline=None, max_examples=30)
@given(studies())
def test_every_study_is_fair(study: StudyConfig) -> None:
    """As many steps for all, and nothing differs between arms but what their techniques are."""
    members = study.members()
    plain = {(item.train_size, item.seed): study.train_config(item) for item in members if not item.variant.techniques}
    assert len(plain) == len(study.train_sizes) * study.seeds
    folders = {member.id for member in members}
    assert len(folders) == len(members)
    assert all(re.fullmatch(r"[a-z0-9_-]{1,120}", folder) for folder in folders)
    for member in members:
        config, base = study.train_config(member), plain[member.train_size, member.seed]
        total, apart = steps_of(config)
        assert total == study.steps
        assert apart == pytest.approx(study.steps / study.evaluations)
        assert (config.seed, config.train_images) == (member.seed, member.train_size)
        names = [item.name for item in member.variant.techniques]
        settings_changed = {
            key for key, value in config.model_settings.items() if base.model_settings.get(key) != value
        }
        assert settings_changed == {name for name in names if name not in CHANGES}
        changed = {name for name in TrainConfig.model_fields if getattr(config, name) != getattr(base, name)}
        assert changed - {"model_settings"} == set().union(*(CHANGES.get(name, set()) for name in names))


def test_the_baseline_has_no_regularization_at_all() -> None:
    base = StudyConfig().base()
    off = TrainConfig()
    for name in set().union(*CHANGES.values()) - {"keep"}:
        assert getattr(base, name) == getattr(off, name), name
    assert not TECHNIQUES.keys() & base.model_settings.keys()
    assert base.weight_decay == 0
    assert base.keep == "last"


def test_a_members_name_stays() -> None:
    """What is on disk is found by it."""
    study = StudyConfig(arms=("dropout=0.1/0.3", "augment=2+l2=0.1"), train_sizes=(2000,), seeds=1)
    assert [member.id for member in study.members()] == [
        "none-140bed-n2000-s0",
        "dropout-0-1-f44283-n2000-s0",
        "dropout-0-3-ac1c9e-n2000-s0",
        "l2-0-1-augment-2-938ae8-n2000-s0",
    ]


def test_arms_sizes_and_seeds_can_be_added() -> None:
    study = StudyConfig(arms=("l2=0.1", "dropout=0.1/0.3"), train_sizes=(500,), seeds=2)
    more = study.extended(arms=("none", "dropout=0.3", "cutout=8"), train_sizes=(100, 500), seeds=3)
    assert more.arms == (*study.arms, "dropout=0.3", "cutout=8")
    assert (more.train_sizes, more.seeds) == ((100, 500), 3)
    assert {member.id for member in study.members()} < {member.id for member in more.members()}
    assert len(more.members()) == 5 * 2 * 3, "a variant that two arms share is trained once"
    assert study.extended(seeds=1) == study
    with pytest.raises(LabError, match="has the arm l2=0.1 already"):
        study.extended(arms=("l2=0.1",))

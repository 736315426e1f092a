"""What synthetic images are worth: noise nothing, real images as much as real ones; sentences say what was measured."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from core.app import main
from core.common.commands import new_app
from core.common.results import FACTS
from core.data import DATASETS
from core.data.dataset import Split
from core.jobs import RunStore
from core.regularization.analysis import images_for
from core.regularization.results import StudyResult
from core.regularization.store import read_study
from core.regularization.study import StudyConfig
from core.synthesis import worth
from core.synthesis.cli_worth import show
from core.synthesis.cli_worth import worth as worth_commands
from core.synthesis.worth import is_worth, read_worth, worth_rows, worth_study
from scripts import make_worth
from tests.unit.failures import refusal
from tests.unit.in_process import finish, in_process
from tests.unit.synthesis import made
from tests.unit.synthesis.made import MORE, SIZE, made_up


@pytest.fixture(scope="module", autouse=True)
def known(home: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATASETS, made.NAME, made.source())
        noise = np.random.default_rng(5).integers(0, 256, (MORE, 16, 16, 3), dtype=np.uint8)
        made.write_set("noise", Split(images=noise, labels=np.arange(MORE, dtype=np.int64) % made.CLASSES))
        made.write_set("real", made.draw(MORE, 9), trained_on=300)
        yield


@pytest.fixture(scope="module")
def noise(known: None) -> StudyResult:
    return made.run_study(made.small_study("noise"))[1]


@pytest.fixture(scope="module")
def real(known: None) -> tuple[str, StudyResult]:
    return made.run_study(made.small_study("generated:real"))


@pytest.mark.slow
def test_noise_is_worth_nothing(noise: StudyResult) -> None:
    found = read_worth(noise)
    (at,) = found.sizes
    beside, more = at.arm("synthetic"), at.arm("more_real")
    assert beside
    assert beside.verdict.kind in ("noise", "hurts")
    assert more
    assert more.verdict.kind == "helps", "more real images help, so that noise could have"
    assert at.labels is None
    assert not at.leak, "this generator saw no image"
    assert found.leak == ""
    assert found.split == "test"
    # Of 300 test images in 3 classes; the three networks are not independent, so five standard deviations of one.
    assert found.score == pytest.approx(1 / 3, abs=5 * (2 / 9 / 300) ** 0.5)


@pytest.mark.slow
def test_real_images_called_synthetic_are_worth_as_much_as_more_real_ones(real: tuple[str, StudyResult]) -> None:
    found = read_worth(real[1])
    (at,) = found.sizes
    beside, more = at.arm("synthetic"), at.arm("more_real")
    assert beside
    assert more
    assert beside.verdict.kind == more.verdict.kind == "helps"
    assert beside.verdict.effect is not None
    assert more.verdict.effect is not None
    assert beside.verdict.effect == pytest.approx(more.verdict.effect, abs=max(0.05, more.verdict.half_width or 0))
    assert (beside.real, beside.synthetic, more.real, more.synthetic) == (SIZE, MORE, SIZE + MORE, 0)
    assert at.leak
    assert "learned from 300 real images, these arms from 18:" in found.leak


@pytest.mark.slow
def test_the_study_notes_its_data_and_refuses_others(real: tuple[str, StudyResult]) -> None:
    study_id, result = real
    assert result.extra["trained_on"] == 300
    assert result.extra["title"] == "Real"
    store = RunStore()
    facts = json.loads((store.folder(study_id) / FACTS).read_text())
    assert {"extra generated_images", "extra generated_labels", "train_images"} <= set(facts["data"])
    made.write_set("real", made.draw(MORE, 10), trained_on=300)
    store.reconfigure(study_id, lambda old: old.extended(seeds=4), "more", total_steps=1)
    run = finish(store, study_id)
    assert run.status == "failed"
    assert run.message.startswith("The data of Real have changed")
    assert read_worth(dataclasses.replace(result, extra={})).trained_on is None


def test_the_study_has_four_arms_and_leaves_room_for_more_real_images() -> None:
    config = worth_study("noise", (20, 0), seeds=2)
    assert config.arms == ("none", f"synthetic={MORE}", f"synthetic_only={MORE}", f"more_real={MORE}")
    assert config.train_sizes == (20, 300 - MORE)
    assert (config.dataset, config.extra_dataset) == (made.NAME, "generated:noise")
    assert is_worth(config)
    assert not is_worth(StudyConfig())
    assert worth_study("noise", (20,), 50).arms[1] == "synthetic=50"
    for words, changes in {
        "There are no generated images named gone": {"generated": "gone"},
        "is no name of generated images": {"generated": "../x"},
        f"synthetic={MORE + 1} is not valid: Noise has {MORE} images": {"synthetic_images": MORE + 1},
        "beside 121 training images takes 301": {"sizes": (121,)},
        "needs an image classifier": {"model": "char_gpt"},
    }.items():
        with refusal(words):
            worth_study(**{"generated": "noise", "sizes": (20,)} | changes)
    made.write_set("many", made.draw(300, 4))
    with refusal("leave none of the 300 to begin with"):
        worth_study("many", (0,))


def test_the_headline_is_the_paired_difference_with_its_interval() -> None:
    result = made_up()
    found = read_worth(result)
    beside = [item.test_accuracy for item in result.finished_runs("synthetic=5000", 100)]
    base = [item.test_accuracy for item in result.finished_runs("none", 100)]
    effect = 100 * float(np.mean(np.subtract(beside, base)))
    assert found.headline.startswith(f"5,000 synthetic images add {effect:.1f} points (")
    assert found.headline.endswith("real ones; as many real ones add 10.0.")
    verdict = found.sizes[0].arms[1].verdict
    assert verdict.effect == pytest.approx(effect / 100)
    assert verdict.half_width
    low, high = (100 * (verdict.effect + side * verdict.half_width) for side in (-1, 1))
    assert f"({low:.1f} to {high:.1f})".replace("-", "−") in found.headline
    assert len(found.headline.split()) <= 20
    assert [arm.kind for arm in found.sizes[0].arms] == list(worth.TITLES)


def test_a_negative_answer_is_an_answer() -> None:
    found = read_worth(made_up(adds={"synthetic": -0.05, "more_real": 0.1}))
    assert "images add −5.0 points (−" in found.headline
    assert found.score is None
    assert found.score_words == ""
    assert all(at.labels is None for at in found.sizes)


def test_a_small_effect_shows_that_its_interval_leaves_out_zero() -> None:
    words = worth.effect_words(
        dataclasses.replace(
            read_worth(made_up()).sizes[0].arms[1].verdict, kind="helps", effect=0.0010, half_width=0.0008
        )
    )
    assert words == "0.10 points (0.02 to 0.18)"


def test_worth_in_labels_is_read_off_the_curve_of_real_images() -> None:
    """Real accuracy is 0.3 at 100 and 0.5 at 1,000; more real images give further points of the curve."""
    adds = {"synthetic": 0.1, "synthetic_only": 0.0}
    found = read_worth(made_up(adds=adds))
    # 0.4 lies half-way on a logarithmic axis: sqrt(100 * 1000) images.
    assert found.sizes[0].labels == pytest.approx(100**0.5 * 1000**0.5 - 100, rel=0.05)
    assert found.sizes[1].labels is None, "more than was measured"
    assert found.score == pytest.approx(0.41, abs=0.002)
    assert found.score_labels == pytest.approx(316, rel=0.05)
    further = read_worth(made_up(adds=adds | {"more_real": 0.2}))
    # 0.6 lies half-way between 5,100 (0.5: as 100, and 0.2 more) and 6,000 (0.7).
    assert further.sizes[1].labels == pytest.approx((5100 * 6000) ** 0.5 - 1000, rel=0.05)
    assert images_for([], 0.5) is None


def test_the_leak_is_said_where_the_generator_saw_more_than_an_arm() -> None:
    for trained_on, leaks in ((0, []), (100, []), (101, ["100"]), (1000, ["100"]), (45_000, ["100", "1,000"])):
        found = read_worth(made_up(trained_on=trained_on))
        assert [f"{at.train_size:,}" for at in found.sizes if at.leak] == leaks
        assert bool(found.leak) is bool(leaks)
        if leaks:
            assert f"learned from {trained_on:,} real images, these arms from {' and '.join(leaks)}:" in found.leak
    assert "Nobody noted" in read_worth(dataclasses.replace(made_up(), extra={"title": 3})).leak


def test_one_seed_and_other_studies() -> None:
    assert read_worth(made_up(seeds=1)).headline.startswith("No verdict")
    with refusal("has no arm of synthetic images"):
        read_worth(dataclasses.replace(made_up(), config=StudyConfig(), members=()))
    result = made_up()
    assert (
        read_worth(StudyResult.from_dict(json.loads(json.dumps(result.to_dict())))).headline
        == read_worth(result).headline
    )
    begun = dataclasses.replace(
        result, members=tuple(dataclasses.replace(item, status="waiting") for item in result.members)
    )
    assert read_worth(begun).sizes[0].arms == ()
    assert worth_rows(begun) == []


def printed(*arguments: object, **options: object) -> str:
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        show(*arguments, **options)
    return output.getvalue()


def test_show_prints_a_study(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(worth.WORTH, "shipped", tmp_path)
    with refusal("No study of synthetic images ships"):
        show()
    (tmp_path / "worth.json").write_text(json.dumps(made_up().to_dict()))
    found = read_worth(made_up())
    assert printed().splitlines()[0] == found.headline
    assert "Real + synthetic" in printed()
    values = json.loads(printed(as_json=True))
    assert values["headline"] == found.headline
    assert [len(at["arms"]) for at in values["sizes"]] == [4, 4]


def synthesize(*arguments: str) -> int:
    app = new_app("synthesize", "")
    app.command(worth_commands)
    return int(app(["worth", *arguments]) or 0)


def test_start_queues_the_study_that_its_flags_describe(queue_only: None, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--train-sizes", "20,0", "--seeds", "2", "--steps", "30", "--synthetic-images", "50", "--detach")
    assert synthesize("start", "noise", *flags) == 0
    run = RunStore().get(capsys.readouterr().out.strip())
    assert run.config == worth_study("noise", (20, 0), 50, seeds=2, steps=30)
    assert run.name == "Worth of Noise"
    synthesize("show", run.id)
    assert "No verdict yet" in capsys.readouterr().out
    with refusal("There are no generated images named gone"):
        synthesize("start", "gone")


@pytest.mark.slow
def test_the_script_ships_a_study_and_goes_on_with_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(worth.WORTH, "shipped", tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    flags = ["noise", "--sizes", "18", "--seeds", "2", "--steps", "10", "--batch-size", "8", "--synthetic-images", "20"]
    with in_process():
        make_worth.main(flags)
    study_id, headline = capsys.readouterr().out.splitlines()
    shipped = worth.WORTH.load_shipped("worth")
    assert read_worth(shipped).headline == headline
    assert shipped.config == read_study(RunStore(), study_id).config
    assert shipped.done == len(shipped.members) == 8
    assert "study start" in shipped.made["command"]
    (tmp_path / "worth.json").unlink()
    with in_process():
        make_worth.main(["noise", "--study", study_id])
    assert capsys.readouterr().out.splitlines() == [study_id, headline]
    assert worth.WORTH.load_shipped("worth") == shipped
    assert main(["study", "show", study_id, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["config"]["extra_dataset"] == "generated:noise"

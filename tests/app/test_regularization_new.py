"""The Regularization page: a new study, from the form to its run folder."""

from __future__ import annotations

import json

import pytest
from streamlit.testing.v1 import AppTest

from core.jobs import RunStore
from core.regularization.kind import STUDY
from core.regularization.study import StudyConfig
from pages.regularization.new import parse_sizes
from tests.app.conftest import Open, click, link, read, rerun, sources, texts


@pytest.fixture
def new(open_page: Open, warm: None) -> AppTest:
    return open_page("regularization", view="New study")


def test_start_makes_the_quick_study(new: AppTest, submitted: list[str]) -> None:
    assert "15 runs" in texts(new)
    assert "about" in texts(new)
    click(new, "start-study")
    assert submitted == [run.id for run in RunStore().list()]
    assert RunStore().get(submitted[0]).kind == STUDY.name
    assert RunStore().config(submitted[0]) == StudyConfig()
    assert new.query_params["study"] == [submitted[0]] or new.query_params["study"] == submitted[0]
    assert new.segmented_control(key="view").value == "Studies"
    assert "#### Simple CNN, regularization study" in texts(new)


def test_every_choice_reaches_the_run(new: AppTest, submitted: list[str]) -> None:
    new.selectbox(key="study-model").set_value("resnet18")
    new.multiselect(key="new-alone").set_value(["dropout", "stochastic_depth", "trivial_augment"])
    new.multiselect(key="new-together").set_value(["label_smoothing", "dropout"])
    click(new, "new-add")
    assert "Dropout and label smoothing" in [button.label for button in new.button]
    new.text_input(key="new-strength-dropout").set_value("0.3, 0.1")
    new.text_input(key="study-sizes").set_value("2,000 500")
    new.text_input(key="study-name").set_value("My *study*")
    for name, value in {"seeds": 2, "steps": 50, "batch_size": 64, "lr": 0.002, "evaluations": 5}.items():
        new.number_input(key=f"study-{name}").set_value(value)
    new.selectbox(key="study-device").set_value("cpu")
    click(new, "start-study")
    assert RunStore().config(submitted[0]) == StudyConfig(
        model="resnet18",
        arms=(
            "none",
            "dropout=0.1/0.3",
            "trivial_augment",
            "stochastic_depth=0.1",
            "dropout=0.1/0.3+label_smoothing=0.1",
        ),
        train_sizes=(500, 2000),
        seeds=2,
        steps=50,
        batch_size=64,
        lr=0.002,
        evaluations=5,
        device="cpu",
    )
    assert "My \\*study\\*" in sources(new)


def test_a_changed_study_is_in_the_link(new: AppTest, open_page: Open, submitted: list[str]) -> None:
    assert set(link(new)) == {"view"}, "as it begins"
    new.selectbox(key="study-model").set_value("resnet18")
    new.multiselect(key="new-alone").set_value(["dropout", "l2"])
    new.multiselect(key="new-together").set_value(["label_smoothing", "dropout"])
    click(new, "new-add")
    new.text_input(key="new-strength-dropout").set_value("0.3, 0.1")
    new.text_input(key="study-sizes").set_value("2,000 500")
    new.number_input(key="study-lr").set_value(0.002)
    rerun(new.number_input(key="study-seeds").set_value(2))
    assert "not in the link" not in texts(new)
    stranger = open_page("regularization", **link(new))
    assert not stranger.warning
    assert link(stranger) == link(new)
    for at in (new, stranger):
        click(at, "start-study")
    mine, its = (RunStore().config(run_id) for run_id in submitted)
    assert (
        its
        == mine
        == StudyConfig(
            model="resnet18",
            arms=("none", "l2", "dropout=0.1/0.3", "dropout=0.1/0.3+label_smoothing"),
            train_sizes=(500, 2000),
            lr=0.002,
            seeds=2,
        )
    )


def test_a_study_that_is_not_valid_leaves_the_link_as_it_was(new: AppTest) -> None:
    rerun(new.number_input(key="study-seeds").set_value(5))
    rerun(new.text_input(key="study-sizes").set_value("many"))
    assert link(new)["set"] == '{"seeds":5}'
    assert "Settings that are not valid are not in the link" in texts(new)


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ('{"seeds": 99, "steps": 200}', {"steps": 200}),
        ('{"model": "char_gru", "seeds": 2}', {"seeds": 2}),
        ('{"arms": ["<b>"], "device": "cuda:7"}', {}),
        ('{"arms": ["dropout=0.1", "dropout=0.3+l2"]}', {}),  # the form has one field for both
        ('{"arms": "none", "train_sizes": [0], "model_config": {}}', {}),
        ('{"dataset": "folder:/etc"}', {}),
        ("null", {}),
    ],
)
def test_a_link_to_a_study_that_cannot_be_is_a_sentence(open_page: Open, warm: None, given: str, left: object) -> None:
    at = open_page("regularization", view="New study", set=given)
    assert len(at.warning) == 1
    assert not at.error
    assert "<b>" not in at.warning[0].value
    assert json.loads(link(at).get("set", "{}")) == left


def test_a_combination_is_added_once_and_can_be_taken_out(new: AppTest) -> None:
    click(new, "new-add")
    assert "Choose two or more techniques" in new.error[0].value
    for sentence in (None, "is there already"):
        new.multiselect(key="new-together").set_value(["mixup", "l2"])
        click(new, "new-add")
        assert [sentence in read(error.value) for error in new.error] == ([True] if sentence else [])
    assert "18 runs" in texts(new)
    click(new, "new-remove-l2+mixup")
    assert "15 runs" in texts(new)


def test_several_of_each_fills_in_the_usual_strengths(new: AppTest, submitted: list[str]) -> None:
    click(click(new, "new-grid"), "start-study")
    assert "dropout=0.1/0.3/0.5/0.7" in RunStore().config(submitted[0]).arms


BAD = {
    "nothing chosen": ("multiselect", "new-alone", [], "No technique is chosen"),
    "no size": ("text_input", "study-sizes", "", "No training-set size is given"),
    "size above the data": ("text_input", "study-sizes", "500 45001", "A training-set size of 45,001 is not valid"),
    "size in words": ("text_input", "study-sizes", "many", "'many' is no number of training images"),
    "strength out of range": ("text_input", "new-strength-dropout", "1.5", "Dropout 1.5 is not valid: the probability"),
    "strength in words": ("text_input", "new-strength-dropout", "lots", "Dropout: 'lots' is no strength"),
    "no strength": ("text_input", "new-strength-dropout", " ", "Dropout: The strength is empty"),
    "strength twice": ("text_input", "new-strength-dropout", "0.2 0.2", "Dropout 0.2/0.2 names a strength twice"),
    "strength that is an arm": ("text_input", "new-strength-dropout", "0.2+l2=1", "Dropout: '0.2+l2=1' is no strength"),
    "other model": ("selectbox", "study-model", "fast_resnet", ""),
}


@pytest.mark.parametrize(("kind", "key", "value", "sentence"), BAD.values(), ids=BAD)
def test_a_bad_value_is_one_sentence_and_nothing_is_lost(
    new: AppTest, submitted: list[str], kind: str, key: str, value: object, sentence: str
) -> None:
    new.multiselect(key="new-alone").set_value(["l2", "dropout", "batch_norm"]).run()
    new.text_input(key="new-strength-l2").set_value("0.7").run()
    getattr(new, kind)(key=key).set_value(value).run()
    assert not new.exception, new.exception
    assert len(new.error) == 1
    assert (sentence or "Batch-norm cannot be used with Fast ResNet: take it out.") in read(new.error[0].value)
    assert new.button(key="start-study").disabled
    assert not RunStore().list()
    assert "changes the images" not in texts(new), "what is not valid changes nothing, nor does it not"
    assert getattr(new, kind)(key=key).value == value
    if key != "new-alone":
        assert new.multiselect(key="new-alone").value == ["l2", "dropout", "batch_norm"]
        assert new.text_input(key="new-strength-l2").value == "0.7"


def test_one_seed_is_warned_of(new: AppTest) -> None:
    assert not new.warning
    new.number_input(key="study-seeds").set_value(1).run()
    assert "there will be no verdict" in new.warning[0].value


@pytest.mark.parametrize(
    ("typed", "sizes"),
    [("500", (500,)), ("2,000, 500", (2000, 500)), ("500;5000/45,000", (500, 5000, 45000)), (" ", ())],
)
def test_sizes_are_read_as_people_write_them(typed: str, sizes: tuple[int, ...]) -> None:
    assert parse_sizes(typed) == sizes


def test_augmentations_are_shown_before_anything_is_trained(new: AppTest) -> None:
    rerun(new.multiselect(key="new-alone").set_value(["l2", "augment", "mixup"]))
    said = texts(new)
    shown = {
        title: f"**{title}**" in said
        for title in ("As they are", "Flip + crop 2", "Mixup 0.2", "L2 (weight decay) 0.3")
    }
    assert list(shown.values()) == [True, True, True, False]
    mixed = [caption.value for caption in new.caption if "% airplane" in caption.value]
    assert mixed
    before = [image.proto.imgs[0].url for image in new.get("image")]
    after = [image.proto.imgs[0].url for image in click(new, "study-draw-again").get("image")]
    assert len(before) == 3 * 4
    assert before[:4] == after[:4]
    assert before[4:] != after[4:]

"""Synthesis / Worth on its own page: the answer of the study that ships and of those of this machine, and the form."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from core.data.generated import GeneratedCard, write_generated
from core.jobs import LocalEngine, RunStore
from core.regularization.study import StudyConfig
from core.synthesis import worth
from core.synthesis.worth import read_worth
from pages.shared.registry import Page
from pages.synthesis.worth import render
from tests.app.conftest import Open, click, read, rerun, texts
from tests.app.studies import ship, store_study
from tests.unit.synthesis.made import draw, made_up

PAGE = Page(name="worth", title="Worth", icon=":material/sell:", section="Data", question="Worth?", script=render)


@pytest.fixture(autouse=True)
def room(_alone: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAB_ROOMS", "tests.app.test_worth")
    monkeypatch.setattr(worth.WORTH, "shipped", tmp_path / "shipped")
    monkeypatch.setattr(LocalEngine, "tick", lambda self: None)


def write_set(count: int = 300, base: str = "cifar10") -> None:
    split = draw(count, 0)
    images = split.images.repeat(2, 1).repeat(2, 2)
    card = GeneratedCard(title="Flow *1*", base=base, checkpoint="flow", trained_on=45_000, count=count)
    write_generated("flow-1", images, split.labels, card)


def test_without_a_study_the_page_says_what_to_do(open_page: Open) -> None:
    at = open_page("worth")
    assert "generate images, then start one below" in texts(at)
    at = open_page("worth", new="1")
    assert "Generate a set of images first" in texts(at)


def test_the_answer_of_the_study_that_ships_stands_first(open_page: Open, tmp_path: Path) -> None:
    result = made_up(trained_on=45_000)
    ship(tmp_path / "shipped", result, "worth")
    at = open_page("worth", table="1")
    found = read_worth(result)
    assert read(at.markdown[0].value) == f"## {found.headline}"
    assert found.leak in [read(item.value) for item in at.warning]
    assert found.score_words in texts(at)
    assert len(at.get("plotly_chart")) == 1
    assert "Real + synthetic, 1,000" in texts(at)
    assert not at.get("page_link") or "The whole study" not in [link.proto.label for link in at.get("page_link")]


def test_a_study_of_this_machine_is_chosen_by_its_address_and_linked(open_page: Open, tmp_path: Path) -> None:
    ship(tmp_path / "shipped", made_up(), "worth")
    mine = dataclasses.replace(made_up(adds={"synthetic": -0.05, "more_real": 0.1}), name="Mine")
    run_id = store_study(mine)
    store_study(dataclasses.replace(made_up(), config=StudyConfig(seeds=1), members=(), name="Ordinary"))
    at = open_page("worth", worth=run_id)
    assert at.selectbox(key="worth-study").options == ["Example", "Mine"]
    assert "add −5.0 points" in at.markdown[0].value
    links = {link.proto.label: link.proto.query_string for link in at.get("page_link")}
    assert run_id in links["The whole study"]
    rerun(at.selectbox(key="worth-study").set_value("worth"))
    assert read(at.markdown[0].value) == f"## {read_worth(made_up()).headline}"
    at = open_page("regularization", view="Studies", study=run_id)
    assert "adding real images helps" in texts(at)


def test_the_form_starts_a_study_of_a_set(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    write_set()
    at = open_page("worth", new="1")
    assert not at.error
    assert at.selectbox(key="worth-set").options == ["Flow *1*"]
    rerun(at.number_input(key="worth-count-generated:flow-1").set_value(200))
    rerun(at.number_input(key="worth-seeds").set_value(2))
    assert "24 runs" in texts(at)
    monkeypatch.setattr("pages.shared.run_controls.open_run", lambda run: None)
    click(at, "start-worth")
    (run,) = RunStore().list()
    assert run.kind == "study"
    assert run.name == "Worth of Flow *1*"
    assert run.config.arms == ("none", "synthetic=200", "synthetic_only=200", "more_real=200")
    assert run.config.train_sizes == (100, 1000, 44_800)
    assert (run.config.extra_dataset, run.config.seeds) == ("generated:flow-1", 2)


def test_a_mistake_is_one_sentence_and_nothing_is_lost(open_page: Open) -> None:
    write_set()
    at = open_page("worth", new="1")
    rerun(at.number_input(key="worth-seeds").set_value(0))
    assert len(at.error) == 1
    assert at.button(key="start-worth").disabled
    rerun(at.number_input(key="worth-seeds").set_value(3))
    assert not at.error
    rerun(at.multiselect(key="worth-sizes-generated:flow-1-300").set_value([]))
    assert len(at.error) == 1


def test_a_set_is_listed_with_the_datasets_and_offered_for_training(open_page: Open, tiny_dataset_folder: Path) -> None:
    write_set(base=f"folder:{tiny_dataset_folder}")
    at = open_page("datasets")
    assert "Flow *1*" in texts(at)
    click(at, "open-generated:flow-1")
    assert "learned from 45,000 real ones" in texts(at)
    assert not at.error
    at = open_page("images", view="Train")
    assert "Flow *1*" in at.selectbox(key="dataset").options
    assert "Flow *1*" in at.selectbox(key="extra_dataset-simple_cnn-quick").options
    assert at.number_input(key="extra_images-simple_cnn-quick").disabled
    rerun(at.selectbox(key="extra_dataset-simple_cnn-quick").set_value("generated:flow-1"))
    assert not at.number_input(key="extra_images-simple_cnn-quick").disabled

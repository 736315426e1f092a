"""What Copy link gives, opened cold, says the same; Back within a page restores what was there."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core.checkpoints.store import Card
from core.common.errors import LabError
from core.compression.store import COMPRESSIONS
from core.data.dataset import ImageDataset
from core.regularization.store import STUDIES
from pages.shared import uploads
from pages.shared.upload_box import KEY
from pages.shared.url_values import TEXT_CHARACTERS
from tests.app.compressions import result_of as compressed
from tests.app.compressions import ship as ship_recipe
from tests.app.conftest import (
    Open,
    at_tab,
    click,
    follow,
    link,
    random_image,
    read,
    rerun,
    select,
    texts,
    unfold,
    wait_for,
    write_checkpoint,
    write_text_checkpoint,
)
from tests.app.studies import result_of as studied
from tests.app.studies import ship as ship_study
from tests.app.test_classify import give, headline, shown
from tests.app.test_classify import test_set as test_set
from tests.app.test_train import finished_run
from tests.app.text_page import verse_data

pytestmark = pytest.mark.usefixtures("warm")


def cold(open_page: Open, page: str, at: AppTest) -> AppTest:
    """The link of this page in a new session."""
    return open_page(page, **link(at))


def words(at: AppTest) -> list[str]:
    """What the page says, without the times that it took."""
    return [line for line in texts(at).splitlines() if " ms" not in line and " s." not in line]


def choose_view(at: AppTest, name: str) -> AppTest:
    return rerun(at.segmented_control(key="view").set_value(name))


def shown_token(at: AppTest) -> str:
    return str(at.session_state[KEY].token)


# Images


def test_of_a_drawing_and_two_checkpoints(open_page: Open, shipped: Card, lab_home: Path) -> None:
    write_checkpoint(lab_home / "none" / "other", seed=5, title="Other")
    at = click(open_page("images"), "example-ship")
    assert link(at) == {"example": "ship"}
    rerun(at.toggle(key="compare").set_value(True))
    assert set(link(at)) == {"example", "second"}
    assert words(cold(open_page, "images", at)) == words(at)


def test_of_a_test_image(open_page: Open, shipped: Card, test_set: ImageDataset) -> None:
    at = rerun(open_page("images").segmented_control(key="source").set_value("Test set"))
    rerun(at.number_input(key="test-index").set_value(7))
    assert link(at) == {"image": "7"}
    other = cold(open_page, "images", at)
    assert (headline(other), shown(other)) == (headline(at), "test image 7")
    at.session_state["test-index"] = 3  # what a browser says that has not heard of the image yet
    assert rerun(at).number_input(key="test-index").value == 7
    assert shown(at) == "test image 7"


def test_an_upload_outlives_a_reload_and_is_not_in_the_link(open_page: Open, shipped: Card) -> None:
    at = give(open_page("images"), random_image())
    assert "upload" not in link(at)
    assert "Your own image is not in the link" in texts(at)
    token = shown_token(at)
    reloaded = open_page("images", upload=token)
    assert headline(reloaded) == headline(at)
    click(reloaded, "clear-image")
    at = open_page("images", upload=token)
    assert [read(warning.value) for warning in at.warning] == [
        "Your uploaded image is gone from this server: upload it again."
    ]
    assert at.button(key="example-ship")


def test_an_upload_is_forgotten_in_time_and_the_oldest_where_there_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MOST_BYTES", 10)
    kept = uploads.Uploads()
    first, second, third = (kept.keep(bytes(4), name) for name in "abc")
    assert [kept.find(token).title for token in (second, third)] == ["b", "c"]
    with pytest.raises(LabError, match="upload it again"):
        kept.find(first)
    monkeypatch.setattr(uploads, "KEEP_S", 0.0)
    late = uploads.Uploads()
    tokens = [late.keep(bytes(1), name) for name in "ab"]
    wait_for(lambda: not late._found)  # by itself: nobody gives or looks for another
    for token in tokens:
        with pytest.raises(LabError, match="upload it again"):
            late.find(token)


def test_a_checkpoint_of_another_task_is_not_named(open_page: Open, shipped: Card, scribe: Card) -> None:
    at = open_page("images", checkpoint="tiny")
    rerun(follow(at, "text"))
    assert not link(at)
    assert not at.query_params


def test_the_link_is_whole_on_a_page_that_one_has_just_come_to(open_page: Open, shipped: Card) -> None:
    at = follow(click(open_page("images"), "example-ship"), "attribution")
    assert not at.query_params
    assert link(at) == {"example": "ship"}


# Attribution


def test_of_an_explanation_with_settings(open_page: Open, shipped: Card) -> None:
    at = click(open_page("attribution"), "example-bird")
    rerun(at.selectbox(key="why-class").set_value((at.selectbox(key="why-class").value + 1) % 10))
    rerun(at.selectbox(key="why-baseline").set_value("black"))
    click(at, "compare-methods-grid")
    click(at, "closer-saliency")
    rerun(at.selectbox(key="closer-box").set_value("integrated_gradients"))
    at.number_input(key="setting-integrated_gradients-steps").set_value(17)
    click(at, "apply-integrated_gradients")
    assert link(at)["settings"] == "integrated_gradients.steps:17"
    assert words(cold(open_page, "attribution", at)) == words(at)


def test_a_chosen_class_is_kept_for_its_image(open_page: Open, shipped: Card) -> None:
    at = click(open_page("attribution"), "example-bird")
    first = at.selectbox(key="why-class").value
    rerun(at.selectbox(key="why-class").set_value((first + 1) % 10))
    choose_view(at, "Compare")
    assert "target" not in link(at), "classes are compared there"
    choose_view(at, "Explain")
    assert at.selectbox(key="why-class").value == (first + 1) % 10
    follow(at, "images")
    follow(at, "attribution")
    assert at.selectbox(key="why-class").value == (first + 1) % 10
    click(at, "clear-image")
    click(at, "example-ship")
    assert "target" not in link(at)


def test_of_a_comparison(open_page: Open, shipped: Card) -> None:
    at = choose_view(click(open_page("attribution"), "example-bird"), "Compare")
    at.multiselect(key="compare-methods").set_value(["input_x_gradient"])
    rerun(at.multiselect(key="compare-classes").set_value(["cat", "dog"]))
    assert link(at)["compare-classes"] == "cat,dog"
    assert words(cold(open_page, "attribution", at)) == words(at)


def test_what_a_link_says_twice_counts_once(open_page: Open, shipped: Card) -> None:
    query = {"example": "ship", "compare-methods": "saliency,saliency", "compare-classes": "cat,dog,cat"}
    at = open_page("attribution", view="Compare", **query)
    assert at.multiselect(key="compare-methods").value == ["saliency"]
    assert at.multiselect(key="compare-classes").value == ["cat", "dog"]


@pytest.mark.parametrize(
    "query",
    [
        {"target": "<b>"},
        {"baseline": "<b>"},
        {"closer": "<b>"},
        {"settings": "lime.samples:many"},
        {"settings": "lime.samples:-1"},
        {"settings": "<b>"},
        {"image": "-1"},
        {"example": "<b>"},
        {"view": "<b>"},
        {"view": "Compare", "compare-classes": "cat,<b>"},
    ],
)
def test_a_hostile_value_is_one_warning_and_the_default(open_page: Open, shipped: Card, query: dict[str, str]) -> None:
    at = open_page("attribution", **({} if "image" in query else {"example": "ship"}) | query)
    assert len(at.warning) == 1
    assert not at.error
    rerun(at)
    assert len(at.warning) == 1, "it stands there until something else is chosen"
    assert not {*query} - {"view"} & {*link(at)}


def test_an_unknown_checkpoint_is_one_warning_that_lists_none_of_other_pages(
    open_page: Open, shipped: Card, scribe: Card
) -> None:
    at = open_page("images", checkpoint="nope")
    (warning,) = (read(item.value) for item in at.warning)
    assert "'nope'" in warning
    assert "default" in warning
    assert not any(name in warning for name in ("scribe", "folder"))
    assert not at.error


# Text


def written(at: AppTest) -> str:
    """What stands on the page once it is written."""
    wait_for(lambda: not verse_data(rerun(at))["busy"])
    return str(verse_data(at)["text"])


def test_of_a_text(open_page: Open, scribe: Card) -> None:
    at = open_page("text")
    at.segmented_control(key="write-pace").set_value("fast")
    at.text_area(key="prompt").set_value("ANNA:\nthe night, ")
    for key, value in (("length", 40), ("seed", 2**31 - 1), ("top_k", 9), ("top_p", 0.95)):
        at.number_input(key=f"write-{key}").set_value(value)
    at.slider(key="write-temperature").set_value(1.35)
    click(at, "write")
    text = written(at)
    rerun(at.toggle(key="write-colour").set_value(False))
    other = cold(open_page, "text", at)
    assert written(other) == text
    assert other.toggle(key="write-colour").value is False
    assert other.segmented_control(key="write-pace").value == "fast"
    assert "by hand" not in texts(at)
    written(click(at, "continue"))
    assert "by hand is not in the link" in texts(at)
    written(click(at, "undo"))
    assert "by hand" not in texts(at)
    rerun(at.text_area(key="prompt").set_value("a" * (TEXT_CHARACTERS + 1)))
    assert "prompt" not in link(at)
    assert "The prompt is not in the link" in texts(at)


def test_of_two_texts(open_page: Open, scribe: Card, lab_home: Path) -> None:
    write_text_checkpoint(lab_home / "none" / "other", seed=5, title="Other")
    at = open_page("text", view="Side by side")
    at.selectbox(key="pair-first").set_value("other")
    at.number_input(key="pair-length").set_value(30)
    at.toggle(key="pair-colour").set_value(False)
    rerun(at.slider(key="pair-second-temperature").set_value(0.3))
    click(at, "write-both")
    other = cold(open_page, "text", at)
    assert other.toggle(key="pair-colour").value is False
    keys = ("verse-0", "verse-1")
    for page in (at, other):
        wait_for(lambda page=page: not any(verse_data(rerun(page), key)["busy"] for key in keys))
    for key in keys:
        assert verse_data(other, key)["text"] == verse_data(at, key)["text"]


def test_of_why_a_character_and_of_a_unit(open_page: Open, lab_home: Path) -> None:
    write_text_checkpoint(lab_home / "none" / "char_lstm", model="char_lstm")
    at = open_page("text", view="Why this one")
    rerun(at.segmented_control(key="next-method").set_value("occlusion"))
    rerun(at.segmented_control(key="next-window").set_value(3))
    choices = list(at.pills(key="next-target").options)
    rerun(at.pills(key="next-target").set_value(choices[1]))
    said = [line for line in words(at) if line.startswith("#### Why ")]
    assert said
    assert said == [line for line in words(cold(open_page, "text", at)) if line.startswith("#### Why ")]
    at = choose_view(at, "Inside the RNN")
    assert set(link(at)) == {"view"}, "what another view knows is not in its link"
    rerun(at.selectbox(key="inside-sort").set_value("variance"))
    rerun(at.selectbox(key="inside-unit").set_value(3))
    assert link(at)["unit"] == "3"
    assert words(cold(open_page, "text", at)) == words(at)
    at = choose_view(at, "Why this one")
    assert link(at)["method"] == "occlusion"


# Jobs


def test_of_an_example_study(open_page: Open, lab_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ship_study(lab_home / "shipped-studies", studied())
    monkeypatch.setattr(STUDIES, "shipped", lab_home / "shipped-studies")
    at = at_tab(open_page("regularization"), "shipped-example", "Classes")
    rerun(at.segmented_control(key="size-shipped-example").set_value(2000))
    arm = at.selectbox(key="classes-shipped-example")
    rerun(arm.set_value(arm.options[2]))
    assert set(link(at)) == {"size", "more", "tab", "arm"}
    assert words(cold(open_page, "regularization", at)) == words(at)
    at.session_state["more-shipped-example"] = False
    assert set(link(rerun(at))) == {"size"}, "what is folded is not seen"
    assert len(open_page("regularization", size="7", more="1", tab="Classes", arm="<b>").warning) == 2


def test_of_an_example_recipe(open_page: Open, shipped: Card, lab_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ship_recipe(lab_home / "shipped-recipes", compressed())
    monkeypatch.setattr(COMPRESSIONS, "shipped", lab_home / "shipped-recipes")
    at = at_tab(open_page("compression"), "shipped-images", "Layers")
    box = at.selectbox(key="layers-shipped-images")
    rerun(box.set_value(box.options[0] if box.index else box.options[1]))
    rerun(at.segmented_control(key="cost-shipped-images").set_value("onnx_b1"))
    unfold(at, "variants-shipped-images")
    assert set(link(at)) == {"more", "variants", "variant", "cost"}
    other = cold(open_page, "compression", at)
    assert words(other) == words(at)
    assert other.selectbox(key="layers-shipped-images").value == at.selectbox(key="layers-shipped-images").value


def test_of_chosen_runs(open_page: Open, lab_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("One", "Two"):
        finished_run(lab_home, name)
    at = open_page("runs")
    at.session_state[at.dataframe[0].key] = {"selection": {"rows": [0, 1], "columns": [], "cells": []}}
    rerun(at)
    assert set(link(at)) == {"runs"}
    other = cold(open_page, "runs", at)
    assert other.get("plotly_chart")
    assert words(other) == words(at)
    assert len(open_page("runs", runs="20200101-none").warning) == 1
    monkeypatch.setattr("pages.runs.table.MOST_IN_LINK", 1)
    assert not link(select(at, 0, 1))
    assert "The chosen runs are not in the link" in texts(at)

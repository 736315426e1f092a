"""The square of an upload that the model sees: chosen in the browser, kept in the address, the same on every page."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.attribution.explainer import Explainer
from core.attribution.methods.registry import get_method
from core.checkpoints.store import load_checkpoint
from core.common.report import Report
from core.data.decode import decode_image, fit_to_model
from core.data.square import parse_square
from pages.attribution import explain
from pages.attribution.query import AttributionQuery
from pages.attribution.report import command_of
from pages.images import view
from tests.app.conftest import Open, click, follow, random_image, read, rerun, texts, write_checkpoint
from tests.app.test_classify import give, headline

pytestmark = pytest.mark.usefixtures("warm")

PHOTO = random_image(size=(128, 64))
CHOSEN, OTHER = "0.5,0.25,0.5", "0,0,0.25"


@pytest.fixture
def folder(lab_home: Path) -> Path:
    folder = lab_home / "none" / "tiny"
    write_checkpoint(folder)
    return folder


@pytest.fixture
def at(open_page: Open, folder: Path) -> AppTest:
    return give(open_page("images"), PHOTO)


def element(at: AppTest) -> Any:
    return next(found for found in at.get("bidi_component") if found.key == "photo-square")


def shown(at: AppTest) -> dict[str, Any]:
    """What the browser is given."""
    found: dict[str, Any] = json.loads(element(at).proto.json)
    return found


def send(at: AppTest, square: object, *, done: bool = True, revision: str | None = None) -> AppTest:
    """What square.js would send: AppTest has no browser."""
    states = at._tree.get_widget_states()
    sent = {"square": square, "done": done, "revision": shown(at)["revision"] if revision is None else revision}
    states.widgets.add(id=element(at).proto.id, json_value=json.dumps({"square": sent}))
    at._run(states)
    assert not at.exception, at.exception
    return at


def address(at: AppTest) -> str | None:
    found = at.query_params.get("square")
    return found[0] if isinstance(found, list) else found


def pixels(square: str) -> np.ndarray:
    return fit_to_model(decode_image(PHOTO).rgb, 32, parse_square(square) if square else None)


def answer_to(folder: Path, square: str) -> str:
    from core.inference.images import classify

    label, probability = classify(load_checkpoint(str(folder)), pixels(square)[None])[0].top[0]
    return f"## Tiny says {label} · {100 * probability:.0f}%"


def test_the_answer_is_to_the_square(at: AppTest, folder: Path) -> None:
    assert headline(at) == answer_to(folder, "")
    assert shown(at)["square"] == ""
    send(at, CHOSEN)
    assert headline(at) == answer_to(folder, CHOSEN)
    assert shown(at)["square"] == CHOSEN
    seen = at.session_state["input-image"]
    assert seen.data == PHOTO, "the photo itself stays whole"
    click(at, "central-square")
    assert headline(at) == answer_to(folder, "")
    assert (shown(at)["square"], address(at)) == ("", None)


def test_a_drag_is_one_step_of_the_address(at: AppTest, folder: Path) -> None:
    send(at, CHOSEN, done=False)
    assert headline(at) == answer_to(folder, CHOSEN)
    assert address(at) is None
    send(at, OTHER)
    assert address(at) == OTHER


def test_a_reload_keeps_photo_and_square_and_a_copied_link_has_neither(at: AppTest, open_page: Open) -> None:
    send(at, CHOSEN)
    token = at.session_state["input-image"].token
    assert dict(parse_qsl(urlsplit(at.code[0].value).query)) == {}
    reloaded = open_page("images", upload=token, square=CHOSEN)
    assert headline(reloaded) == headline(at)
    assert shown(reloaded)["square"] == CHOSEN
    assert address(reloaded) == CHOSEN


def test_back_wins_over_what_the_browser_sent_before(at: AppTest, folder: Path) -> None:
    send(at, CHOSEN)
    before = shown(at)["revision"]
    send(at, OTHER)
    at.query_params["square"] = CHOSEN
    rerun(at)
    assert headline(at) == answer_to(folder, CHOSEN)
    assert shown(at)["square"] == CHOSEN
    assert shown(at)["revision"] != before
    send(at, OTHER, revision=before)  # late
    assert shown(at)["square"] == CHOSEN


@pytest.mark.parametrize("text", ["nan,0,1", "0,0,7", "0.1,0.2", "![](http:evil)"])
def test_a_square_of_the_address_that_is_none_becomes_the_central_one(
    at: AppTest, open_page: Open, folder: Path, text: str
) -> None:
    token = at.session_state["input-image"].token
    at = open_page("images", upload=token, square=text)
    assert headline(at) == answer_to(folder, "")
    assert "The central square is used" in read(at.warning[0].value)
    assert address(at) is None


@pytest.mark.parametrize("square", [None, 7, "nan,0,1", "0,0,7", "0.1", ["0", "0", "1"]])
def test_what_a_browser_sends_that_is_no_square_is_not_taken(at: AppTest, square: object) -> None:
    send(at, CHOSEN)
    send(at, square)
    assert shown(at)["square"] == CHOSEN


def test_another_upload_begins_with_its_central_square(at: AppTest) -> None:
    send(at, CHOSEN)
    give(at, random_image(size=(90, 50)), "other.png")
    assert (shown(at)["square"], address(at)) == ("", None)


def test_only_an_upload_has_a_square(at: AppTest) -> None:
    send(at, CHOSEN)
    click(at, "clear-image")
    click(at, "example-ship")
    assert address(at) is None
    assert not [found for found in at.get("bidi_component") if found.key == "photo-square"]


def test_it_is_said_where_the_square_has_fewer_pixels_than_the_model_sees(at: AppTest) -> None:
    assert "enlarged" not in texts(at)
    send(at, OTHER)
    assert "32×32 pixels, enlarged from 16×16" in texts(at)


def test_a_report_names_the_square_in_its_command(at: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    reports: list[Callable[[], Report]] = []
    monkeypatch.setattr(view, "report_button", lambda build, *_, **__: reports.append(build))
    send(at, CHOSEN)
    assert f"--square {CHOSEN}" in reports[-1]().command
    click(at, "central-square")
    assert "--square" not in reports[-1]().command


def test_the_reason_is_of_the_same_square(at: AppTest, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    send(at, CHOSEN)
    token = at.session_state["input-image"].token
    asked: list[AttributionQuery] = []
    monkeypatch.setattr(explain, "show_answer", asked.append)
    follow(at, "attribution", upload=token, square=CHOSEN)
    assert np.array_equal(asked[-1].pixels, pixels(CHOSEN))
    assert shown(at)["square"] == CHOSEN
    crop = decode_image(PHOTO).rgb[16:48, 64:96]
    assert np.array_equal(asked[-1].seen.square, crop), "the map is drawn on it"
    found = Explainer(load_checkpoint(str(folder))).attribute(
        get_method("saliency"), asked[-1].pixels, asked[-1].target
    )
    assert f"--square {CHOSEN}" in command_of(asked[-1], found, "photo.png")
    send(at, OTHER)
    assert np.array_equal(asked[-1].pixels, pixels(OTHER))

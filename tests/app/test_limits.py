"""A server for many: what its pages say when it is read-only, or when a user has as much as they may."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from core.jobs import RunStore
from pages.shared.resources import start_new
from pages.shared.user import BROWSER_COOKIE, MOST_CHARACTERS, _unmasked, user
from tests.app.conftest import Open, click, read, rerun
from tests.unit.failures import refusal


def test_a_read_only_server_says_so_and_offers_no_start(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_READ_ONLY", "1")
    at = open_page("images", view="Train")
    assert at.button(key="start").disabled
    assert "read-only" in at.button(key="start").help
    assert any("Read-only" in caption.value for caption in at.sidebar.caption)


def test_a_refused_start_is_one_sentence_and_leaves_no_run(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_QUOTA_RUNS", "0")
    at = open_page("images", view="Train")
    click(at, "start")
    assert [read(error.value) for error in at.error] == [
        "Users cannot start runs on this server: ask its administrator."
    ]
    assert not RunStore().list()


@pytest.mark.parametrize(
    ("page", "address", "uploader"),
    [
        ("datasets", {"view": "Add photos"}, "photos-zip-0"),
        ("networks", {}, "network-file-0"),
        ("text", {"view": "Train", "dataset": "file"}, "text-upload"),
    ],
)
def test_a_refused_upload_is_one_sentence_and_nothing_is_stored(
    page: str, address: dict[str, str], uploader: str, open_page: Open, lab_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_QUOTA_GB", "0.001")
    at = open_page(page, **address)
    end = {"photos-zip-0": "zip", "network-file-0": "onnx"}.get(uploader, "txt")
    data = b"To be, or not to be. " * 50_000
    at = rerun(at.file_uploader(key=uploader).set_value((f"mine.{end}", data, "application/octet-stream")))
    said = [read(error.value) for error in at.error]
    assert len(said) == 1
    assert "2 MB" in said[0]
    assert "1 MB" in said[0]
    kept = [path for name in ("data/images", "data/texts", "networks") for path in (lab_home / name).glob("*")]
    assert not kept


def test_a_refused_start_makes_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_QUOTA_RUNS", "0")
    with refusal("cannot start runs"):
        start_new(lambda: pytest.fail("it was made"))


def test_the_name_is_that_of_the_header_or_else_of_the_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    context = SimpleNamespace(headers={"X-Forwarded-User": "Ada\nLovelace " + "x" * 100}, cookies={BROWSER_COOKIE: "a"})
    monkeypatch.setattr("pages.shared.user.st", SimpleNamespace(context=context, session_state={}))
    browser = user()
    monkeypatch.setenv("LAB_USER_HEADER", "X-Forwarded-User")
    named = user()
    assert named.startswith("Ada Lovelace x")
    assert len(named) <= MOST_CHARACTERS
    context.headers.clear()
    assert user() == browser
    context.cookies[BROWSER_COOKIE] = "b"
    assert user() != browser
    context.cookies.clear()
    assert user() == user()


def test_a_browser_stays_one_user_though_its_cookie_is_masked_anew() -> None:
    token, other = bytes(range(16)), bytes(16)

    def cookie(token: bytes, mask: bytes) -> str:
        return f"2|{mask.hex()}|{bytes(a ^ mask[place % 4] for place, a in enumerate(token)).hex()}|1796000000"

    masks = (b"\x01\x02\x03\x04", b"\xff\x00\xaa\x55")
    assert len({_unmasked(cookie(token, mask)) for mask in masks}) == 1
    assert _unmasked(cookie(token, masks[0])) != _unmasked(cookie(other, masks[0]))
    assert _unmasked("something else") != _unmasked("another")

"""The registry of pages, and links between them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.routing import Match

from core.checkpoints.store import Card
from core.common.errors import LabError
from core.jobs import LocalEngine, RunStore
from core.regularization.kind import STUDY
from core.regularization.study import StudyConfig
from pages.shared.registry import ROOMS, pages
from streamlit_app import app, deep_routes, routes
from tests.app.conftest import HOSTILE, ROOT, Open, click, follow, read, sources


@pytest.mark.parametrize(
    ("path", "query", "leads"),
    [
        ("/images/Train", b"", "../images?view=Train"),
        ("/text/Why this one", b"a=%26", "../text?view=Why+this+one&a=%26"),
        ("/nonsense/more", b"", "../nonsense"),
        ("/images/Train/more/", b"a=1", "../../../images?a=1"),
        ("/images/Train/", b"a=1", "../../images?view=Train&a=1"),
    ],
)
def test_a_view_as_a_path_leads_to_the_view(path: str, query: bytes, leads: str) -> None:
    scope = {"type": "http", "method": "GET", "path": path, "query_string": query, "headers": []}
    scope |= {"server": ("localhost", 80), "scheme": "http"}
    found, *_ = (fit[1] for route in app._user_routes if (fit := route.matches(scope))[0] == Match.FULL)
    answer = asyncio.run(found["endpoint"](Request(scope | found)))
    assert (answer.status_code, answer.headers["location"]) == (307, leads)


@pytest.mark.parametrize(
    "path",
    ["/", "/images", "/nonsense", "/static/js/index.js", "/_stcore/health", "/nonsense/_stcore/health", "/media/a.png"],
)
def test_what_streamlit_serves_leads_nowhere_else(path: str) -> None:
    scope = {"type": "http", "method": "GET", "path": path}
    assert not [route for route in app._user_routes if route.matches(scope)[0] == Match.FULL]


def test_below_a_path_of_the_server_streamlit_keeps_all_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(deep_routes()) == 1
    monkeypatch.setattr("streamlit_app.st.get_option", {"server.baseUrlPath": "lab"}.get)
    assert not deep_routes()


def test_a_room_from_elsewhere_has_such_paths_and_home_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_ROOMS", "tests.toy_room")
    assert [route.path for route in routes()] == [f"/{name}/{{view}}" for name in pages() if name != "home"]
    assert routes()[-1].path == "/toy/{view}"


def test_two_pages_of_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "double_room.py").write_text("from pages.text import PAGE")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("LAB_ROOMS", "double_room")
    with pytest.raises(LabError, match="Two pages are called text"):
        pages()
    assert not routes(), "the server starts, and says so on its pages"


def test_every_folder_with_a_page_is_a_room() -> None:
    assert {f"pages.{path.parent.name}" for path in (ROOT / "pages").glob("*/page.py")} == set(ROOMS)


def test_every_page_has_an_icon_of_its_own() -> None:
    icons = [page.icon for page in pages().values()]
    assert len(set(icons)) == len(icons)


def test_a_link_opens_its_view_also_from_a_page_with_another_view(open_page: Open) -> None:
    """And the page that was left comes back as it was."""
    run_id = RunStore().create(StudyConfig(), "Mine", kind=STUDY.name)
    at = follow(open_page("images", view="Train"), "regularization", view="Studies", study=run_id)
    assert at.segmented_control(key="view").value == "Studies"
    assert "#### Mine" in sources(at)
    at = follow(follow(at, "home"), "images")
    assert at.segmented_control(key="view").value == "Train"
    assert follow(at, "images", view="Evaluate").segmented_control(key="view").value == "Evaluate"
    assert follow(at, "images").segmented_control(key="view").value == "Train"  # Back, to what stood there unnamed


PARAMETERS = [
    ("images", "checkpoint", {}),
    ("text", "checkpoint", {}),
    ("images", "run", {"view": "Train"}),
    ("regularization", "study", {}),
    ("compression", "recipe", {}),
]


@pytest.mark.parametrize("value", ["20200101-000000-none-0000", "../../etc/passwd", "x\0y", "a" * 5000, HOSTILE])
@pytest.mark.parametrize(("page", "name", "query"), PARAMETERS, ids=[f"{page}-{name}" for page, name, _ in PARAMETERS])
def test_an_address_of_nothing_is_one_sentence(
    open_page: Open, shipped: Card, scribe: Card, page: str, name: str, query: dict[str, str], value: str
) -> None:
    at = open_page(page, **query, **{name: value})
    told = at.warning if name == "checkpoint" else at.error
    assert len(told) == 1
    assert "\n" not in told[0].value
    assert "![" not in sources(at)
    assert "](http:evil" not in sources(at)
    if name == "checkpoint":
        assert at.selectbox(key="checkpoint").value in ("tiny", "scribe")


@pytest.mark.parametrize(
    ("page", "view", "key"),
    [
        ("images", "Train", "start"),
        ("regularization", "New study", "start-study"),
        ("compression", "New recipe", "start-recipe"),
    ],
)
def test_what_the_engine_refuses_is_one_sentence(
    open_page: Open, shipped: Card, warm: None, monkeypatch: pytest.MonkeyPatch, page: str, view: str, key: str
) -> None:
    def refuse(self: LocalEngine, run_id: str, **_: object) -> None:
        raise LabError("There is no room: stop a run first.")

    monkeypatch.setattr(LocalEngine, "submit", refuse)
    at = click(open_page(page, view=view), key)
    assert read(at.error[0].value) == "There is no room: stop a run first."

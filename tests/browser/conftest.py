"""Journeys through the real app in a real Chromium."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from tests.browser.chromium import FLAGS, find_chromium
from tests.browser.lab import Lab

WAIT_MS = 30_000
"""A cold server imports torch before its first answer, on a machine that may be busy."""

PROBE = re.compile(r"/\w+/_stcore/(health|host-config)$")
"""On a deep link Streamlit's own script looks for its server under the page's path first, and is told 404."""


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    path = find_chromium()
    assert path, "There is no Chromium: run `make test`, or `python tests/browser/chromium.py`."
    return {"executable_path": path, "args": list(FLAGS), "headless": True}


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One server for the whole session."""
    folder = tmp_path_factory.mktemp("lab")
    running = Lab(home=folder / "home", log=folder / "server.log")
    running.start()
    yield running
    running.stop()
    running.end_workers()


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args: dict[str, Any], lab: Lab) -> dict[str, Any]:
    return browser_context_args | {"base_url": lab.url, "viewport": {"width": 1280, "height": 900}, "locale": "en-GB"}


@pytest.fixture(scope="session")
def profile(browser: Browser, browser_context_args: dict[str, Any]) -> Iterator[BrowserContext]:
    """One profile for the whole session: the browser loads and compiles Streamlit's scripts once."""
    opened = browser.new_context(**browser_context_args)
    yield opened
    opened.close()


@pytest.fixture
def context(profile: BrowserContext) -> Iterator[BrowserContext]:
    yield profile
    for left in profile.pages:
        left.close()
    profile.clear_permissions()


@pytest.fixture
def page(page: Page, lab: Lab, request: pytest.FixtureRequest, output_path: str) -> Iterator[Page]:
    """A page of its own. At the end of each test neither the browser's console nor the server's log may hold an error, and
    no page may show an exception."""
    complaints: list[str] = []

    def on_console(message: ConsoleMessage) -> None:
        address = message.location.get("url", "")
        if message.type == "error" and not PROBE.search(address):
            complaints.append(f"{message.text} {address}".strip())

    page.on("console", on_console)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.set_default_timeout(WAIT_MS)
    expect.set_options(timeout=WAIT_MS)
    before = lab.log.stat().st_size
    yield page
    if getattr(getattr(request.node, "rep_call", None), "failed", True):
        page.screenshot(path=Path(output_path) / "failed.png")
        print(f"{page.url}\n{told(lab)}")
    log = lab.log.read_bytes()[before:].decode(errors="replace")
    assert "Traceback" not in log, log
    assert not complaints, "\n".join(complaints)
    expect(page.get_by_test_id("stException")).to_have_count(0, timeout=1000)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Why a test was tried once more, which no report of pytest's own says."""
    for report in terminalreporter.stats.get("rerun", []):
        terminalreporter.write_sep("-", f"failed once: {report.nodeid}")
        terminalreporter.write_line(report.longreprtext)


def told(lab: Lab) -> str:
    """What the runs of a lab say of themselves, for the report of a test that failed."""
    runs = sorted((lab.home / "runs").glob("[!.]*/status.json"))
    return "\n".join(
        f"{status.parent.name}: {status.read_text()[:400]}\n{read_end(status.with_name('log.txt'))}" for status in runs
    )


def read_end(path: Path) -> str:
    """The last lines of a log that may not be there yet."""
    return path.read_text(errors="replace")[-600:] if path.is_file() else ""

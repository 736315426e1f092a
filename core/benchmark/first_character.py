"""How long after the click the first written character is on the page."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from core.benchmark import Figure, figure
from core.benchmark.browser import Server, browser
from core.common.errors import LabError

PATH = "/text"
BUTTON = ".st-key-write button"
PROMPT = ".st-key-prompt textarea"
VERSE = ".st-key-verse"
WRITTEN = ".verse-body"
"""Of the verse's text, what was written; the prompt stands before it."""
IDLE = "[data-testid=stApp][data-test-script-state=notRunning]"
LIMIT_MS = 180_000
SETTLE_MS = 500
"""For the page to take the prompt in before the click."""
OPENINGS, CLICKS = 2, 3

# The component may have a shadow root, into which no MutationObserver of the page looks: so every frame looks itself.
WATCH = """([verse, written]) => {
  const find = (root) => {
    if (!root) return null;
    const found = root.querySelector(written);
    if (found) return found;
    for (const child of [root, ...root.querySelectorAll("*")]) {
      const inner = child.shadowRoot && find(child.shadowRoot);
      if (inner) return inner;
    }
    return null;
  };
  const text = () => find(document.querySelector(verse))?.textContent ?? "";
  window.benchmark = { text };
  const before = text();
  window.benchmark.first = new Promise((done) => {
    document.addEventListener("click", () => {
      const clicked = performance.now();
      const look = () => {
        const now = text();
        if (now && now !== before) done(performance.now() - clicked);
        else requestAnimationFrame(look);
      };
      requestAnimationFrame(look);
    }, { capture: true, once: true });
  });
}"""
FIRST = "limit => Promise.race([window.benchmark.first, new Promise(done => setTimeout(() => done(null), limit))])"
# Until the text has stood still for a while: the next click is to begin another one, not to end this one.
SETTLED = """async () => {
  for (let last = "", still = 0; still < 5; ) {
    await new Promise((done) => setTimeout(done, 300));
    const now = window.benchmark.text();
    still = now === last ? still + 1 : 0;
    last = now;
  }
}"""


def first_characters(rounds: int) -> Iterator[Figure]:
    """A cold server a round: its first text, then texts in pages opened anew. Raises LabError where no page writes."""
    cold: list[float] = []
    opened: list[float] = []
    again: list[float] = []
    with browser() as program:
        from playwright.sync_api import Error

        for _ in range(rounds):
            with Server() as server:
                server.wait()
                try:
                    page = _open(program, server.url)
                    _first(page, "A cold start:\n")
                    cold.append(time.perf_counter() - server.started)
                    page.evaluate(SETTLED)
                    page.close()
                    for _ in range(OPENINGS):
                        page = _open(program, server.url)
                        for number, values in enumerate((opened, *[again] * CLICKS)):
                            values.append(_first(page, f"Song {number}:\n"))
                            page.evaluate(SETTLED)
                        page.close()
                except Error as error:
                    why = str(error).splitlines()[0]
                    raise LabError(f"The page {PATH} does not write ({why}): is a language model here?") from error
    yield figure("text", "first character after the click, page just opened", opened, "ms", "aim: at most 300")
    yield figure("text", "first character after the click, again", again, "ms", "aim: at most 300")
    yield figure("text", "first character of a cold server, from its start", cold, "s")


def _open(program: Any, url: str) -> Any:
    page = program.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(LIMIT_MS)
    page.goto(f"{url}{PATH}")
    page.locator(PROMPT).wait_for()
    page.locator(f"{BUTTON}:enabled").wait_for()
    return page


def _first(page: Any, prompt: str) -> float:
    """Click. Returns the milliseconds to the first character of the new text."""
    # The same prompt would give the same text, which cannot be told from the old one where it comes in one piece.
    page.locator(PROMPT).fill(prompt)
    page.locator(PROMPT).press("Tab")
    page.wait_for_timeout(SETTLE_MS)
    page.locator(IDLE).wait_for()
    page.evaluate(WATCH, [VERSE, WRITTEN])
    page.locator(BUTTON).click()
    milliseconds = page.evaluate(FIRST, LIMIT_MS)
    if milliseconds is None:
        raise LabError(f"The page {PATH} wrote nothing within {LIMIT_MS // 1000} s of the click.")
    return float(milliseconds)

"""What the tests of the Text page share: filling in its form, pressing its buttons, and what core writes."""

from __future__ import annotations

import json
from pathlib import Path

from streamlit.components.v2.bidi_component.main import _make_trigger_id
from streamlit.testing.v1 import AppTest

from core.checkpoints.store import Checkpoint, load_checkpoint
from core.inference.generate import write
from core.inference.sampling import SamplingConfig
from pages.text.generation_task import Writing
from tests.app.conftest import click, rerun, wait_for

LENGTH = 40


def core_text(lab_home: Path, prompt: str = "ROMEO:\n", name: str = "scribe", own: int = 0, **settings: float) -> str:
    """What core writes."""
    written = write(loaded(lab_home, name), prompt, SamplingConfig(**settings), own=own)
    return "".join(item.character for item in written)


def loaded(lab_home: Path, name: str = "scribe") -> Checkpoint:
    return load_checkpoint(str(lab_home / "none" / name))


def enter(at: AppTest, *, length: int = LENGTH, pace: str = "fast", prompt: str | None = None) -> AppTest:
    """Fill in the form of Write."""
    at.segmented_control(key="write-pace").set_value(pace)
    at.number_input(key="write-length").set_value(length)
    if prompt is not None:
        at.text_area(key="prompt").set_value(prompt)
    return at


def press(at: AppTest, key: str = "write") -> Writing:
    """Press a button and wait until what it started is written."""
    click(at, key)
    return settled(at)


def settled(at: AppTest) -> Writing:
    """Look again once all that is being written is done."""
    assert not at.exception, at.exception
    writing: Writing = at.session_state["writing"]
    finish(writing)
    rerun(at)
    return writing


def finish(*writings: Writing) -> None:
    """A text that was stopped or is short ends."""
    wait_for(lambda: all(writing.done for writing in writings), 120)


def pick(at: AppTest, index: object, character: object) -> Writing:
    """Click an alternative of a character: AppTest has no browser, so this is what verse.js would send."""
    verse = next(element for element in at.get("bidi_component") if element.key == "verse")
    states = at._tree.get_widget_states()
    clicked = [{"event": "branch", "value": {"index": index, "character": character}}]
    states.widgets.add(id=_make_trigger_id(verse.proto.id, "events"), json_trigger_value=json.dumps(clicked))
    at._run(states)
    return settled(at)


def verse_data(at: AppTest, key: str = "verse") -> dict:
    """What the browser is given to show."""
    return json.loads(next(element for element in at.get("bidi_component") if element.key == key).proto.json)

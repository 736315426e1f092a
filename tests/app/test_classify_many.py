"""Images / Classify, several images at once."""

from __future__ import annotations

import csv
import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from core.checkpoints.store import Card
from pages.images import many_view
from pages.shared import tasks
from tests.app.conftest import (
    HOSTILE,
    Open,
    click,
    plain_image,
    random_image,
    read,
    rerun,
    sources,
    texts,
    wait_for,
    write_checkpoint,
)

COLOURS = {"red.png": (200, 20, 20), "green.png": (20, 200, 20), "blue.png": (20, 20, 200)}
FILES = {name: plain_image(colour) for name, colour in COLOURS.items()} | {
    "noise.png": random_image(),
    "bad.png": b"no",
}


def give(at: AppTest, files: dict[str, bytes]) -> AppTest:
    (box,) = at.file_uploader
    return rerun(box.set_value([(name, data, "image/png") for name, data in files.items()]))


def rows(at: AppTest) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = at.dataframe[0].value.to_dict("list")
    return found


def headline(at: AppTest) -> str:
    (found,) = (element.value for element in at.markdown if element.value.startswith("## "))
    return str(found)


@pytest.fixture
def several(open_page: Open, shipped: Card, warm: None) -> AppTest:
    return open_page("images", several="1")


def test_each_file_is_a_row_and_a_bad_one_says_why(several: AppTest) -> None:
    assert "up to 100 images" in texts(several)
    at = give(several, FILES)
    table = rows(at)
    assert table["File"] == list(FILES)
    assert headline(at).startswith("## 5 images: ")
    assert "1 could not be read: open it to see why." in texts(at)
    assert table["Warning"][4] == "unread"
    assert [isinstance(image, str) for image in table["Image"]] == [True] * 4 + [False]
    assert table["Image"][0].startswith("data:image/jpeg;base64,")
    assert not at.error


def test_the_answer_to_each_is_that_to_it_alone(several: AppTest) -> None:
    at = give(several, FILES)
    table = rows(at)
    for name, data in FILES.items():
        place = table["File"].index(name)
        click(at, f"many-card-{place}")
        if name == "bad.png":
            assert "bad.png: This file is not an image" in read(at.error[0].value)
        else:
            assert headline(at).startswith(f"## Tiny says {table['Class'][place]} · ")
            assert at.session_state[many_view.OPENED][1].data == data
            assert "upload=" in next(
                link.proto.query_string for link in at.get("page_link") if link.proto.label.startswith("Why ")
            )
        click(at, "many-back")
        assert rows(at)["File"] == list(FILES)


def test_rows_are_filtered_and_sorted(open_page: Open, lab_home: Path, warm: None) -> None:
    write_checkpoint(lab_home / "none" / "tiny", threshold=-1000.0)
    at = give(open_page("images", several="1"), FILES)
    assert "4 are probably none of the 10 classes." in texts(at)
    rerun(at.selectbox(key="many-show").set_value(many_view.DOUBTFUL))
    assert rows(at)["File"] == list(FILES)[:4]
    rerun(at.selectbox(key="many-order").set_value("Surest first"))
    found = rows(at)["Probability"]
    assert found == sorted(found, reverse=True)
    rerun(at.selectbox(key="many-order").set_value("Least sure first"))
    assert rows(at)["Probability"] == sorted(found)
    surest = rows(at)["File"][-1]
    click(at, f"many-card-{list(FILES).index(surest)}")
    assert surest in texts(at)
    click(at, "many-back")
    rerun(at.selectbox(key="many-show").set_value(many_view.UNREAD))
    assert rows(at)["File"] == ["bad.png"]


def test_what_is_too_much_is_left_out_and_said(several: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many_view, "MOST_FILES", 3)
    at = give(several, FILES)
    assert len(rows(at)["File"]) == 3
    assert "2 left out" in at.warning[0].value
    assert at.code[-1].value.endswith("classify FOLDER --checkpoint tiny --csv")
    monkeypatch.setattr(many_view, "MOST_FILES", 100)
    monkeypatch.setattr(many_view, "MOST_BYTES", len(FILES["red.png"]) + 1)
    at = give(several, FILES)
    assert rows(at)["File"] == ["red.png"]
    assert "4 left out" in at.warning[0].value


def test_the_images_stay_until_they_are_removed(several: AppTest) -> None:
    at = give(several, FILES)
    for view in ("Evaluate", "Classify"):
        rerun(at.segmented_control(key="view").set_value(view))
    assert rows(at)["File"] == list(FILES)
    key = at.file_uploader[0].key
    click(at, "many-clear")
    assert not at.dataframe
    assert at.file_uploader[0].key != key, "another box: the old one would go on naming the files"
    rerun(at.toggle(key="several").set_value(False))
    assert at.button(key="example-ship")
    assert "several" not in at.query_params


def test_another_checkpoint_answers_anew(several: AppTest, lab_home: Path) -> None:
    write_checkpoint(lab_home / "none" / "other", seed=5, title="Other")
    at = give(rerun(several), FILES)
    before = rows(at)["Probability"][:4]
    rerun(at.selectbox(key="checkpoint").set_value("other"))
    assert rows(at)["Probability"][:4] != before


def test_names_are_no_markup_and_many_cards_come_on_demand(several: AppTest) -> None:
    at = give(several, {HOSTILE: random_image()} | {f"{number}.png": FILES["red.png"] for number in range(25)})
    assert "![" not in sources(at)
    assert HOSTILE in texts(at)
    shown = {button.key for button in at.button}
    assert "many-card-19" in shown
    assert "many-card-20" not in shown
    click(at, "many-more")
    assert at.button(key="many-card-25")


def test_the_table_is_offered_as_a_file(several: AppTest) -> None:
    from pages.shared.tables import csv_bytes

    at = give(several, FILES)
    assert "Table (CSV)" in [button.proto.label for button in at.get("download_button")]
    answers = at.session_state["many-answers"][1]
    lines = list(csv.DictReader(io.StringIO(csv_bytes(answer.row() for answer in answers).decode())))
    assert [line["file"] for line in lines] == list(FILES)
    assert lines[4]["error"]
    assert 0 < float(lines[0]["probability"]) <= 1


def test_what_takes_longer_shows_how_far_it_is_and_stops(several: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    from core.inference import many

    answer, begun, going = many.classify_files, threading.Event(), True

    def slow(*args: Any) -> Iterator[many.FileAnswer]:
        first, *_ = answer(*args)
        while going:
            yield first
            begun.set()
            time.sleep(0.01)

    monkeypatch.setattr(many, "classify_files", slow)
    at = give(several, FILES)
    assert begun.wait(20)
    rerun(at)
    assert at.get("progress")
    (stop,) = (button for button in at.button if button.label == "Stop")
    rerun(stop.click())
    going = False
    wait_for(lambda: all(task.done for task in tasks._tasks().values()))
    rerun(at)
    assert "Stopped." in texts(at)
    monkeypatch.setattr(many, "classify_files", answer)
    click(at, "many-again")
    assert rows(at)["File"] == list(FILES)

"""Many files at once: what each would be alone, whatever stands beside it."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from core.checkpoints.store import Checkpoint
from core.common.errors import LabError
from core.data.decode import decode_image, fit_to_model
from core.inference.images import classify
from core.inference.many import BATCH, THUMBNAIL_PX, classify_files
from core.training.config import TrainConfig
from core.training.session import TrainSession
from tests.unit.builders import synthetic


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    session = TrainSession.start(TrainConfig(epochs=1, tta="none"), synthetic(), "cpu")
    return Checkpoint("untrained", session.card("Untrained"), session.eval_model())


def photo(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (90, 130, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def given(*contents: bytes) -> list[tuple[str, Callable[[], bytes]]]:
    return [(f"{place}.png", lambda data=data: data) for place, data in enumerate(contents)]  # type: ignore[misc]


def test_each_file_is_answered_as_if_alone_and_a_bad_one_is_a_row(checkpoint: Checkpoint) -> None:
    contents = [photo(seed) for seed in range(BATCH + 5)]
    contents[3], contents[BATCH] = b"no image", b""
    answers = list(classify_files(checkpoint, given(*contents)))
    assert [answer.name for answer in answers] == [f"{place}.png" for place in range(len(contents))]
    assert [place for place, answer in enumerate(answers) if answer.error] == [3, BATCH]
    for place in (0, 4, BATCH + 4):
        (alone,) = classify(checkpoint, fit_to_model(decode_image(contents[place]).rgb)[None])
        found = answers[place]
        assert found.prediction
        assert found.prediction.probabilities == pytest.approx(alone.probabilities, abs=1e-5)
        assert found.thumbnail is not None
        assert max(found.thumbnail.shape) == THUMBNAIL_PX
        row = found.row()
        assert (row["class"], row["error"]) == (alone.top[0][0], "")
        assert row["probability"] == pytest.approx(alone.top[0][1], abs=1e-5)
    assert answers[3].row()["probability"] is None
    assert "not an image" in answers[3].row()["error"]


def test_files_are_read_batch_by_batch_and_one_that_cannot_be_read_is_a_row(checkpoint: Checkpoint) -> None:
    opened: list[int] = []

    def read(place: int) -> bytes:
        opened.append(place)
        if place == 1:
            raise LabError("The file is gone: choose another one.")
        return photo(place)

    answers = classify_files(checkpoint, ((str(place), lambda place=place: read(place)) for place in range(3 * BATCH)))  # type: ignore[misc]
    next(answers)
    assert sorted(opened) == list(range(BATCH))
    assert next(answers).error == "The file is gone: choose another one."


@pytest.mark.parametrize("contents", [(), (b"no", b"")])
def test_no_image_at_all_is_no_failure(checkpoint: Checkpoint, contents: tuple[bytes, ...]) -> None:
    answers = list(classify_files(checkpoint, given(*contents)))
    assert len(answers) == len(contents)
    assert all(answer.error for answer in answers)

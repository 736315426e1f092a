"""Attribution / Cover by hand: what is covered is what the network is asked about, and what a browser may send."""

from __future__ import annotations

import base64
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.attribution.evidence.controls import edges
from core.attribution.evidence.curves import curves, smoothed
from core.attribution.evidence.masking import baseline_pixels, covered_probabilities, most_important
from core.attribution.explainer import Explainer
from core.checkpoints.store import load_checkpoint
from core.data.decode import decode_image, fit_to_model
from core.images.figures import percent
from pages.attribution.cover import pack, unpack
from pages.attribution.cover.steps import KEPT, Covering
from tests.app.conftest import (
    HOSTILE,
    Open,
    chart,
    click,
    plain_image,
    random_image,
    read,
    sources,
    texts,
    write_checkpoint,
)
from tests.app.test_classify import give, headline

SIDE = 32
LEFT = np.arange(SIDE * SIDE).reshape(SIDE, SIDE) % SIDE < 16
"""The left half of the image."""
TOP = LEFT.T
PIXELS = fit_to_model(decode_image(random_image()).rgb)


@pytest.fixture(autouse=True)
def explainer(lab_home: Path, warm: None) -> Explainer:
    """Of a checkpoint that ships, called `tiny`; calibrated so that its answers differ by more than rounding."""
    return sharp(lab_home / "none" / "tiny")


def sharp(folder: Path, seed: int = 0, title: str = "Tiny") -> Explainer:
    card = write_checkpoint(folder, seed=seed, title=title)
    sharper = dataclasses.replace(card.calibration, temperature=0.02)
    (folder / "card.json").write_text(dataclasses.replace(card, calibration=sharper).to_json())
    return Explainer(load_checkpoint(str(folder)))


@pytest.fixture
def at(open_page: Open) -> AppTest:
    """The view with an image, covered with black."""
    return give(open_page("attribution", view="Cover by hand", baseline="black"), random_image())


def element(at: AppTest) -> Any:
    return next(found for found in at.get("bidi_component") if found.key == "cover")


def shown(at: AppTest) -> dict[str, Any]:
    """What the browser is given."""
    return json.loads(element(at).proto.json)


def covered(at: AppTest) -> np.ndarray:
    mask = unpack(shown(at)["mask"], SIDE)
    assert mask is not None
    return mask


def send(at: AppTest, drawn: object) -> AppTest:
    """What cover.js would send: AppTest has no browser."""
    states = at._tree.get_widget_states()
    states.widgets.add(id=element(at).proto.id, json_value=json.dumps({"drawn": drawn}))
    at._run(states)
    assert not at.exception, at.exception
    return at


def stroke(at: AppTest, mask: np.ndarray, number: int | None = None) -> AppTest:
    data = shown(at)
    number = data["stroke"] + 1 if number is None else number
    return send(at, {"revision": data["revision"], "stroke": number, "mask": pack(mask)})


def blackened(explainer: Explainer, mask: np.ndarray) -> np.ndarray:
    """Probabilities of the image with those pixels black, as an image of its own."""
    pixels = np.where(mask[..., None], np.uint8(0), PIXELS)
    return explainer.probabilities(explainer.inputs(pixels))[0].numpy()


def test_what_is_covered_is_what_the_network_is_asked_about(at: AppTest, explainer: Explainer) -> None:
    classes = explainer.card.image_data.classes
    before, after = blackened(explainer, np.zeros_like(LEFT)), blackened(explainer, LEFT)
    target = int(before.argmax())
    assert headline(at) == f"## {classes[target]} · {percent(before[target])}"
    assert np.array_equal(np.frombuffer(base64.b64decode(shown(at)["pixels"]), np.uint8).reshape(PIXELS.shape), PIXELS)
    assert not covered(at).any()
    stroke(at, LEFT)
    assert percent(before[target]) != percent(after[target])
    assert headline(at) == f"## {classes[target]} · {percent(before[target])} → {percent(after[target])}"
    now, outlined = chart(at, 0)["data"]
    assert now["y"] == [classes[place] for place in np.argsort(-before)[:5]]
    found = [100 * float(probabilities[classes.index(name)]) for probabilities in (after, before) for name in now["y"]]
    np.testing.assert_allclose(now["x"] + outlined["x"], found, rtol=1e-3, atol=1e-4)
    assert "512 of 1,024 pixels are covered (50%)" in texts(at)
    np.testing.assert_allclose(
        chart(at, 1)["data"][0]["y"], [100 * before[target], 100 * after[target]], rtol=1e-3, atol=1e-4
    )
    winner = int(after.argmax())
    assert (f"It now says {classes[winner]}" in texts(at).replace("*", "")) == (winner != target)


def test_a_stroke_that_grows_is_one_step_and_undo_goes_back_over_it(at: AppTest) -> None:
    part = LEFT & TOP
    stroke(at, part, number=1)
    stroke(at, LEFT, number=1)
    stroke(at, LEFT | TOP, number=2)
    assert chart(at, 1)["data"][0]["x"] == [0, 1, 2]
    for mask in (LEFT, np.zeros_like(LEFT)):
        click(at, "cover-undo")
        assert np.array_equal(covered(at), mask)
    assert at.button(key="cover-undo").disabled
    assert "Nothing is covered yet" in texts(at)
    stroke(at, LEFT)
    assert np.array_equal(covered(click(at, "cover-invert")), ~LEFT)
    assert not covered(click(at, "cover-clear")).any()
    assert np.array_equal(covered(click(click(at, "cover-undo"), "cover-undo")), LEFT)


def test_what_is_drawn_on_an_older_mask_is_not_taken(at: AppTest) -> None:
    old = shown(at)
    stroke(at, LEFT)
    click(at, "cover-clear")
    assert shown(at)["revision"] != old["revision"]
    send(at, {"revision": old["revision"], "stroke": 7, "mask": pack(TOP)})
    assert not covered(at).any()
    stroke(at, TOP)
    assert np.array_equal(covered(at), TOP)


def test_a_button_pressed_together_with_a_stroke_comes_after_it(at: AppTest) -> None:
    """Streamlit puts both into one run where they come close together."""
    data = shown(at)
    at.button(key="cover-invert").click()
    states = at._tree.get_widget_states()
    drawn = {"revision": data["revision"], "stroke": 1, "mask": pack(LEFT)}
    states.widgets.add(id=element(at).proto.id, json_value=json.dumps({"drawn": drawn}))
    at._run(states)
    assert not at.exception, at.exception
    assert np.array_equal(covered(at), ~LEFT)


GOOD = pack(LEFT)


NO_MASKS: list[dict[str, object]] = [
    {"mask": GOOD[:-4]},
    {"mask": GOOD * 1000},
    {"mask": "!" * len(GOOD)},
    {"mask": "é" * len(GOOD)},
    {"mask": "=" * len(GOOD)},
    {"mask": [1] * 1024},
    {"mask": None},
    {"stroke": "1"},
    {"stroke": True},
    {"stroke": -1},
    {"stroke": 1.5},
    {"stroke": None},
    {"revision": "0"},
    {"revision": 0},
    {"revision": None},
]


def test_what_is_no_mask_changes_nothing(at: AppTest) -> None:
    stroke(at, TOP)
    said, revision = headline(at), shown(at)["revision"]
    messages = [{"revision": revision, "stroke": 2, "mask": GOOD} | wrong for wrong in NO_MASKS]
    for wrong in (*messages, None, [], "drawn", 1, {"drawn": {}}):
        send(at, wrong)
        assert headline(at) == said, wrong
        assert np.array_equal(covered(at), TOP), wrong
        assert not at.error, wrong
    send(at, {"revision": revision, "stroke": 2, "mask": GOOD})
    assert np.array_equal(covered(at), LEFT)


def test_another_image_starts_uncovered_and_another_checkpoint_does_not(at: AppTest, lab_home: Path) -> None:
    other = sharp(lab_home / "none" / "other", seed=5, title="Other")
    stroke(at, LEFT)
    at.run()
    at.selectbox(key="checkpoint").set_value("other").run()
    assert np.array_equal(covered(at), LEFT)
    target = other.card.image_data.classes.index(headline(at).split(" ")[1])
    assert headline(at).endswith(f"→ {percent(blackened(other, LEFT)[target])}")
    at.selectbox(key="why-baseline").set_value("mean").run()
    assert np.array_equal(covered(at), LEFT)
    assert set(base64.b64decode(shown(at)["base"])) <= {127, 128}
    give(at, random_image(size=(40, 40)))
    assert not covered(at).any()


def test_a_map_covers_its_highest_pixels(at: AppTest, explainer: Explainer) -> None:
    from core.attribution.methods.registry import get_method

    click(at, "cover-top-10")
    target = int(blackened(explainer, np.zeros_like(LEFT)).argmax())
    saliency = smoothed(explainer.attribute(get_method("saliency"), PIXELS, target).magnitude)
    assert at.selectbox(key="cover-map").value == "saliency"
    assert covered(at).sum() == 102
    assert saliency[covered(at)].min() >= saliency[~covered(at)].max()
    at.selectbox(key="cover-map").set_value("edges").run()
    click(at, "cover-top-25")
    assert np.array_equal(covered(at), most_important(edges(PIXELS), 0.25))
    at.selectbox(key="cover-map").set_value("random").run()
    click(at, "cover-top-25")
    first = covered(at)
    click(at, "cover-top-25")
    assert covered(at).sum() == 256
    assert not np.array_equal(covered(at), first)  # chance is another one each time
    assert chart(at, 1)["data"][0]["x"] == [0, 1, 2, 3, 4]


def test_a_map_that_is_zero_everywhere_covers_nothing(open_page: Open) -> None:
    at = give(open_page("attribution", view="Cover by hand", baseline="black"), plain_image((90, 90, 90)))
    at.selectbox(key="cover-map").set_value("edges").run()
    click(at, "cover-top-10")
    assert "zero everywhere" in read(at.error[0].value)
    assert not covered(at).any()
    at = give(open_page("attribution", view="Cover by hand", baseline="black"), plain_image((0, 0, 0)))
    assert "its own baseline" in at.info[0].value


def test_names_are_no_markup(open_page: Open, lab_home: Path) -> None:
    folder = lab_home / "none" / "tiny"
    card = write_checkpoint(folder)
    data = dataclasses.replace(card.dataset, classes=tuple(f"{HOSTILE}{place}" for place in range(10)))
    (folder / "card.json").write_text(dataclasses.replace(card, dataset=data).to_json())
    at = give(open_page("attribution", view="Cover by hand"), random_image(), HOSTILE)
    stroke(at, LEFT)
    assert HOSTILE in texts(at)
    assert "![" not in sources(at)


def test_the_bits_of_a_mask_go_row_by_row_the_first_one_highest() -> None:
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[0, 0] = mask[1, 9] = True
    data = base64.b64decode(pack(mask))
    assert data[0] == 0b1000_0000
    assert data[5] == 0b0100_0000
    assert sum(data) == data[0] + data[5]
    for side in (1, 5, 32, 33):
        random = np.random.default_rng(side).random((side, side)) < 0.5
        assert np.array_equal(unpack(pack(random), side), random)


def test_covering_a_quarter_is_the_deletion_curve_after_a_quarter(explainer: Explainer) -> None:
    flat = np.random.default_rng(1).integers(0, 3, (SIDE, SIDE)).astype(np.float32)  # most values are equal
    found = curves(explainer, PIXELS, 3, {"map": flat}, removal=("blur",))["map"].deletion
    masks = np.stack([most_important(flat, share) for share in (0, 0.25, 1)])
    probabilities = covered_probabilities(explainer, PIXELS, masks, baseline="blur")[:, 3]
    np.testing.assert_allclose(probabilities, found.probabilities[[0, 4, 16]], rtol=1e-5, atol=1e-6)


def test_what_is_shown_under_a_cover_is_the_baseline_in_colours(explainer: Explainer) -> None:
    assert not baseline_pixels(explainer, PIXELS, "black").any()
    assert set(baseline_pixels(explainer, PIXELS, "mean").ravel()) <= {127, 128}
    for name in ("blur", "noise"):
        base = baseline_pixels(explainer, PIXELS, name)
        near = (explainer.inputs(base) - explainer.baseline(name, PIXELS)).abs().max()
        assert float(near) <= 0.5 / 255 / 0.25 + 1e-5  # half a step of uint8; the card's deviation is 0.25


def test_only_so_many_steps_are_kept() -> None:
    nothing = np.zeros((SIDE, SIDE), dtype=bool)
    covering = Covering(pixels=PIXELS, masks=[nothing])
    for number in range(KEPT + 5):
        mask = nothing.copy()
        mask.ravel()[: number + 1] = True
        covering.set(mask)
    assert covering.steps == [0, *range(6, KEPT + 6)]
    assert [int(mask.sum()) for mask in covering.masks] == covering.steps

"""Maps on their images: colours that mean what they say, outliers that do not pale the rest, squares that stay squares."""

from __future__ import annotations

import io
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from core.attribution.evidence.curves import Curve, Faithfulness
from core.attribution.evidence.scores import FAILS, PASSES
from core.attribution.figures import CONTROL, curves_figure, limit, overlay, overlay_png, score_bars, scores_figure
from core.common.theme import GREEN, MUTED, VERMILLION

IMAGE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
NOTHING = np.zeros((32, 32), dtype=np.float32)


def decoded(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def at(values: np.ndarray, place: tuple[int, int], **options: object) -> np.ndarray:
    """RGB in the middle of one pixel's square."""
    image = decoded(overlay_png(values, IMAGE, side=448, **options))  # type: ignore[arg-type]
    assert image.shape == (448, 448, 3)
    return image[place[0] * 14 + 7, place[1] * 14 + 7]


def test_the_scale_leaves_out_one_bright_pixel_and_may_be_shared() -> None:
    values = np.full((32, 32), -0.5)
    values[3, 4] = 1000.0
    assert limit(values, 99) == 0.5
    assert limit(values, 100) == 1000.0
    drawn = overlay(values, IMAGE, signed=True, dark=False).data[1]
    assert drawn.zmin == -0.5
    np.testing.assert_array_equal(np.asarray(drawn.z), values)  # which hovering tells
    shared = overlay(values, IMAGE, signed=True, dark=False, scale=7.0).data[1]
    assert (shared.zmin, shared.zmax) == (-7.0, 7.0)
    assert overlay(values, IMAGE, signed=False, dark=False, scale=7.0).data[1].zmin == 0
    few = NOTHING.copy()
    few[0, 0] = -2.0
    assert limit(few) == 2.0
    assert limit(NOTHING) == 1.0


@pytest.mark.parametrize("dark", [False, True])
def test_blue_supports_and_vermillion_speaks_against(dark: bool) -> None:
    values = NOTHING.copy()
    values[2, 3], values[20, 9] = 1.0, -1.0
    options = {"signed": True, "opacity": 1.0, "percentile": 100.0, "dark": dark}
    red, _, blue = at(values, (2, 3), **options)
    assert blue > red + 60
    red, _, blue = at(values, (20, 9), **options)
    assert red > blue + 60
    red, green, blue = at(np.abs(values), (2, 3), **options | {"signed": False})
    assert green > max(red, blue)


def test_opacity_goes_from_the_image_to_the_map() -> None:
    values = NOTHING.copy()
    values[5, 6] = 1.0
    options = {"signed": True, "percentile": 100.0}
    assert (at(values, (5, 6), opacity=0.0, **options) == IMAGE[5, 6]).all()
    assert (at(values, (9, 9), opacity=1.0, **options) == 255).all()
    covered = at(values, (9, 9), opacity=0.6, **options)
    assert np.ptp(covered) <= 1, "where the map says nothing, the image is grey"
    assert overlay(values, IMAGE, signed=True, dark=False, opacity=0).data[0].z.tolist() == IMAGE.tolist()
    assert len(overlay(values, IMAGE, signed=True, dark=False, opacity=0).data) == 1


def test_squares_are_hard_unless_asked_otherwise() -> None:
    values = np.random.default_rng(1).normal(size=(32, 32))
    image = decoded(overlay_png(values, IMAGE, signed=True, side=320))
    assert (image == np.repeat(np.repeat(image[::10, ::10], 10, 0), 10, 1)).all()
    smooth = decoded(overlay_png(values, IMAGE, signed=True, side=320, smooth=True))
    assert smooth.shape == image.shape
    assert (smooth != np.repeat(np.repeat(smooth[::10, ::10], 10, 0), 10, 1)).any()
    assert overlay(values, IMAGE, signed=True, dark=False).data[1].zsmooth is False
    assert overlay(values, IMAGE, signed=True, dark=False, smooth=True).data[1].zsmooth == "best"


def test_the_colour_bar_speaks_in_words_that_are_no_markup() -> None:
    words = ("speaks against <b>cat</b>", "supports <b>cat</b>")
    drawn = overlay(np.eye(32), IMAGE, signed=True, dark=False, bar=words).data[1]
    assert drawn.showscale
    text = "".join(drawn.colorbar.ticktext)
    assert "speaks" in text
    assert "supports" in text
    assert "<b>" not in text
    assert len(overlay(np.eye(32), IMAGE, signed=False, dark=False, bar=words).data[1].colorbar.ticktext) == 2


def curve(*values: float) -> Curve:
    return Curve(shares=np.linspace(0, 1, len(values)), probabilities=np.array(values))


def test_curves_name_their_areas() -> None:
    found = Faithfulness(insertion=curve(0, 1, 1), deletion=curve(1, 0, 0))
    control = Faithfulness(insertion=curve(0, 0.5, 1), deletion=curve(1, 0.5, 0))
    figure = curves_figure("Saliency", found, {"edges": control}, "insertion", label="cat", dark=False)
    assert [line.name for line in figure.data] == ["edges 0.50", "Saliency 0.75"]
    np.testing.assert_allclose(figure.data[1].y, [0, 100, 100])
    deletion = curves_figure("Saliency", found, {"edges": control}, "deletion", label="cat", dark=True)
    assert deletion.data[1].name == "Saliency 0.25"


def test_scores_keep_their_order_and_their_intervals() -> None:
    rows = [("A", 0.5, 0.4, 0.7, PASSES), ("B", 0.3, 0.2, 0.4, PASSES), ("Edges", 0.1, 0.0, 0.2, CONTROL)]
    figure = scores_figure([*rows, ("C", 0.05, 0.0, 0.1, FAILS)], dark=False)
    assert list(figure.layout.yaxis.categoryarray) == ["C", "Edges", "B", "A"]
    methods, *_ = figure.data
    assert [list(trace.y) for trace in figure.data] == [["A", "B"], ["C"], ["Edges"]]
    assert (
        len({trace.marker.symbol for trace in figure.data}) == len({trace.marker.color for trace in figure.data}) == 3
    )
    np.testing.assert_allclose(methods.error_x.array, [0.2, 0.1])
    np.testing.assert_allclose(methods.error_x.arrayminus, [0.1, 0.1])
    assert figure.layout.shapes[0].x0 == 0.1


@pytest.mark.parametrize("side", [448, 100])
def test_a_photo_of_any_size_lies_under_the_maps_squares(side: int) -> None:
    photo = np.asarray(Image.fromarray(IMAGE).resize((side, side)))
    values = NOTHING.copy()
    values[31, 5] = 1.0
    drawn = decoded(overlay_png(values, photo, signed=True, percentile=100.0, opacity=1.0, side=side))
    assert drawn.shape == (side, side, 3)
    blue = (drawn[..., 2] - drawn[..., 0]) > 60
    rows, columns = np.nonzero(blue)
    pixel = side / 32
    assert (rows.min(), rows.max()) == (pytest.approx(31 * pixel, abs=1), side - 1)
    assert (columns.min(), columns.max()) == (pytest.approx(5 * pixel, abs=1), pytest.approx(6 * pixel - 1, abs=1))


@pytest.mark.parametrize(("score", "colour"), [(0.4, GREEN), (0.1, VERMILLION), (-0.2, VERMILLION)])
def test_a_score_bar_marks_what_is_to_be_beaten(score: float, colour: str) -> None:
    drawn = ElementTree.fromstring(score_bars(score, {"random map": -0.05, "edges": 0.2}, dark=False, width=208))
    ours = "{http://www.w3.org/2000/svg}"
    bars = drawn.findall(f"{ours}rect")
    assert [bar.get("fill") for bar in bars] == [colour, MUTED[False], MUTED[False]]
    low, high = min(-0.05, score), 0.5
    begin, end = 6.7 * len("random map") + 8, 208 - 38
    scale = (end - begin) / (high - low)
    for bar, value in zip(bars, (score, 0.2, -0.05), strict=True):
        assert float(bar.get("width", "")) == pytest.approx(abs(value) * scale, abs=0.1)
        assert float(bar.get("x", "")) == pytest.approx(begin + (min(0, value) - low) * scale, abs=0.1)
    said = [str(text.text) for text in drawn.iter(f"{ours}text")]
    number = f"{score:.2f}".replace("-", "−")
    assert said == ["this map", number, "edges", "0.20", "random map", "−0.05", "0", "0.5"]
    rows = {text.get("y") for text in drawn.iter(f"{ours}text")}
    assert len(rows) == 4, "no two labels but a bar's name and its number share a row, and the axis has its own"

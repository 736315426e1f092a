"""The Gradient descent page: what its address carries, what it answers, and what bad input says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from core.common.errors import LabError
from core.descent.config import SurfaceConfig
from core.descent.kind import SURFACE
from core.descent.results import SURFACES, SWEEPS, Plane, plane_folder
from core.jobs import RunStore
from pages.descent.paths import _read_point
from tests.app.conftest import Open, link, read, rerun, texts, write_checkpoint


def data_of(at: AppTest) -> dict[str, Any]:
    """What the browser gets to draw."""
    (found,) = at.get("bidi_component")
    return dict(json.loads(found.proto.json))


def test_it_opens_on_an_example_with_an_answer_and_a_formula(open_page: Open) -> None:
    at = open_page("descent")
    assert "ends lowest after 200 steps" in texts(at)
    data = data_of(at)
    assert [series["name"] for series in data["series"]] == ["sgd", "momentum", "adam"]
    assert data["chosen"] == "sgd"
    assert len(data["series"][0]["points"]) == 201
    assert not at.query_params


def test_the_address_carries_every_choice(open_page: Open) -> None:
    query = {"f": "own", "formula": "x*x + 4*y*y", "span": "2", "with": "sgd,muon", "lr_sgd": "0.2", "start": "1,-1.5"}
    query |= {"at": "7", "show": "muon", "batch": "16", "seed": "3", "schedule": "cosine", "beta": "0.5"}
    at = open_page("descent", **query)
    data = data_of(at)
    assert data["map"]["window"] == [-2, 2, -2, 2]
    assert data["series"][0]["points"][0] == [1, -1.5]
    assert data["series"][0]["rates"][0] == 0.2
    assert data["series"][0]["rates"][-1] < 0.01
    assert (data["place"], data["chosen"], data["numbers"]["beta"]) == (7, "muon", 0.5)
    assert link(at) == query
    at = open_page("descent", **query | {"batch": "0"})
    assert data_of(at)["series"][0]["points"][1] != data["series"][0]["points"][1]


def test_another_function_forgets_start_and_rates(open_page: Open) -> None:
    at = open_page("descent", start="1,1", lr_sgd="0.05")
    at = rerun(at.selectbox(key="descent-function").set_value("rosenbrock"))
    data = data_of(at)
    assert data["start"] == [-1.2, 1]
    assert data["series"][0]["rates"][0] < 0.01
    assert "start" not in at.query_params


@pytest.mark.parametrize("formula", ["x**x**x", "1/0 + x", "import os", "3"])
def test_a_bad_formula_is_one_sentence(open_page: Open, formula: str) -> None:
    at = open_page("descent", f="own", formula=formula)
    assert len(at.error) == 1
    assert not at.get("bidi_component")


def test_a_bad_link_warns_and_shows_the_default(open_page: Open) -> None:
    at = open_page("descent", start="here", at="9999", f="cubic")
    assert len(at.warning) == 3
    assert data_of(at)["start"] == [-2.6, 2]
    for wrong in ("1", "1,nan", "1,2,3", "a,b"):
        with pytest.raises(LabError, match="two numbers"):
            _read_point(wrong, (-3, 3, -3, 3))
    at = open_page("descent", start="1e9,1")
    assert "far off the map" in read(at.warning[0].value)
    assert data_of(at)["start"] == [-2.6, 2]


def test_divergence_is_predicted_and_each_rate_says_what_became_of_it(open_page: Open) -> None:
    at = open_page("descent", view="Divergence", k="4")
    assert "above 2/λ = 0.5" in texts(at)
    data = data_of(at)
    words = [series["words"] for series in data["series"]]
    assert "It settles" in words[data["place"]]
    assert "It diverges" in words[-1]
    assert 0 < data["markAt"] < 1
    assert not rerun(at.selectbox(key="descent-function").set_value("rastrigin")).error
    for formula, says in (("x**4+y**4", "curvature at the minimum is 0"), ("x**3+y**2", "No minimum lies downhill")):
        at = open_page("descent", view="Divergence", f="own", formula=formula)
        assert says in texts(at)
        assert data_of(at)["markAt"] is None
    at = open_page("descent", view="Divergence", f="own", formula="x+y")
    assert "does not curve upwards" in read(at.error[0].value)


@pytest.mark.parametrize("name", ["trained", "untrained"])
def test_the_networks_that_ship_open_without_a_dataset(open_page: Open, name: str) -> None:
    at = open_page("descent", view="Divergence", of=f"{'A' if name == 'trained' else 'An'} {name} network")
    data = data_of(at)
    assert data["map"] is None
    assert len(data["series"]) == len(SWEEPS.load_shipped(name).descents)
    assert "2/λ" in texts(at)


def test_a_checkpoint_of_ones_own_asks_for_its_dataset(open_page: Open, lab_home: Path) -> None:
    write_checkpoint(lab_home / "none" / "tiny")
    at = open_page("descent", view="Divergence", of="Your checkpoint")
    assert "fetch it under Datasets" in read(at.info[0].value)


def test_the_surfaces_that_ship(open_page: Open) -> None:
    at = open_page("descent", view="Surface")
    found = SURFACES.load_shipped("path")
    assert found.answer.split(";")[0] in read(texts(at))
    assert len(at.get("plotly_chart")) == 1
    at = open_page("descent", view="Surface", **{"of": "sharpness", "as": "3-D"})
    assert "is sharper" in texts(at)
    kinds = [json.loads(chart.proto.spec)["data"][0]["type"] for chart in at.get("plotly_chart")]
    assert kinds == ["surface", "surface"]


def test_the_address_carries_the_settings_of_a_new_surface(open_page: Open, lab_home: Path) -> None:
    write_checkpoint(lab_home / "none" / "tiny")
    at = open_page("descent", view="New surface", set='{"points":15,"split":"validation"}')
    assert (at.number_input(key="surface-points").value, at.selectbox(key="surface-split").value) == (15, "validation")
    at = rerun(at.number_input(key="surface-images").set_value(200))
    assert json.loads(link(at)["set"]) == {"points": 15, "images": 200, "split": "validation"}
    at = rerun(at.number_input(key="surface-points").set_value(500))
    assert "from 5 to 51" in read(at.error[0].value)


def test_a_number_out_of_its_range_says_the_range(open_page: Open) -> None:
    at = rerun(open_page("descent").number_input(key="descent-rate-adam").set_value(99_999.0))
    assert "1e-09 to 10,000" in read(at.error[0].value)
    assert data_of(at)["series"][2]["rates"][0] == 10_000
    assert link(at)["lr_adam"] == "10000"
    assert not rerun(at.number_input(key="descent-rate-adam").set_value(0.1)).error


def test_a_surface_is_started_and_shown_while_it_grows(open_page: Open, lab_home: Path, submitted: list[str]) -> None:
    for name in ("tiny", "twin"):
        write_checkpoint(lab_home / "none" / name)
    at = open_page("descent", view="New surface", checkpoint="tiny", beside="twin")
    at = rerun(at.button(key="start-surface").click())
    (run_id,) = submitted
    config = RunStore().config(run_id)
    assert config == SurfaceConfig(checkpoints=("tiny", "twin"))
    at = open_page("descent", surface=run_id)
    assert "Nothing is measured yet" in read(at.info[0].value)
    axis = (-1.0, 0.0, 1.0)
    plane = Plane(
        checkpoint="tiny",
        title="Tiny",
        a=axis,
        b=axis,
        loss_nats=((2.0, None, 3.0),),
        accuracy=((0, 0, 0),),
        centre_loss_nats=1.0,
    )
    folder = plane_folder(RunStore().folder(run_id), 0)
    folder.mkdir()
    SURFACES.write_part(folder, plane)
    at = open_page("descent", surface=run_id)
    assert "not whole yet" in texts(at)
    assert "rim" not in texts(at)
    assert len(at.get("plotly_chart")) == 1
    assert SURFACE.page(RunStore().get(run_id)) == ("descent", {"view": "Surfaces", "surface": run_id})

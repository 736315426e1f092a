"""Attribution / Compare: maps and figures are core's, and what cannot be compared is refused in a sentence."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest
from torch import nn

from core.attribution.evidence.curves import control_curves, curves, verdict
from core.attribution.evidence.similarity import rank_correlation
from core.attribution.explainer import Attribution, Explainer
from core.attribution.figures import limit
from core.attribution.methods.registry import get_method
from core.checkpoints.store import Calibration, find_checkpoint, load_checkpoint, save_checkpoint
from core.compression.steps import Float16
from core.data.decode import decode_image, fit_to_model
from core.jobs import RunStore
from core.models import build_model
from core.training.config import TrainConfig
from core.training.snapshots import snapshot_folder
from pages.attribution import compare_cards
from pages.attribution.compare_checkpoints import _changed
from pages.attribution.compare_classes import verdict_words
from pages.attribution.compare_epochs import MOST, _thinned, settled_words
from pages.attribution.maps import LEAST, doubt, signed_number
from pages.attribution.query import AttributionQuery
from pages.shared import tasks
from pages.shared.image_view import look
from pages.shared.upload_box import InputImage
from tests.app.compressions import config_of, result_of, store_recipe
from tests.app.conftest import (
    HOSTILE,
    Open,
    chart,
    plain_image,
    random_image,
    read,
    rerun,
    sources,
    texts,
    wait_for,
    write_checkpoint,
)
from tests.app.test_classify import give

pytestmark = pytest.mark.slow

PIXELS = fit_to_model(decode_image(random_image()).rgb)
IG = "Integrated Gradients"
QUICK = {"compare-methods": "input_x_gradient"}
"""Of an address: one method that takes no time."""
EPOCHS = {"compare-by": "Epochs of a run", "compare-method": "input_x_gradient"}
CHECKPOINTS = {"compare-by": "Checkpoints", "compare-method": "input_x_gradient"}


@pytest.fixture(autouse=True)
def folder(lab_home: Path, warm: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of what ships: a checkpoint called `tiny`. No machine is so slow that a map becomes a task."""
    monkeypatch.setattr(compare_cards, "INLINE_S", 1000.0)
    write_checkpoint(lab_home / "none" / "tiny")
    return lab_home / "none"


@pytest.fixture
def compare(open_page: Open) -> Callable[..., AppTest]:
    """The view with an image, and more in the address."""
    return lambda **query: give(open_page("attribution", view="Compare", checkpoint="tiny", **query), random_image())


def explainer(folder: Path) -> Explainer:
    return Explainer(load_checkpoint(str(folder)))


def order(found: Explainer) -> list[int]:
    """Classes, the most likely first."""
    return found.probabilities(found.inputs(PIXELS))[0].argsort(descending=True).tolist()


def asked(found: Explainer, name: str, target: int) -> Attribution:
    return found.attribute(get_method(name), PIXELS, target, baseline="mean")


def derive(source: Path, to: Path, change: Callable[[nn.Module], None] | None = None, **card: Any) -> None:
    """Another checkpoint out of one: its network changed, its card with other values."""
    checkpoint = load_checkpoint(str(source))
    if change:
        change(checkpoint.model)
    save_checkpoint(to, checkpoint.model, dataclasses.replace(checkpoint.card, **{"onnx_file": ""} | card))


def passes(folder: Path) -> bool:
    """Whether the map of the class that `tiny` predicts beats the controls on this checkpoint."""
    found, target = explainer(folder), order(explainer(folder.parent / "tiny"))[0]
    own = curves(found, PIXELS, target, {"map": asked(found, "input_x_gradient", target).magnitude})["map"]
    return not doubt(verdict(own, control_curves(found, PIXELS, target)))


def head(model: nn.Module) -> nn.Linear:
    found = [module for module in model.modules() if isinstance(module, nn.Linear)]
    return found[-1]


def charts(at: AppTest) -> dict[str, dict[str, Any]]:
    """What each map shows, by its alternative text."""
    found = {}
    for element in at.get("plotly_chart"):
        heat = next((trace for trace in json.loads(element.proto.spec)["data"] if trace["type"] == "heatmap"), None)
        if heat:
            raw = heat["z"]
            z = np.frombuffer(base64.b64decode(raw["bdata"]), raw["dtype"]).reshape(32, 32)
            found[element.proto.alt] = {"z": z, "low": heat["zmin"], "high": heat["zmax"]}
    return found


def test_methods_and_classes_make_a_matrix_on_a_common_scale(compare: Callable[..., AppTest], folder: Path) -> None:
    at = compare()
    assert not at.error, at.error
    found = explainer(folder / "tiny")
    first, second = order(found)[:2]
    classes = found.card.image_data.classes
    assert at.multiselect(key="compare-classes").value == [classes[first], classes[second]]
    shown = charts(at)
    for name in ("integrated_gradients", "grad_cam", "guided_backprop"):
        title = get_method(name).title
        maps = [asked(found, name, target).pixels for target in (first, second)]
        cells = [shown[f"{title}: why {classes[target]}"] for target in (first, second)]
        if name == "integrated_gradients":
            maps.append(maps[0] - maps[1])
            cells.append(shown[f"{title}: why {classes[first]} rather than {classes[second]}"])
        top = limit(np.stack(maps))
        for cell, values in zip(cells, maps, strict=True):
            np.testing.assert_allclose(cell["z"], values, rtol=1e-4, atol=1e-6)
            assert cell["high"] == pytest.approx(top, rel=1e-4)
            assert cell["low"] == (pytest.approx(-top, rel=1e-4) if name != "grad_cam" else 0)
        likeness = f"{rank_correlation(*maps[:2]):.2f}".replace("-", "−")
        assert f"{classes[first]} and {classes[second]} {likeness}" in texts(at) or f"correlation {likeness}" in texts(
            at
        )
    assert len(shown) == 7, "a difference is shown where it explains one, and nowhere else"
    assert "one scale" in texts(at)


def test_the_difference_explains_the_difference_of_the_logits(compare: Callable[..., AppTest], folder: Path) -> None:
    at = compare(**{"compare-methods": "integrated_gradients"})
    found = explainer(folder / "tiny")
    first, second = order(found)[:2]
    image_, base = found.inputs(PIXELS), found.baseline("mean", PIXELS)
    rises = (found.logits(image_) - found.logits(base))[0]
    names = [found.card.image_data.classes[target] for target in (first, second)]
    shown = charts(at)[f"{IG}: why {names[0]} rather than {names[1]}"]["z"]
    assert shown.sum() == pytest.approx(float(rises[first] - rises[second]), rel=0.03, abs=1e-4)


def test_scores_and_verdicts_are_cores(compare: Callable[..., AppTest], folder: Path) -> None:
    at = compare(**QUICK)
    found = explainer(folder / "tiny")
    said = texts(at)
    for target in order(found)[:2]:
        values = asked(found, "input_x_gradient", target).magnitude
        whole = curves(found, PIXELS, target, {"map": values})["map"]
        expected = verdict(whole, control_curves(found, PIXELS, target))
        assert f"{signed_number(expected.score)}]" in said
        assert (
            expected.label if expected.not_beaten or expected.score >= LEAST else "hardly more than nothing"
        ) in said


def test_a_map_that_ignores_the_class_is_told(compare: Callable[..., AppTest], folder: Path) -> None:
    def same(model: nn.Module) -> None:
        with torch.no_grad():
            head(model).weight.copy_(head(model).weight[:1].repeat(10, 1))

    def opposite(model: nn.Module) -> None:
        signs = torch.tensor([1.0, -1.0] * 5)[:, None]
        with torch.no_grad():
            head(model).weight.copy_(head(model).weight[:1] * signs)

    derive(folder / "tiny", folder / "tiny", same)
    at = compare(**QUICK)
    (warning,) = at.warning
    assert "Input × Gradient shows nearly the same whatever the class (rank correlation 1.00 for" in read(warning.value)
    derive(folder / "tiny", folder / "tiny", opposite)
    at.run()  # another network begins with its two most likely classes
    at.multiselect(key="compare-classes").set_value(["airplane", "automobile"]).run()
    assert not at.warning
    assert "airplane and automobile −1.00" in texts(at)


def test_classes_of_an_address_and_of_another_image(compare: Callable[..., AppTest], folder: Path) -> None:
    at = compare(**{"compare-classes": "ship,frog"}, **QUICK)
    assert at.multiselect(key="compare-classes").value == ["ship", "frog"]
    give(at, random_image(size=(40, 40)))
    pixels = fit_to_model(decode_image(random_image(size=(40, 40))).rgb)
    found = explainer(folder / "tiny")
    likely = found.probabilities(found.inputs(pixels))[0].argsort(descending=True).tolist()[:2]
    assert at.multiselect(key="compare-classes").value == [found.card.image_data.classes[place] for place in likely]
    at.multiselect(key="compare-classes").set_value(["cat"]).run()
    assert "Choose at least one method and two classes." in texts(at)
    assert not charts(at)


def test_three_classes_have_two_differences(compare: Callable[..., AppTest]) -> None:
    at = compare(**{"compare-classes": "cat,dog,frog"}, **QUICK)
    assert [alt.partition(": ")[2] for alt in charts(at)] == [
        "why cat",
        "why dog",
        "why frog",
        "why cat rather than dog",
        "why cat rather than frog",
    ]
    assert "cat and dog" in texts(at)
    assert "dog and frog" in texts(at)


def test_a_method_that_a_network_refuses_says_so_in_its_row(compare: Callable[..., AppTest], folder: Path) -> None:
    card = load_checkpoint(str(folder / "tiny")).card
    config = {"activation": "gelu", "widths": (8, 8, 8)}
    changed = dataclasses.replace(card, model="fast_resnet", model_config=config)
    save_checkpoint(folder / "tiny", build_model("fast_resnet", config), changed)
    at = compare(**{"compare-methods": "guided_backprop,grad_cam"})
    assert "Guided Backprop is defined for ReLU, and this network has GELU" in texts(at)
    assert [alt.partition(":")[0] for alt in charts(at)] == ["Grad-CAM"] * 2


def test_a_image_of_one_colour_is_not_scored(open_page: Open) -> None:
    at = give(open_page("attribution", view="Compare", baseline="black", **QUICK), plain_image((128, 128, 128)))
    assert "Maps cannot be scored here." in at.info[0].value
    assert charts(at)


def test_a_slow_method_is_a_task(compare: Callable[..., AppTest], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare_cards, "INLINE_S", 0.0)
    at = compare(**{"compare-methods": "occlusion"})
    wait_for(lambda: charts(rerun(at)))
    assert len(charts(at)) == 3
    assert any(task.done and task.result for task in tasks._tasks().values())
    assert "Occlusion about" in texts(at)


def test_checkpoints_beside_the_one_they_were_made_from(compare: Callable[..., AppTest], folder: Path) -> None:
    write_checkpoint(folder / "stranger", seed=7, title="Stranger")
    derive(folder / "tiny", folder / "twin", title=f"Twin {HOSTILE}", parent="tiny", calibration=Calibration())
    done = {"original": "tiny", "steps": [Float16().to_dict()]}

    def flipped(model: nn.Module) -> None:
        with torch.no_grad():
            head(model).weight.neg_()
            head(model).bias.neg_()

    derive(folder / "tiny", folder / "flipped", flipped, title="Flipped", compression=done)
    at = compare(**CHECKPOINTS)
    assert sorted(at.multiselect(key="compare-with").value) == ["flipped", "twin"]
    assert "with" not in at.query_params
    said = texts(at)
    twin = (
        "for nearly the same reasons (1.00)."
        if passes(folder / "tiny") and passes(folder / "twin")
        else "whether for the same reasons, these maps cannot tell (1.00)"
    )
    assert re.search(rf"\*\*Twin {re.escape(HOSTILE)}\*\* gives the same answer;? {re.escape(twin)}", said)
    before, after = explainer(folder / "tiny"), explainer(folder / "flipped")
    classes = before.card.image_data.classes
    first, other = order(before)[0], order(after)[0]
    label = classes[first]
    assert f"**Flipped** says {classes[other]} instead of {label}" in said
    assert "(−1.00)" in said
    assert f"Not calibrated: Twin {HOSTILE}." in said
    assert "![x](" not in sources(at)
    shown = charts(at)
    assert len(shown) == 3
    values = asked(after, "input_x_gradient", first).pixels
    np.testing.assert_allclose(shown[f"Input × Gradient: why Flipped says {label}"]["z"], values, rtol=1e-4, atol=1e-6)
    at.multiselect(key="compare-with").set_value(["stranger"]).run()
    assert at.query_params["with"] in ("stranger", ["stranger"])
    assert len(charts(at)) == 2
    at.multiselect(key="compare-with").set_value([]).run()
    assert "Choose a checkpoint to compare with." in texts(at)


@pytest.mark.parametrize(
    ("likeness", "told", "words"),
    [
        (0.9, True, "gives the same answer for nearly the same reasons (0.90)."),
        (0.5, True, "gives the same answer for partly other reasons (0.50)."),
        (0.01, True, "gives the same answer for other reasons (0.01)."),
        (0.01, False, "gives the same answer; whether for the same reasons, these maps cannot tell (0.01)"),
        (0.9, False, "gives the same answer; whether for the same reasons, these maps cannot tell (0.90)"),
        (None, True, "gives the same answer; one of the two maps is blank"),
    ],
)
def test_reasons_are_only_compared_where_both_maps_pass(
    folder: Path, likeness: float | None, told: bool, words: str
) -> None:
    reference = find_checkpoint("tiny")
    question = AttributionQuery(
        reference=reference,
        image=InputImage(data=random_image(), title="photo.png"),
        seen=look(random_image(), 32),
        probabilities=(0.9, *(0.01,) * 9),
        target=0,
        baseline="mean",
    )
    assert f"**Tiny** {words}" in _changed(question, question, likeness, told=told)


def test_without_kin_the_next_one_is_compared(compare: Callable[..., AppTest], folder: Path) -> None:
    write_checkpoint(folder / "stranger", seed=7, title="Stranger")
    at = compare(**CHECKPOINTS)
    assert at.multiselect(key="compare-with").value == ["stranger"]
    rerun(at.selectbox(key="checkpoint").set_value("stranger"))
    assert at.multiselect(key="compare-with").value == ["tiny"]


def test_other_classes_are_refused(compare: Callable[..., AppTest], folder: Path) -> None:
    data = load_checkpoint(str(folder / "tiny")).card.image_data
    others = dataclasses.replace(data, classes=tuple(f"{name}s" for name in data.classes))
    derive(folder / "tiny", folder / "plural", title="Plural", dataset=others, parent="tiny")
    derive(folder / "tiny", folder / "twin", title="Twin")
    at = compare(**CHECKPOINTS, **{"with": f"plural,twin,{HOSTILE}"})
    assert at.multiselect(key="compare-with").value == ["twin"]
    assert at.multiselect(key="compare-with").options == ["Twin · 12.3% test"]
    plural, unknown = (read(warning.value) for warning in at.warning)
    assert plural == (
        "Plural knows other classes than Tiny and cannot be asked the same question: compare checkpoints that were trained on "
        "the same classes."
    )
    assert "There is no checkpoint named" in unknown
    assert "![x](" not in sources(at)
    assert len(charts(at)) == 2
    assert not at.run().warning, "said once"


def test_an_int8_network_is_asked_through_its_float_twin(compare: Callable[..., AppTest], folder: Path) -> None:
    checkpoint = load_checkpoint(str(folder / "tiny"))
    card = dataclasses.replace(checkpoint.card, title="Rounded", parent="tiny")
    save_checkpoint(folder / "rounded", checkpoint.model, card, onnx=b"not run here")
    at = compare(**CHECKPOINTS)
    assert "Rounded runs in 8 bits, without gradients: its answer and map use the same weights in float32." in texts(at)


def test_what_a_recipe_made_here_can_be_compared(compare: Callable[..., AppTest]) -> None:
    run_id = store_recipe(result_of(config_of(), name="My recipe"))
    at = compare(**CHECKPOINTS)
    assert at.multiselect(key="compare-with").value == [
        f"{run_id}/1-prune_weights",
        f"{run_id}/2-fine_tune",
        f"{run_id}/3-float16",
    ]
    assert "**My recipe: " in texts(at)


def keep_epochs(folder: Path, count: int, name: str = "A run") -> str:
    """A run that kept its untrained network, `count` more and its last state; each from a seed of its own. Returns its id."""
    store = RunStore()
    run_id = store.create(TrainConfig(model="simple_cnn", dataset="cifar10", snapshots=count), name)
    for epoch in range(count + 2):
        to = store.folder(run_id) / "last" if epoch == count + 1 else snapshot_folder(store.folder(run_id), epoch)
        write_checkpoint(to, seed=epoch)
        derive(to, to, epoch=float(epoch), step=epoch)
    return run_id


def test_epochs_of_a_run(compare: Callable[..., AppTest], folder: Path) -> None:
    run_id = keep_epochs(folder, 2)
    at = compare(**EPOCHS)
    assert not at.error, at.error
    said = texts(at)
    target = order(explainer(folder / "tiny"))[0]
    runs = RunStore().folder(run_id)
    places = [snapshot_folder(runs, 0), snapshot_folder(runs, 1), snapshot_folder(runs, 2), runs / "last"]
    networks = [explainer(place) for place in places]
    label = networks[0].card.image_data.classes[target]
    for epoch, network in enumerate(networks):
        sure = float(network.probabilities(network.inputs(PIXELS))[0, target])
        assert f"**Epoch {epoch}**  \n{label} {100 * sure:.0f}%" in said
    last = asked(networks[-1], "input_x_gradient", target).pixels
    expected = [rank_correlation(asked(network, "input_x_gradient", target).pixels, last) for network in networks]
    line = chart(at, -1)["data"][0]
    assert line["y"] == pytest.approx(expected, abs=1e-3)
    assert line["x"] == [0, 1, 2, 3]
    assert line["y"][-1] == pytest.approx(1)
    conclusion = next(
        words for words in ("The reason changed", "The reason settled", "Cannot tell when") if words in said
    )
    assert said.index(conclusion) < said.index("**Epoch 0**"), "it stands above the maps"


def test_the_run_that_the_checkpoint_is_from_comes_first(open_page: Open, folder: Path) -> None:
    own = keep_epochs(folder, 1, "Same name")
    keep_epochs(folder, 1, "Same name")
    at = give(open_page("attribution", view="Compare", checkpoint=f"{own}/last", **EPOCHS), random_image())
    assert at.selectbox(key="compare-run").value == own
    assert f"Same name · {own}" in at.selectbox(key="compare-run").options


def test_a_run_that_fits_comes_before_one_that_does_not(compare: Callable[..., AppTest], folder: Path) -> None:
    fitting = keep_epochs(folder, 1, "Fits")
    other = keep_epochs(folder, 1, "Letters")
    data = load_checkpoint(str(folder / "tiny")).card.image_data
    for place in (snapshot_folder(RunStore().folder(other), 0), RunStore().folder(other) / "last"):
        derive(place, place, dataset=dataclasses.replace(data, classes=tuple("abcdefghij")))
    at = compare(**EPOCHS)
    assert at.selectbox(key="compare-run").value == fitting
    assert not at.error


def test_without_snapshots_the_page_says_how_to_get_them(open_page: Open) -> None:
    at = open_page("attribution", view="Compare", **EPOCHS)
    assert "Train one with Snapshots, under Advanced, above 0." in read(at.info[0].value)
    (link,) = [item for item in at.get("page_link") if item.proto.label == "Train one"]
    assert link.proto.query_string == "view=Train"


def test_a_run_on_other_classes_is_refused(compare: Callable[..., AppTest], folder: Path) -> None:
    keep_epochs(folder, 1)
    data = load_checkpoint(str(folder / "tiny")).card.image_data
    derive(folder / "tiny", folder / "tiny", dataset=dataclasses.replace(data, classes=tuple("abcdefghij")))
    at = compare(**EPOCHS)
    assert "Tiny knows other classes than Tiny" in read(at.error[0].value)


@pytest.mark.parametrize(
    ("likeness", "needed", "words"),
    [
        ([0.1, 0.9, 0.7, 0.85, 1.0], {3, 4}, "The reason settled by epoch 3: "),
        ([0.9, 0.9, 0.9, 0.9, 1.0], {0, 1, 2, 3, 4}, "The reason settled by epoch 0: "),
        ([0.1, 0.9, 0.9, 0.1, 1.0], {3, 4}, "The reason changed to the end: "),
        ([None, None, None, None, None], set(), "The last map is blank"),
    ],
)
def test_when_the_reason_settled(likeness: list[float | None], needed: set[int], words: str) -> None:
    assert settled_words(range(5), likeness, [epoch in needed for epoch in range(5)]).startswith(words)
    for epoch in needed:
        said = settled_words(range(5), likeness, [other != epoch for other in range(5)])
        assert said.startswith("Cannot tell")
        assert f"epoch {epoch} " in said


@pytest.mark.parametrize(
    ("changes", "passes", "words"),
    [
        (True, [True, True], "**Changes with the class:** LIME."),
        (True, [True, None], "**Changes with the class:** LIME."),
        (True, [True, False], "**Cannot tell:** LIME."),
        (True, [None, True], "**Cannot tell:** LIME."),
        (False, [False, False], "**Stays the same:** LIME."),
        (None, [], ""),
    ],
)
def test_methods_are_said_to_tell_classes_apart_where_their_maps_pass(
    changes: bool | None, passes: list[bool | None], words: str
) -> None:
    assert verdict_words({"LIME": (changes, passes)}).startswith(words)
    assert ("Changes with the class" in verdict_words({"LIME": (changes, passes)})) == words.startswith("**Changes")


def test_of_many_epochs_some_are_taken_evenly() -> None:
    taken = list(_thinned({f"run/epoch-{epoch}": float(epoch) for epoch in range(52)}).values())
    assert len(taken) == MOST
    assert (taken[0], taken[-1]) == (0, 51)
    assert max(np.diff(taken)) - min(np.diff(taken)) <= 1
    assert _thinned({"run/epoch-0": 0.0}) == {"run/epoch-0": 0.0}

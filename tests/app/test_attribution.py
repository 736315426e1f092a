"""Attribution / Explain: maps of the quick methods with their scores, slow ones on request, and one map looked at closely."""

from __future__ import annotations

import dataclasses
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamlit as st
import torch
from streamlit.testing.v1 import AppTest

import pages.attribution.cached
import pages.attribution.ready
from core.attribution.evidence.controls import CONTROL_TITLES
from core.attribution.evidence.curves import Verdict, control_curves, curves, verdict
from core.attribution.evidence.masking import covered_probabilities, most_important
from core.attribution.evidence.stability import cover_squares, infidelity, max_sensitivity
from core.attribution.explainer import Attribution, Explainer
from core.attribution.methods.registry import METHODS, QUICK, SLOW, get_method
from core.checkpoints.store import Calibration, find_checkpoint, load_checkpoint, save_checkpoint
from core.data.decode import decode_image, fit_to_model
from core.images.figures import percent
from core.models import build_model
from pages.attribution.answer import Best, answer_words
from pages.attribution.conclusion import conclusion
from pages.attribution.detail import ALL
from pages.attribution.maps import BLANK, signed_number
from pages.attribution.query import AttributionQuery
from pages.shared import tasks
from pages.shared.examples import examples
from pages.shared.image_view import look
from pages.shared.maps import colour_words
from pages.shared.upload_box import InputImage
from pages.shared.warmup import warmup
from tests.app.conftest import (
    HOSTILE,
    Open,
    click,
    follow,
    plain_image,
    random_image,
    read,
    rerun,
    sources,
    texts,
    wait_for,
    write_checkpoint,
)
from tests.app.test_classify import BAD, give

PIXELS = fit_to_model(decode_image(random_image()).rgb)


pytestmark = pytest.mark.usefixtures("warm")


@pytest.fixture
def sharp(lab_home: Path) -> Path:
    """An untrained network at a temperature at which its probability moves from 0 to 1 as pixels go."""
    return write_sharp(lab_home / "none" / "tiny")


def write_sharp(folder: Path, *, zero: bool = False, model: str = "simple_cnn", **config: object) -> Path:
    """zero: its answer depends on no pixel."""
    card = write_checkpoint(folder)
    torch.manual_seed(2)
    config = config or {"widths": (8, 8)}
    network = build_model(model, config)
    if zero:
        with torch.no_grad():
            list(network.modules())[-1].weight.zero_()  # type: ignore[operator,union-attr]
    calibration = Calibration(temperature=0.005, images=5000)
    changed = dataclasses.replace(card, model=model, model_config=config, calibration=calibration)
    save_checkpoint(folder, network, changed)
    return folder


def explained(name: str, *, baseline: str = "mean") -> tuple[Explainer, Attribution]:
    """What core says of the test's image and the class that is predicted."""
    explainer = Explainer(load_checkpoint(find_checkpoint("tiny")))
    target = int(explainer.logits(explainer.inputs(PIXELS)).argmax())
    return explainer, explainer.attribute(get_method(name), PIXELS, target, baseline=baseline)


def cards(at: AppTest) -> dict[str, list[str]]:
    """What stands below each title of a card, until the next."""
    found: dict[str, list[str]] = {}
    title = ""
    for element in at.main:
        if element.type not in ("markdown", "caption"):
            continue
        text = read(element.value)
        if element.type == "markdown" and text.startswith("**") and text.endswith("**"):
            title = text.strip("*")
            found[title] = []
        elif title:
            found[title].append(text)
    return found


def has_button(at: AppTest, key: str) -> bool:
    return any(button.key == key for button in at.button)


def until_done(at: AppTest) -> AppTest:
    """Until every task that this session began is over."""
    wait_for(lambda: all(task.done for task in of_session(at)))
    return rerun(at)


def of_session(at: AppTest) -> list[tasks.BackgroundTask]:
    if "why-tasks" not in at.session_state:
        return []
    return [task for key in at.session_state["why-tasks"] if (task := tasks.find(key))]


def test_before_there_is_a_image_there_are_examples_and_nothing_to_read(open_page: Open, sharp: Path) -> None:
    at = open_page("attribution")
    assert at.button(key="example-ship")
    assert not at.get("plotly_chart")
    assert not at.table
    click(at, "example-ship")
    assert "### Why " in texts(at)


def test_the_answer_is_the_map_that_scores_best(open_page: Open, sharp: Path) -> None:
    at = give(open_page("attribution"), random_image())
    explainer, attribution = explained("saliency")
    maps = {name: explained(name)[1].magnitude for name in QUICK}
    scores = {name: item.score for name, item in curves(explainer, PIXELS, attribution.target, maps).items()}
    best = max(scores, key=lambda name: scores[name])
    said = texts(at)
    assert f"**{METHODS[best].title}**, the best of {len(QUICK)} quick methods here: score" in said
    assert signed_number(scores[best]) in said
    large, bar, seen = at.get("image")
    assert "32 by 32 large pixels" in seen.proto.imgs[0].alt
    assert large.proto.imgs[0].alt.startswith(f"{METHODS[best].title}: map of why ")
    controls = control_curves(explainer, PIXELS, attribution.target)
    for name, title in CONTROL_TITLES.items():
        assert f"{title.lower()} {signed_number(controls[name].score)}" in bar.proto.imgs[0].alt
    assert any(
        f"**{words}" in said
        for words in ("Mostly this region:", "This map finds no small region that decides:", "Cannot tell.")
    )
    click(at, f"closer-{best}")
    assert at.query_params["closer"] in (best, [best])


def test_on_a_slow_network_maps_come_one_by_one_and_the_answer_is_the_same(
    open_page: Open, sharp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = texts(give(open_page("attribution"), random_image()))
    st.cache_resource.clear()
    warmup().ready.set()
    warmup().done.set()
    monkeypatch.setattr(pages.attribution.ready, "INLINE_S", 0.0)
    asked, go = threading.Event(), threading.Event()

    def held(*given: Any, **named: Any) -> Any:
        asked.set()
        while not go.wait(0.01):
            named["on_progress"](0.5)
        return control_curves(*given, **named)

    monkeypatch.setattr(pages.attribution.cached, "control_curves", held)
    at = give(open_page("attribution"), random_image())
    assert asked.wait(20)
    rerun(at)
    said = texts(at)
    assert said.count("not scored yet") == len(QUICK)
    assert "on this machine" in said
    [stop] = [button for button in at.button if button.label == "Stop"]
    stop.click().run()
    at = until_done(at)
    assert "Stopped." in texts(at)
    assert texts(at).count("not scored yet") == len(QUICK), "what was computed stays"
    [again] = [button for button in at.button if button.label.startswith("Go on")]
    go.set()
    again.click().run()
    at = until_done(at)
    [answer] = [line for line in at_once.splitlines() if "quick methods here: score" in line]
    assert answer in texts(at)


def test_the_sentence_says_what_covering_does_and_nothing_of_a_map_that_fails(sharp: Path) -> None:
    explainer, attribution = explained("saliency")
    target, classes = attribution.target, explainer.card.image_data.classes
    asked = AttributionQuery(
        reference=find_checkpoint("tiny"),
        image=InputImage(data=random_image(), title="photo.png"),
        seen=look(random_image(), 32),
        probabilities=tuple(explainer.probabilities(explainer.inputs(PIXELS))[0].tolist()),
        target=target,
        baseline="mean",
    )
    controls = {"random": 0.0, "edges": 0.2, "blob": 0.3}
    passing = Best(found=attribution, verdict=Verdict(score=0.4, controls=controls), tried=7)
    gone = most_important(attribution.magnitude, 0.10)
    assert gone.sum() == 102
    after = covered_probabilities(explainer, PIXELS, gone[None], baseline="mean")[0]
    words = answer_words(asked, passing)
    label = classes[target]
    before = percent(asked.probabilities[target])
    now = int(after.argmax())
    start = (
        "This map finds no small region that decides"
        if now == target and after[target] >= asked.probabilities[target] / 2
        else "Mostly"
    )
    assert words.startswith(f"**{start}")
    assert words.endswith(
        f":** covering the map's top 10% takes {label} from {before} to {percent(after[target])}, "
        f"{'still' if now == target else 'now'} {classes[now]}."
    )
    failing = dataclasses.replace(passing, verdict=Verdict(score=0.25, controls=controls))
    assert answer_words(asked, failing).startswith("**Cannot tell.** None of 7 quick methods beats every control")
    alone = conclusion(asked, attribution, failing.verdict)
    assert alone == "**Cannot tell.** On this image, Saliency is no better than a centre blob."
    assert conclusion(asked, attribution, passing.verdict) == words, (
        "the same rule for one map as for the best of several"
    )
    hardly = Verdict(score=0.03, controls=dict.fromkeys(controls, 0.0))
    assert conclusion(asked, attribution, hardly).startswith("**Cannot tell.** ")
    least = int(np.argmin(asked.probabilities))
    nothing = dataclasses.replace(passing, verdict=Verdict(score=0.01, controls=dict.fromkeys(controls, 0.0)))
    assert answer_words(dataclasses.replace(asked, target=least), nothing).startswith("**Cannot tell.** ")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("guided_backprop", ":blue[■] brighter raises ship · :orange[■] brighter lowers it"),
        ("deeplift", ":blue[■] supports ship · :orange[■] speaks against it"),
        ("grad_cam", ":green[■] supports ship"),
        ("saliency", ":green[■] ship reacts most here"),
    ],
)
def test_the_colours_of_a_map_are_said_in_words(sharp: Path, name: str, words: str) -> None:
    assert colour_words("ship", get_method(name)) == words


def test_quick_maps_come_with_the_scores_that_core_computes(open_page: Open, sharp: Path) -> None:
    at = give(open_page("attribution", closer=ALL), random_image())
    found = cards(at)
    explainer, _ = explained("saliency")
    label = explainer.card.image_data.classes[explained("saliency")[1].target]
    assert f"### Why {label}?" in texts(at)
    controls = control_curves(explainer, PIXELS, explained("saliency")[1].target)
    seen = set()
    for name in QUICK:
        attribution = explained(name)[1]
        values = attribution.magnitude
        expected = verdict(curves(explainer, PIXELS, attribution.target, {name: values})[name], controls)
        said = "\n".join(found[METHODS[name].title])
        icon = "close" if expected.not_beaten else "check"
        assert f":material/{icon}: {signed_number(expected.score)}]" in said
        assert expected.label in said
        seen.add(expected.label)
    assert len(seen) > 1  # else the verdict may as well be one for all
    for title, name in (("Random map", "random"), ("Edge detector", "edges"), ("Centre blob", "blob")):
        assert f"{signed_number(controls[name].score)}]" in found[title][0]
        assert "a control, to be beaten" in found[title][0]
    images = [element.proto.imgs[0] for element in at.get("image")]
    assert len(images) == 2 + 2 * (len(QUICK) + 3)  # the image here and beside the photo; a map and its curves
    assert all(image.alt for image in images)
    assert not any(image.url.endswith("jpg") for image in images)  # which would blur the edges of pixels


def test_slow_methods_come_on_request_and_stay_for_other_questions(open_page: Open, sharp: Path) -> None:
    at = give(open_page("attribution", closer=ALL), random_image())
    assert not set(cards(at)) & {METHODS[name].title for name in SLOW}
    for name in SLOW:
        assert f"{METHODS[name].title}, about " in at.button(key=f"add-{name}").label
    click(at, "add-feature_ablation")
    click(at, "add-gradient_shap")
    assert at.query_params["methods"] in ("gradient_shap,feature_ablation", ["gradient_shap,feature_ablation"])
    box = at.selectbox(key="why-class")
    box.set_value(box.options and int(explained("saliency")[1].target + 1) % 10)
    rerun(at)
    for name in ("feature_ablation", "gradient_shap"):
        assert cards(at)[METHODS[name].title]
        assert not has_button(at, f"add-{name}")
    give(at, plain_image((90, 40, 200)), "other.png")
    assert "GradientSHAP" in cards(at)
    click(at, "remove-gradient_shap")
    assert "GradientSHAP" not in cards(at)
    assert has_button(at, "add-gradient_shap")


def test_a_link_brings_its_slow_methods_and_says_which_it_does_not_know(open_page: Open, sharp: Path) -> None:
    at = open_page("attribution", closer=ALL, methods=",".join((*SLOW, HOSTILE)))
    give(at, random_image())
    assert f"The link asks for {HOSTILE}" in texts(at)
    until_done(at)
    for name in SLOW:
        assert "-badge[" in cards(at)[METHODS[name].title][0]
    at = open_page("attribution", closer=HOSTILE)
    click(at, "example-ship")
    assert "which is not an attribution method: here is the answer" in texts(at)
    assert "![" not in sources(at)


@pytest.fixture
def endless(open_page: Open, lab_home: Path) -> AppTest:
    """KernelSHAP with so many samples of such a network that it takes 10 s on a quick machine: a task, under way."""
    write_sharp(lab_home / "none" / "tiny", widths=(64, 64))
    at = open_page("attribution", closer=ALL)
    at.session_state["why-settings"] = {"kernel_shap": {"samples": 20_000}}
    give(at, random_image())
    click(at, "add-kernel_shap")
    assert not of_session(at)[0].done
    return at


def test_a_long_one_shows_how_far_it_is_and_stops(endless: AppTest) -> None:
    at = endless
    assert at.get("progress")
    assert "Saliency" in cards(at)  # the rest of the page is there
    rerun(next(button for button in at.button if button.label == "Stop").click())
    until_done(at)
    assert of_session(at)[0].stopped
    assert "Stopped." in cards(at)["KernelSHAP"]
    at.session_state["why-settings"] = {"kernel_shap": {"samples": 20}}
    rerun(at)
    assert "samples: 20" in cards(at)["KernelSHAP"]


def test_another_question_ends_the_work_on_the_last(endless: AppTest) -> None:
    at = endless
    last = of_session(at)[0]
    at.session_state["why-settings"] = {}
    rerun(at.selectbox(key="why-class").set_value(int(explained("saliency")[1].target + 1) % 10))
    wait_for(lambda: last.done)
    assert last.stopped
    at.session_state["why-settings"] = {"kernel_shap": {"samples": 20_000}}
    rerun(at.selectbox(key="why-class").set_value(explained("saliency")[1].target))
    assert "Stopped." not in cards(at)["KernelSHAP"]  # nobody pressed Stop: it is under way again
    assert at.get("progress")
    of_session(at)[0].stop()


def test_a_method_that_a_network_does_not_support_says_why(open_page: Open, lab_home: Path) -> None:
    write_sharp(lab_home / "none" / "tiny", model="fast_resnet", widths=(8, 8, 8), activation="gelu")
    at = give(open_page("attribution", closer=ALL), random_image())
    assert "Guided Backprop is defined for ReLU, and this network has GELU" in texts(at)
    assert "Guided Backprop" not in cards(at)
    assert "Saliency" in cards(at)
    at = open_page("attribution", closer="guided_backprop")
    give(at, random_image())
    assert "Guided Backprop is defined for ReLU" in read(at.error[0].value)


@pytest.mark.parametrize("closer", ["", ALL, "deeplift", "saliency"])
def test_a_image_of_one_colour_is_answered_as_far_as_can_be(open_page: Open, sharp: Path, closer: str) -> None:
    at = open_page("attribution", **({"closer": closer} if closer else {}))
    give(at, plain_image((128, 128, 128)))
    if closer != "deeplift":
        assert "The image is the same as its baseline (blur)" in texts(at)
    if closer == ALL:
        assert "Saliency" in cards(at)


def test_a_map_of_zeros_is_called_that(open_page: Open, lab_home: Path) -> None:
    write_sharp(lab_home / "none" / "tiny", zero=True)
    at = give(open_page("attribution", closer=ALL), random_image())
    assert BLANK in cards(at)["Saliency"][0]
    click(at, "closer-saliency")
    assert f"**Cannot tell.** {BLANK}" in texts(at)
    click(at, "start-randomisation-saliency")
    until_done(at)
    assert "no map that could change" in texts(at)


@pytest.mark.parametrize("what", BAD)
def test_bad_files_are_answered_in_one_sentence_and_the_page_goes_on(open_page: Open, sharp: Path, what: str) -> None:
    at = give(open_page("attribution", closer=ALL), BAD[what])
    assert len(at.error) == 1
    assert at.button(key="example-ship")
    give(at, random_image())
    assert not at.error
    assert "Saliency" in cards(at)


def test_names_are_no_markup(open_page: Open, lab_home: Path) -> None:
    folder = write_sharp(lab_home / "none" / "tiny")
    card = load_checkpoint(find_checkpoint("tiny")).card
    data = dataclasses.replace(card.image_data, classes=tuple(f"{HOSTILE}{place}" for place in range(10)))
    (folder / "card.json").write_text(dataclasses.replace(card, dataset=data, title=HOSTILE).to_json())
    at = give(open_page("attribution", closer="saliency"), random_image(), HOSTILE)
    assert f"### Why {HOSTILE}" in texts(at)
    assert "![" not in sources(at)
    assert not any("![" in str(cell) for column in at.table[0].value.to_dict("list").values() for cell in column)
    click(at, "all-maps")
    assert "![" not in sources(at)


def test_a_image_unlike_the_training_images_is_warned_about(open_page: Open, lab_home: Path) -> None:
    write_checkpoint(lab_home / "none" / "tiny", threshold=-1000.0)
    at = give(open_page("attribution", closer=ALL), random_image())
    assert "probably none of the 10 classes" in at.warning[0].value
    assert "## nearest: " in texts(at)


def test_of_a_class_without_probability_no_map_is_called_better(open_page: Open, sharp: Path) -> None:
    explainer, _ = explained("saliency")
    least = int(explainer.logits(explainer.inputs(PIXELS)).argmin())
    at = open_page("attribution", closer=ALL, target=explainer.card.image_data.classes[least])
    found = cards(give(at, random_image()))
    assert f"Why {explainer.card.image_data.classes[least]} (" in texts(at)
    assert "too improbable to tell" in found["Saliency"][0]


def test_a_closer_look_has_what_core_measures(open_page: Open, sharp: Path) -> None:
    at = give(open_page("attribution", closer=ALL), random_image())
    click(at, "add-integrated_gradients")
    click(at, "closer-integrated_gradients")
    assert "integrated_gradients" in at.query_params["closer"]
    kind = METHODS["integrated_gradients"]
    for sentence in (kind.summary, kind.how_to_read, kind.caveat, f"[{kind.paper[0]}]({kind.paper[1]})"):
        assert sentence in texts(at)
    said = texts(at)
    verdicts = ("**Cannot tell.**", "**Mostly this region:**", "**This map finds no small region that decides:**")
    (place,) = [said.index(words) for words in verdicts if words in said]
    assert place < said.index("Drag to zoom"), "the verdict stands above its map"
    explainer, attribution = explained("integrated_gradients")
    large, *both = (json.loads(chart.proto.spec) for chart in at.get("plotly_chart"))
    drawn = next(trace for trace in large["data"] if trace["type"] == "heatmap")
    words = json.dumps(drawn["colorbar"]["ticktext"])
    assert "supports" in words
    assert "speaks" in words
    measured = curves(explainer, PIXELS, attribution.target, {"map": attribution.magnitude})["map"]
    assert [len(figure["data"]) for figure in both] == [4, 4]
    rows = summary(at)
    covered = cover_squares(explainer, PIXELS, attribution.target, baseline=attribution.baseline)
    assert rows["Score"] == signed_number(measured.score)
    assert rows["Insertion"] == f"{measured.insertion.area:.2f}"
    assert rows["Deletion"] == f"{measured.deletion.area:.2f}"
    assert rows["Infidelity"] == f"{infidelity(attribution, covered):.2f}"
    signed = curves(explainer, PIXELS, attribution.target, {"map": attribution.pixels})["map"]
    assert rows["For and against"] == signed_number(signed.score)
    assert "Map of another image" not in rows, "only of quick methods"
    assert rows["Completeness gap"] == f"{100 * (attribution.gap or 0):.1f}%"
    assert rows["Max-sensitivity"] == "–"
    click(at, "start-sensitivity-integrated_gradients")
    until_done(at)
    expected = max_sensitivity(explainer, attribution.method, PIXELS, attribution.target, baseline="mean")
    assert summary(at)["Max-sensitivity"] == f"{expected:.2f}"
    rerun(at.selectbox(key="closer-box").set_value("saliency"))
    assert METHODS["saliency"].summary in texts(at)
    assert "For and against" not in summary(at), "its map has no sign"
    other = fit_to_model(decode_image(examples()["airplane"]).rgb)
    target = int(explainer.logits(explainer.inputs(other)).argmax())
    foreign = explainer.attribute(get_method("saliency"), other, target).magnitude
    score = curves(explainer, PIXELS, attribution.target, {"map": foreign})["map"].score
    assert summary(at)["Map of another image"] == signed_number(score)
    click(at, "all-maps")
    assert at.query_params["closer"] in (ALL, [ALL])
    assert "Saliency" in cards(at)
    click(at, "back-to-answer")
    assert "closer" not in at.query_params
    assert "Saliency" not in cards(at)


def summary(at: AppTest) -> dict[str, str]:
    value = at.table[0].value
    return dict(zip(value["Measure"], value["Value"], strict=True))


def test_layers_are_shuffled_on_request(open_page: Open, sharp: Path) -> None:
    at = give(open_page("attribution", closer="input_x_gradient"), random_image())
    assert "rank correlation" not in texts(at)
    click(at, "start-randomisation-input_x_gradient")
    until_done(at)
    said = texts(at)
    assert "rank correlation 1.00" in said
    assert "3 shuffled, down to conv1" in said
    assert "it depends on what was learned" in said or "it shows the image more than the network" in said


def test_settings_are_checked_kept_and_shown(open_page: Open, sharp: Path) -> None:
    at = give(open_page("attribution", closer="grad_cam"), random_image())
    at.selectbox(key="setting-grad_cam-layer").set_value("conv1")
    click(at, "apply-grad_cam")
    click(at, "all-maps")
    assert "layer: conv1" in cards(at)["Grad-CAM"]
    click(at, "closer-grad_cam")
    click(at, "defaults-grad_cam")
    click(at, "all-maps")
    assert "layer: conv1" not in cards(at)["Grad-CAM"]
    at = give(open_page("attribution", closer="occlusion"), random_image())
    at.number_input(key="setting-occlusion-window").set_value(0)
    click(at, "apply-occlusion")
    assert "Side of the square (pixels) 0 is not valid" in read(at.error[0].value)
    at.number_input(key="setting-occlusion-window").set_value(40)
    click(at, "apply-occlusion")
    assert "the image is 32 pixels wide" in read(at.error[0].value)


def test_a_layer_of_another_network_is_not_asked_for(open_page: Open, sharp: Path, lab_home: Path) -> None:
    write_sharp(lab_home / "none" / "other", model="fast_resnet", widths=(8, 8, 8))
    at = open_page("attribution", closer=ALL, checkpoint="other")
    at.session_state["why-settings"] = {"grad_cam": {"layer": "conv1"}}
    give(at, random_image())
    assert "layer" not in " ".join(cards(at)["Grad-CAM"])


def test_the_class_that_was_asked_about_is_kept_in_other_views(open_page: Open, sharp: Path) -> None:
    at = give(open_page("attribution", closer=ALL), random_image())
    other = (explained("saliency")[1].target + 1) % 10
    rerun(at.selectbox(key="why-class").set_value(other))
    for view in ("Scores", "Explain"):
        rerun(at.segmented_control(key="view").set_value(view))
    assert at.selectbox(key="why-class").value == other
    label = explained("saliency")[0].card.image_data.classes[other]
    assert at.query_params["target"] in (label, [label])


def test_back_to_an_address_without_choices_is_back_to_the_defaults(
    open_page: Open, sharp: Path, lab_home: Path
) -> None:
    write_checkpoint(lab_home / "none" / "other", seed=5, title="Other")
    at = give(open_page("attribution"), random_image())
    keys = ("checkpoint", "why-class", "why-baseline")
    defaults = {key: at.selectbox(key=key).value for key in keys}
    rerun(
        at.selectbox(key="checkpoint").set_value(
            next(name for name in ("tiny", "other") if name != defaults["checkpoint"])
        )
    )
    at.selectbox(key="why-class").set_value((at.selectbox(key="why-class").value + 1) % 10)
    at.selectbox(key="why-baseline").set_value("black")
    click(at, "compare-methods-grid")
    click(at, "add-gradient_shap")
    click(at, "closer-saliency")
    assert {"checkpoint", "target", "baseline", "closer"} <= set(at.query_params)
    upload = at.session_state["input-image"].token
    follow(at, "attribution", upload=upload)
    assert {key: at.selectbox(key=key).value for key in keys} == defaults
    assert dict(at.query_params) == {"upload": upload}
    assert not cards(at).get("Saliency"), "the answer again"


def test_it_is_said_who_answers_for_a_network_in_8_bits(open_page: Open, sharp: Path) -> None:
    checkpoint = load_checkpoint(find_checkpoint("tiny"))
    save_checkpoint(sharp, checkpoint.model, checkpoint.card, onnx=b"not run here")
    assert "its answer and map use the same weights in float32" in texts(
        give(open_page("attribution", closer=ALL), random_image())
    )

"""Home, and the frame around every page."""

from __future__ import annotations

import dataclasses
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from core.attribution.methods.registry import get_method
from core.checkpoints.store import Card, load_checkpoint
from core.data.decode import decode_image, fit_to_model
from core.jobs import RunStore
from core.regularization.kind import STUDY
from core.regularization.study import StudyConfig
from core.training.recipes import RECIPES
from pages.home.doors import DOORS, LEARN
from pages.home.live import Explanation, covering_words
from pages.shared.examples import examples
from pages.shared.maps import colour_words
from pages.shared.registry import pages
from pages.shared.warmup import Warmup, warmup
from tests.app.conftest import Open, click, sources, texts, write_checkpoint


@pytest.mark.parametrize(
    ("page", "view"), [(name, view) for name, page in pages().items() for view in page.views or ("",)]
)
def test_every_view_opens_on_an_empty_machine(open_page: Open, page: str, view: str) -> None:
    at = open_page(page, **({"view": view} if view else {}))
    assert len(at.title) == 1
    assert not at.error
    needs_one = page in ("images", "text", "attribution", "convolution") and view not in ("Train", "One sum")
    needs_one |= page == "attention" and view not in ("What heads do", "Measurements")
    needs_one |= page == "features" and view != "Galleries"
    needs_one |= page == "synthesis" and view in ("Images", "From noise", "New set")
    needs_one |= page == "augmentation" and view in ("Pipeline", "New map")
    needs_one |= page == "hardware" and view == "New grid"
    needs_one |= page == "shift" and view in ("Your image", "Renditions", "New measurement")
    needs_one |= view in ("New recipe", "New surface", "Network", "Accumulation", "Export")
    assert ("There is no checkpoint yet: train one" in texts(at)) is needs_one
    assert not (page == "text" and needs_one and at.button)


def test_home_names_the_three_bottlenecks_and_two_first_actions(open_page: Open) -> None:
    at = open_page("home")
    said = texts(at)
    assert all(f"{name}\n" in said for name in ("Data", "Trust", "Compute"))
    assert {"regularization", "compression"} <= {link.proto.page for link in at.get("page_link")}
    assert "No checkpoint ships with this copy" in said
    assert any("core" in caption.value for caption in at.sidebar.caption)
    assert [button.key for button in at.button] == ["classify", "go-write"]
    for key, title in (("classify", "Images"), ("go-write", "Text")):
        assert click(open_page("home"), key).title[0].value == title


def test_home_shows_a_language_model_with_its_bits(open_page: Open, scribe: Card, shipped: Card) -> None:
    at = open_page("home")
    said = texts(at)
    assert (
        f"- **Scribe**: {2 / math.log(2):.2f} bits/character · {scribe.parameters:,} parameters · "
        f"{scribe.size_bytes / 1e3:.0f} kB" in said
    )
    assert "- **Tiny**: 12.3% · 42,442 parameters · 170 kB" in said
    assert "170\N{NO-BREAK SPACE}kB" in sources(at), "a narrow column must not take it apart"


def test_home_answers_live_as_core_does(
    open_page: Open, scribe: Card, shipped: Card, lab_home: Path, warm: None
) -> None:
    """The answer to the drawing, what covering a tenth of its map does, and a line that the language model writes."""
    from core.attribution.evidence.masking import covered_probabilities, most_important
    from core.attribution.explainer import Explainer
    from core.images.figures import percent
    from core.inference.generate import write
    from core.inference.images import classify
    from core.inference.sampling import SamplingConfig

    said = texts(open_page("home"))
    checkpoint = load_checkpoint(str(lab_home / "none" / "tiny"))
    pixels = fit_to_model(decode_image(examples()["ship"]).rgb)
    label, probability = classify(checkpoint, pixels[None])[0].top[0]
    assert f"## Tiny says {label} · {percent(probability)}" in said
    explainer, target = Explainer(checkpoint), shipped.image_data.classes.index(label)
    found = explainer.attribute(get_method("grad_cam"), pixels, target, baseline="mean")
    masks = np.stack([np.zeros(pixels.shape[:2], bool), most_important(found.magnitude, 0.1)])
    before, after = covered_probabilities(explainer, pixels, masks, baseline="mean")
    now = shipped.image_data.classes[int(after.argmax())]
    then = f"still {label}" if now == label else f"now {now}"
    change = f"{label} goes from {percent(float(before[target]))} to {percent(float(after[target]))}, {then}."
    assert f"**Cover the map's top 10%:** {change}" in said
    assert colour_words(label, get_method("grad_cam")) in said, "the map has a legend"
    writer = load_checkpoint(str(lab_home / "none" / "scribe"))
    config = SamplingConfig(length=90, temperature=0.6)
    line = "".join(item.character for item in write(writer, "ROMEO:\n", config)).strip().splitlines()[0]
    assert f"## “{' '.join(line.split())}”" in said
    assert "Scribe wrote this after" in said


def test_home_says_whether_the_answer_changes() -> None:
    why = Explanation(values=np.zeros((2, 2)), method=get_method("grad_cam"), before=0.987, after=0.3, now="bird")
    start = "**Cover the map's top 10%:** ship goes from 99% to 30%"
    assert covering_words("ship", why) == f"{start}, now bird."
    assert covering_words("ship", dataclasses.replace(why, now="ship")) == f"{start}, still ship."


def test_home_waits_for_pytorch_with_its_page_drawn(
    open_page: Open, scribe: Card, shipped: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Warmup, "start", lambda self, pause_s=0.0: None)
    monkeypatch.setenv("LAB_WARM", "1")
    at = open_page("home")
    assert [caption.value for caption in at.main.caption].count(":material/hourglass_top: Starting") == 2
    assert at.button(key="classify")
    assert "says" not in texts(at)
    warmup().error = "no libtorch"
    assert "The live example cannot start: no libtorch" in texts(open_page("home"))


def test_every_door_leads_to_a_view_with_what_it_names(open_page: Open, lab_home: Path, shipped: Card) -> None:
    links = [door for _, doors in DOORS.values() for door in doors]
    assert len(LEARN) == 5
    for _, page, query in links:
        assert page in pages()
        assert query.get("view", "Train") in pages()[page].views or "view" not in query
        assert query.get("example", "ship") in examples()
    named = {link.proto.label for link in open_page("home").get("page_link")}
    assert "Train on a text file" in named
    assert "An apple it never learned" not in named, "its checkpoint is not here"
    write_checkpoint(lab_home / "none" / "fast_resnet")
    (link,) = (
        link.proto for link in open_page("home").get("page_link") if link.proto.label == "An apple it never learned"
    )
    assert (link.page, link.query_string) == ("images", "checkpoint=fast_resnet&example=apple")


@pytest.mark.parametrize(
    ("kind", "page", "address"),
    [
        ("simple_cnn", "images", "view=Train&run="),
        ("char_gru", "text", "view=Train&run="),
        ("study", "regularization", "view=Studies&study="),
    ],
)
@pytest.mark.parametrize("where", ["home", "runs", "images", "regularization"])
def test_what_is_under_way_is_linked_to_its_own_page(
    open_page: Open, monkeypatch: pytest.MonkeyPatch, kind: str, page: str, address: str, where: str
) -> None:
    name = "A run with a rather long name"
    store = RunStore()
    run_id = (
        store.create(StudyConfig(), name, kind=STUDY.name)
        if kind == "study"
        else store.create(RECIPES[kind]["quick"], name)
    )
    run = dataclasses.replace(store.get(run_id), status="running", step=7500, total_steps=15_000, parts_done=7)
    monkeypatch.setattr(RunStore, "list", lambda self: [run])
    at = open_page(where, view="Studies") if where == "regularization" else open_page(where)
    links = [link.proto for link in at.get("page_link") if run_id in link.proto.query_string]
    assert {(link.page, link.query_string) for link in links} == {(page, f"{address}{run_id}")}
    assert "A run with a…r long name · 50%" in [link.label for link in links]
    if (where, kind) == ("home", "study"):
        assert at.get("progress")[0].proto.text == "50% · runs 7 of 15"


@pytest.mark.slow
def test_home_and_runs_need_no_torch() -> None:
    """In a process of its own: others have imported torch in this one."""
    import subprocess

    script = (
        "import os, sys, tempfile; os.environ['LAB_WARM'] = '0'; os.environ['LAB_HOME'] = tempfile.mkdtemp()\n"
        "from streamlit.testing.v1 import AppTest\n"
        "at = AppTest.from_file('pages/main.py', default_timeout=60).run()\n"
        "for page in ('runs/page.py', 'images/page.py', 'text/page.py', 'regularization/page.py',\n"
        "             'compression/page.py'):\n"
        "    at.switch_page(page).run()\n"
        "assert not at.exception\n"
        "print([name for name in ('torch', 'torchvision') if name in sys.modules])\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split("\n")[-2] == "[]"


def test_a_classifier_with_a_loss_on_its_card_is_not_called_a_language_model() -> None:
    from pages.home.page import measured

    assert measured({"test_accuracy": 0.74, "val_loss_nats": 1.03}) == "74.0%"
    assert measured({"val_loss_nats": 1.439}) == "2.08 bits/character"

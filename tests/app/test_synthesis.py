"""The Synthesis page: what it shows is what core computes, every choice is in the address, bad input is one sentence."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.checkpoints.store import Checkpoint, find_checkpoint, load_checkpoint, save_checkpoint
from core.common import locks
from core.common.errors import LabError
from core.common.pixels import enlarge, to_png
from core.data import DATASETS, list_generated
from core.data.generated import GeneratedCard, write_generated
from core.inference.generator import make_images
from core.jobs import RunStore
from core.jobs.store import WORKER_LOCK
from core.regularization.kind import STUDY
from core.synthesis.config import SynthesisConfig
from core.synthesis.cost import StepCosts, set_seconds
from core.synthesis.evidence import class_sheet
from core.synthesis.job import MADE
from core.synthesis.kind import SYNTHESIS
from core.synthesis.path import trace_path
from core.synthesis.removal import delete_set, set_bytes
from core.synthesis.results import SETS, Copies, CopyPair, ImageSet, Rate
from core.synthesis.worth import worth_study
from core.training.config import TrainConfig
from core.training.estimate import START_SECONDS, record_speed
from core.training.recipes import RECIPES
from core.training.session import TrainSession
from pages.shared import train_view
from pages.shared.resources import forget_runs
from pages.shared.text import duration, size
from pages.synthesis.path_view import FRAME_PX
from pages.synthesis.query import USUAL_STEPS
from tests.app.conftest import Open, click, link, read, table, texts, wait_for
from tests.unit.builders import synthetic

pytestmark = pytest.mark.usefixtures("warm")


@pytest.fixture
def generator(lab_home: Path, monkeypatch: pytest.MonkeyPatch) -> Checkpoint:
    """An untrained generator of three classes under the name that the room starts with; no set ships."""
    monkeypatch.setattr(SETS, "shipped", lab_home / "no-sets")
    data = synthetic(train=40, held_out=40, classes=3)
    card = dataclasses.replace(data.card, name="cifar10", classes=("ant", "bee", "cat"))
    data = dataclasses.replace(data, card=card)
    config = TrainConfig(model="flow_unet", model_config={"width": 16}, precision="float32")
    session = TrainSession.start(config, data)
    save_checkpoint(
        lab_home / "none" / "flow_unet", session.eval_model(), session.card("Small", {"velocity_error": 2.0})
    )
    return load_checkpoint(find_checkpoint("flow_unet"))


def pictures(at: AppTest) -> str:
    """The addresses of all images, which hold their bytes."""
    return "\n".join(image.url for item in at.get("image") for image in item.proto.imgs)


def strips(checkpoint: Checkpoint, *, seed: int, steps: int, guidance: float) -> list[str]:
    settings = {"seed": seed, "steps": steps, "guidance": guidance}
    card = checkpoint.card.pixel_data
    rows = [make_images(checkpoint.model, card, np.arange(3), first=3 * row, **settings) for row in range(5)]  # type: ignore[arg-type]
    made = np.stack(rows)
    return [base64.b64encode(enlarge(np.concatenate(list(made[:, place]), axis=1), 600)).decode() for place in range(3)]


def test_images_are_those_of_core_and_follow_the_address(open_page: Open, generator: Checkpoint) -> None:
    at = open_page("synthesis", guidance="1.5", steps="2", seed="3")
    wait_for(lambda: not at.run().get("progress"))
    shown = pictures(at)
    assert all(strip in shown for strip in strips(generator, seed=3, steps=2, guidance=1.5))
    assert [at.button(key=f"strip-{place}").label for place in range(3)] == ["ant", "bee", "cat"]
    asked = {"guidance": "1.5", "steps": "2", "seed": "3"}
    assert link(at).items() >= asked.items()
    click(at, "strip-1")
    assert link(at).items() >= (asked | {"view": "From noise", "class": "bee", "noise": "1"}).items()


def test_the_way_from_noise_is_that_of_core(open_page: Open, generator: Checkpoint) -> None:
    query = {"view": "From noise", "class": "bee", "noise": "4", "to": "7", "steps": "3", "guidance": "1"}
    at = open_page("synthesis", **query)
    wait_for(lambda: not at.run().get("progress"))
    path = trace_path(generator, 1, 4, 7, seed=0, steps=3, guidance=1.0)
    shown = pictures(at)
    for image in (*path.frames, *path.between):
        assert base64.b64encode(enlarge(image, 2 * FRAME_PX)).decode() in shown
    assert "Noise 4 becomes: bee" in texts(at)
    assert "t = 0.33" in texts(at)


@pytest.mark.parametrize("query", [{"guidance": "99"}, {"steps": "0"}, {"seed": "-1"}, {"class": "dragon"}])
def test_an_address_with_a_bad_value_says_so_and_shows_the_usual(
    open_page: Open, generator: Checkpoint, query: dict[str, str]
) -> None:
    at = open_page("synthesis", view="From noise", **query)
    assert len(at.warning) == 1
    assert not at.error


def test_another_checkpoint_is_refused_in_a_sentence(open_page: Open, generator: Checkpoint) -> None:
    at = open_page("synthesis", checkpoint="nothing-like-it")
    assert len(at.warning) + len(at.error) == 1


def test_a_set_is_queued_as_asked(
    open_page: Open, generator: Checkpoint, submitted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    costs = StepCosts(velocity_s=0.5, answer_s=0.01, pair_s=1e-6)
    monkeypatch.setattr("core.synthesis.cost.step_costs", lambda checkpoint: costs)
    at = open_page("synthesis", view="New set", images="40", steps="2", guidance="3")
    asked = SynthesisConfig(images=40, steps=2, guidance=3.0)
    making, comparing = map(duration, set_seconds(asked, costs))
    assert f"**About {making}** on this machine to make them, and up to {comparing} to compare them." in texts(at)
    click(at, "start-set")
    config = RunStore().config(submitted[0])
    assert isinstance(config, SynthesisConfig)
    assert (config.images, config.steps, config.guidance) == (40, 2, 3.0)
    assert config.fingerprint == generator.card.fingerprint


def image_set(generator: Checkpoint, *, copies: bool) -> ImageSet:
    images = synthetic(classes=3).test.images
    pair = CopyPair(
        number=0, label="ant", image=to_png(images[0]), nearest=to_png(images[1]), nearest_label="bee", ratio=0.1
    )
    found = Copies(
        generated=Rate(hits=90 if copies else 1, images=100),
        held_out=Rate(hits=1, images=100),
        limit=0.4,
        closest=(pair,),
    )
    return ImageSet(
        config=SynthesisConfig(images=100),
        title="Small",
        done=100,
        sheet=class_sheet(images, synthetic(classes=3).test.labels, 3),
        classes=("ant", "bee", "cat"),
        trained_on=40,
        distance=12.5,
        floor=0.5,
        compared=50,
        recognised=Rate(hits=40, images=100),
        recognised_by_class=(0.3, 0.4, 0.5),
        real_recognised=Rate(hits=90, images=100),
        copies={"pixels": found},
    )


@pytest.mark.parametrize(
    ("status", "parts", "words", "button"),
    [
        ("running", 1, "Then they are compared", "Stop"),
        ("stopped", 1, "It is stopped: Resume goes on from what is kept", "Resume"),
        ("stopped", 0, "It is stopped: Start again begins with nothing done", "Start again"),
        ("failed", 1, "It failed: Resume goes on", "Resume"),
    ],
)
def test_a_set_on_its_way_says_what_there_is_and_what_a_press_does(
    open_page: Open, generator: Checkpoint, status: str, parts: int, words: str, button: str
) -> None:
    store = RunStore()
    run_id = store.create(SynthesisConfig(images=600), kind=SYNTHESIS.name)
    folder = store.folder(run_id)
    (folder / MADE).mkdir()
    for part in range(parts):
        np.save(folder / MADE / f"{part:04d}.npy", np.zeros((1, 1), np.uint8))
    now = time.time()
    with locks.held(folder / WORKER_LOCK) if status == "running" else contextlib.nullcontext():
        store.write_status(run_id, status=status, started=now, heartbeat=now, parts_done=parts, total_steps=750)
        at = open_page("synthesis", set=run_id)
    said = at.info[0].value
    assert f"{200 * parts:,} of 600 images are made" in said
    assert words in said
    assert ("Then they are compared" in said) is (status == "running")
    assert button in [item.label for item in at.button]


def made_set(images: int = 40) -> str:
    """A set on disk, as a run and as a dataset."""
    store, split = RunStore(), synthetic(train=images, classes=3).train
    run_id = store.create(SynthesisConfig(images=images), "Mine", kind=SYNTHESIS.name)
    card = GeneratedCard(title="Mine", base="cifar10", checkpoint="flow_unet", trained_on=40, count=images)
    write_generated(run_id, split.images, split.labels, card)
    return run_id


@pytest.mark.parametrize("where", ["list", "set", "dataset"])
def test_a_set_is_deleted_where_it_is_listed(open_page: Open, generator: Checkpoint, where: str) -> None:
    run_id = made_set()
    if where == "dataset":
        data = synthetic(classes=3)
        with pytest.MonkeyPatch.context() as patch:
            source = dataclasses.replace(DATASETS["cifar10"], load=lambda _: data, is_ready=lambda: True)
            patch.setitem(DATASETS, "cifar10", source)
            at = open_page("datasets", open=f"generated:{run_id}")
            at = click(at, f"confirm-{run_id}")
    else:
        at = open_page("synthesis", **({"set": run_id} if where == "set" else {"view": "Sets"}))
        assert f"{size(set_bytes(RunStore(), run_id))} are freed" in at_markdown(at)
        at = click(at, f"confirm-{run_id}")
        assert at.segmented_control(key="view").value == "Sets"
    assert not RunStore().list()
    assert not list_generated()
    assert not at.error


def at_markdown(at: AppTest) -> str:
    return "\n".join(item.value for item in at.markdown)


def test_a_set_that_a_study_uses_is_not_deleted(open_page: Open, generator: Checkpoint) -> None:
    run_id, store = made_set(), RunStore()
    study = worth_study(f"generated:{run_id}", (10,), 5, seeds=1, steps=10, batch_size=5)
    user = store.create(study, "Its worth", kind=STUDY.name)
    store.write_status(user, status="queued")
    with locks.held(store.folder(user) / WORKER_LOCK):
        store.write_status(user, status="running", started=time.time(), heartbeat=time.time())
        at = open_page("synthesis", view="Sets")
        assert at.button(key=f"confirm-{run_id}").disabled
        assert "Its worth" in at.warning[0].value
        with pytest.raises(LabError, match="Its worth trains on these images"):
            delete_set(store, run_id)
    store.write_status(user, status="stopped")
    forget_runs()  # a listing is kept for a moment
    assert not open_page("synthesis", view="Sets").button(key=f"confirm-{run_id}").disabled


@pytest.mark.parametrize("copies", [True, False])
def test_a_measured_set_says_what_it_is(open_page: Open, generator: Checkpoint, copies: bool) -> None:
    store = RunStore()
    config = SynthesisConfig(images=100)
    run_id = store.create(config, kind=SYNTHESIS.name)
    SETS.write_part(store.folder(run_id), image_set(generator, copies=copies).to_dict())
    at = open_page("synthesis", set=run_id)
    assert "A classifier names the intended class of 40% of 100 such images, and of 90% of real ones" in texts(at)
    assert ("copies training images" in texts(at)) is copies
    assert ("No sign of copies" in texts(at)) is not copies
    rows = table(at)
    assert rows["Generated images"][0] == "12.50, 25 times the floor"
    assert rows["Real images"][0].startswith("0.50, the floor")
    assert "Real images are the control" in texts(at)


def test_a_generator_is_trained_from_its_view(
    open_page: Open, generator: Checkpoint, submitted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = synthetic()
    source = dataclasses.replace(DATASETS["cifar10"], load=lambda _: data, is_ready=lambda: True)
    monkeypatch.setitem(DATASETS, "cifar10", source)
    monkeypatch.setattr("core.training.trial.trial_speed", lambda config, card: 1000.0)
    monkeypatch.setattr(train_view, "likely_device", lambda wanted: "cpu")
    at = open_page("synthesis", view="Train")
    assert f"Flow U-Net on CIFAR-10: about {duration(START_SECONDS + 14 * 45_000 / 1000)} on this machine" in texts(at)
    click(at, "start")
    config = RunStore().config(submitted[0])
    assert config.model == "flow_unet"
    run = RunStore().get(submitted[0])
    assert run.task == "generation"
    assert run.job_kind.page(run) == ("synthesis", {"view": "Train", "run": run.id})
    assert USUAL_STEPS == 10
    assert not open_page("synthesis", view="Train", run=run.id).error
    RunStore().create(SynthesisConfig(), "A set", kind=SYNTHESIS.name)
    links = [item.proto.label for item in open_page("synthesis", view="Train").get("page_link")]
    assert run.name in map(read, links)
    assert "A set" not in links, "which trains nothing"
    record_speed(RECIPES["flow_unet"]["quick"], "cpu", 500.0)
    known = f"about {duration(START_SECONDS + 14 * 45_000 / 500)} on this machine"
    assert known in texts(open_page("synthesis", view="Train")), "a run here knows better than one step"

"""Starting from a checkpoint: what is taken over, what a head alone learns, and what is refused."""

from __future__ import annotations

import dataclasses
import itertools
import os
import time
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from core.checkpoints.store import Card, load_checkpoint, save_checkpoint
from core.data.dataset import UNKNOWN, ImageDataset, TextDataset
from core.data.text import extend_vocabulary
from core.models import build_model, head_name
from core.training import features
from core.training.batches import derive_seed, epoch_order
from core.training.config import TrainConfig
from core.training.estimate import estimate_seconds
from core.training.head_task import HeadTask
from core.training.optimizers import build_optimizers
from core.training.recipes import LONGER_RATE, RECIPES, base_recipe, fit_to_data, get_recipe, recipe_from
from core.training.session import TrainSession
from core.training.trainer import train
from tests.unit.builders import synthetic
from tests.unit.failures import refusal
from tests.unit.training import test_text_task as text
from tests.unit.training.test_trainer import weights

DATA = synthetic()
FRUITS = dataclasses.replace(DATA, card=dataclasses.replace(DATA.card, classes=("w", "x", "y", "z"), mean=(0.1,) * 3))
HEAD = TrainConfig(
    model="fast_resnet", train_layers="head", init_from="x", epochs=3, batch_size=50, lr=3e-3, weight_decay=0.1
)


def saved(folder: Path, config: TrainConfig, data: ImageDataset | TextDataset) -> str:
    """The name of a checkpoint that was trained a little: two steps."""
    session = TrainSession.start(config.replace(epochs=1), data, "cpu")
    list(itertools.islice(train(session), 2))
    save_checkpoint(folder, session.eval_model(), session.card("Parent"))
    return str(folder)


@pytest.fixture(scope="module")
def fast_resnet(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small Fast ResNet for four classes."""
    config = get_recipe("fast_resnet", "quick").replace(batch_size=80, model_config={"widths": [8, 16, 16]})
    return saved(tmp_path_factory.mktemp("parent"), config, DATA)


@pytest.fixture
def parent(lab_home: Path, fast_resnet: str) -> str:
    """Its name, in a LAB_HOME without features."""
    return fast_resnet


def start(config: TrainConfig, data: ImageDataset | TextDataset = FRUITS) -> TrainSession:
    return TrainSession.start(config, data, "cpu")


def head_of(session: TrainSession) -> torch.nn.Module:
    return session.model.get_submodule(head_name(session.model))


def test_a_head_learns_what_a_plain_loop_on_the_same_features_learns(parent: str) -> None:
    session = start(HEAD.replace(init_from=parent, schedule="constant"))
    task = session.task
    assert isinstance(task, HeadTask)
    vectors, labels = task.features[task.train_data], torch.from_numpy(FRUITS.train.labels)
    head = torch.nn.Linear(vectors.shape[1], 4, bias=False)
    head.load_state_dict(head_of(session).state_dict())
    optimizer = torch.optim.AdamW(head.parameters(), lr=3e-3, weight_decay=0.1)
    for epoch in range(3):
        order = epoch_order(len(labels), torch.Generator().manual_seed(derive_seed(0, epoch)))
        for chosen in order[:300].split(50):
            optimizer.zero_grad()
            F.cross_entropy(head(vectors[chosen]), labels[chosen]).backward()
            optimizer.step()
    list(train(session))
    assert torch.allclose(head_of(session).weight, head.weight, atol=1e-6)


def test_features_are_what_the_network_gives_its_head_and_the_body_stays_as_it_was(parent: str) -> None:
    before = load_checkpoint(parent).model.state_dict()
    session = start(HEAD.replace(init_from=parent, average="ema", probe_images=20))
    list(train(session))
    task, seen = session.task, []
    assert isinstance(task, HeadTask)
    head_of(session).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        session.model.eval()(task.train_data.normalise(task.train_data.images[:50]))
    assert torch.allclose(seen[0], task.features[task.train_data][:50], atol=1e-5)
    after = session.eval_model().state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"head.weight"}
    card = session.card("Child")
    assert (card.parent, card.image_data.mean) == (parent, DATA.card.mean)


def test_features_are_computed_once(parent: str, lab_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = HEAD.replace(init_from=parent)
    first = start(config).task
    kept = sorted((lab_home / "features").glob("*.npy"))
    assert len(kept) == 2  # training and validation
    with monkeypatch.context() as patch:
        patch.setattr(features, "_write", lambda *_: pytest.fail("computed again"))
        again = start(config.replace(seed=5)).task
    assert isinstance(first, HeadTask)
    assert isinstance(again, HeadTask)
    assert torch.equal(first.features[first.train_data], again.features[again.train_data])
    kept[0].write_bytes(kept[0].read_bytes()[:-8])  # a damaged file is made anew
    start(config)
    changed = dataclasses.replace(
        FRUITS, train=dataclasses.replace(FRUITS.train, images=FRUITS.train.images[::-1].copy())
    )
    start(config, changed)
    assert len(list((lab_home / "features").glob("*.npy"))) == 3


def test_features_of_other_settings_with_the_same_weights_are_others(parent: str) -> None:
    first, second = (
        start(HEAD.replace(init_from=parent, model_config={"activation": activation})).task
        for activation in ("relu", "gelu")
    )
    assert isinstance(first, HeadTask)
    assert isinstance(second, HeadTask)
    assert not torch.equal(first.features[first.train_data], second.features[second.train_data])


def test_old_features_and_what_a_killed_process_left_are_removed(
    parent: str, lab_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = lab_home / "features"
    folder.mkdir(parents=True)
    for number, name in enumerate(("older.npy", "old.npy", ".left-1", ".written-2")):
        (folder / name).write_bytes(b"")
        age = 0 if name == ".written-2" else features.LEFT_AFTER_S * (3 - number / 2)
        os.utime(folder / name, (time.time() - age,) * 2)
    (folder / "gone.npy").symlink_to("nothing")  # as if another process had just removed it
    monkeypatch.setattr(features, "KEPT_FILES", 3)
    start(HEAD.replace(init_from=parent))
    found = {item.name for item in folder.iterdir()} - {"gone.npy"}
    assert found >= {"old.npy", ".written-2"}
    assert not found & {"older.npy", ".left-1"}


def test_a_stop_while_features_are_computed_leaves_nothing(parent: str, lab_home: Path) -> None:
    def stop(share: float, words: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        TrainSession.start(HEAD.replace(init_from=parent), FRUITS, "cpu", on_progress=stop)
    assert list((lab_home / "features").iterdir()) == []


def test_a_resumed_head_is_the_same_head(parent: str, tmp_path: Path) -> None:
    config = HEAD.replace(init_from=parent)
    whole, half = start(config), start(config)
    expected = list(train(whole))
    for number, _ in enumerate(train(half)):
        if number == 7:
            break
    assert half.save_state(tmp_path / "state.pt")
    resumed = start(config)
    resumed.load_state(tmp_path / "state.pt")
    assert list(train(resumed)) == expected[8:]
    assert all(torch.equal(a, b) for a, b in zip(weights(resumed), weights(whole), strict=True))
    other = saved(tmp_path / "other", get_recipe("fast_resnet", "quick").replace(batch_size=80, seed=9), DATA)
    with refusal("The weights of its checkpoint have changed since this run"):
        start(HEAD.replace(init_from=other)).load_state(tmp_path / "state.pt")


@pytest.mark.parametrize(
    ("classes", "kept"), [(DATA.card.classes, True), (FRUITS.card.classes, False), (DATA.card.classes[::-1], False)]
)
def test_a_head_is_kept_for_the_same_classes_in_the_same_order(
    classes: tuple[str, ...], kept: bool, parent: str
) -> None:
    data = dataclasses.replace(DATA, card=dataclasses.replace(DATA.card, classes=classes))
    session = start(TrainConfig(model="fast_resnet", init_from=parent), data)
    before = load_checkpoint(parent).model.state_dict()
    same = {name for name, value in session.model.state_dict().items() if torch.equal(value, before[name])}
    assert same == set(before) - (set() if kept else {"head.weight"})


def test_the_body_learns_at_its_share_of_every_rate() -> None:
    model = build_model("fast_resnet", {"widths": [8, 16, 16]})
    for recipe in ("default", "quick"):
        config = get_recipe("fast_resnet", recipe)
        slow = build_optimizers(model, config.replace(init_from="x", body_lr_factor=0.25))
        usual = build_optimizers(model, config)
        names = {parameter: name for name, parameter in model.named_parameters()}
        rates, before = (
            {names[p]: group["lr"] for each in found for group in each.param_groups for p in group["params"]}
            for found in (slow, usual)
        )
        assert rates == {name: rate if name == "head.weight" else 0.25 * rate for name, rate in before.items()}


def test_a_larger_vocabulary_keeps_the_rows_of_known_characters(tmp_path: Path) -> None:
    name = saved(tmp_path / "lstm", text.SMALL, text.DATA)
    before = load_checkpoint(name)
    known = before.card.text_data.vocabulary
    data = text.dataset(text.DATA.text.replace("the", "thé"))
    session = start(text.SMALL.replace(init_from=name, epochs=1), data)
    vocabulary = session.card("Child").text_data.vocabulary
    assert vocabulary == known + "é"
    assert "'é'" in session.dataset_card.split
    assert torch.equal(session.model.state_dict()["embed.weight"][:-1], before.model.state_dict()["embed.weight"])
    assert torch.equal(session.model.state_dict()["head.bias"][:-1], before.model.state_dict()["head.bias"])
    inputs, _ = next(session.batches())
    read = "".join(vocabulary[token] for token in inputs[0].tolist())
    assert read in data.text
    list(train(session))


def test_a_text_is_read_in_the_tokens_of_a_vocabulary_that_holds_more() -> None:
    whole = extend_vocabulary(text.DATA, "☃" + text.DATA.card.vocabulary[::-1])
    assert whole.card.vocabulary == "☃" + text.DATA.card.vocabulary[::-1]
    assert "".join(whole.card.vocabulary[token] for token in whole.train) == text.DATA.train_text
    assert (whole.validation == UNKNOWN).sum() == (text.DATA.validation == UNKNOWN).sum()


def test_what_cannot_be_started_from_is_said(parent: str, tmp_path: Path) -> None:
    with refusal("train_layers='head' needs"):
        TrainConfig(train_layers="head")
    with refusal("flip='random' cannot be used"):
        HEAD.replace(flip="random")
    with refusal("is a Fast ResNet, not a Simple CNN: set model to fast_resnet"):
        start(HEAD.replace(init_from=parent, model="simple_cnn"))
    with refusal("do not fit these settings"):
        start(HEAD.replace(init_from=parent, model_config={"widths": [8, 16, 24]}))
    with refusal("There is no checkpoint named"):
        start(HEAD.replace(init_from="nothing"))
    name = saved(tmp_path / "lstm", text.SMALL, text.DATA)
    with refusal("cannot learn"):
        start(text.SMALL.replace(init_from=name), DATA)
    trained = get_recipe("fast_resnet", "quick").replace(
        batch_size=80, train_on="train+validation", dataset="cifar10", model_config={"widths": [8, 8, 8]}
    )
    named = dataclasses.replace(DATA, card=dataclasses.replace(DATA.card, name="cifar10"))
    seen = saved(tmp_path / "seen", trained, named)
    with refusal("trained on the validation images"):
        start(trained.replace(init_from=seen, train_on="train"), named)


def test_a_run_goes_on_as_its_checkpoint_was_trained() -> None:
    own = get_recipe("simple_cnn", "default").replace(dataset="folder:/pets", seed=7, cutout=5)
    card = Card(
        title="Pets",
        model="simple_cnn",
        model_config={},
        dataset=dataclasses.replace(DATA.card, name="folder:/pets"),
        recipe=own.to_dict(),
    )
    longer = recipe_from(card, "run-1", "longer")
    assert (longer.cutout, longer.seed, longer.init_from) == (5, 7, "run-1")
    assert longer.lr == own.lr * LONGER_RATE
    assert (longer.warmup, longer.body_lr_factor, longer.epochs) == (0.0, 1.0, own.epochs)
    other = recipe_from(card, "run-1", "fine-tuning")
    assert (other.cutout, other.lr) == (0, own.lr)
    assert other.body_lr_factor < 1
    head = recipe_from(card, "run-1", "head")
    assert (head.model, head.train_layers, head.model_settings) == ("simple_cnn", "head", {})
    with refusal("does not say how it was trained"):
        recipe_from(dataclasses.replace(card, recipe={}), "run-1", "longer")


@pytest.mark.parametrize("recipe", RECIPES["efficientnet_lite0"].values(), ids=RECIPES["efficientnet_lite0"])
def test_a_run_from_imagenet_weights_began_with_its_own_recipe(recipe: TrainConfig, lab_home: Path) -> None:
    assert base_recipe(recipe.replace(epochs=3, dataset="folder:/pets")) == recipe


def test_a_head_takes_as_many_epochs_for_any_dataset_and_is_estimated_as_one() -> None:
    recipe = RECIPES["efficientnet_lite0"]["default"]
    assert fit_to_data(recipe, 180) == recipe
    few, many = (estimate_seconds(recipe, "cpu", images) for images in (180, 45_000))
    whole = estimate_seconds(RECIPES["efficientnet_lite0"]["fine-tuning"], "cpu", 180)
    assert few is not None
    assert many is not None
    assert whole is not None
    assert few < whole < many

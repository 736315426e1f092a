"""`features unit`, `layer`, `surrogate`, `start` and `show`: the numbers of the page, for scripts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

from cyclopts import App, Parameter

from core.common.commands import CheckpointName, Detach, Json, RunId, RunName, Whole, between, read_items
from core.common.output import Bar, note, print_json, print_table
from core.common.progress import Progress
from core.common.settings import MAX_SEED
from core.data.cli import load_with_bar
from core.features.config import STEPS, GalleryConfig
from core.features.kind import GALLERY
from core.features.results import CHANGES, GALLERIES, Gallery, read_gallery
from core.features.source import source_of
from core.jobs import open_engine
from core.jobs.foreground import start_run

if TYPE_CHECKING:
    from core.checkpoints.store import Checkpoint
    from core.data.dataset import ImageDataset

features = App(name="features", help="What the units of an image network respond to, and how far to believe it.")
Layer = Annotated[str, Parameter(help="A layer, as `features layers` lists them; without it, the usual one.")]
Channel = Annotated[Whole, between(0, 99_999)]
Steps = Annotated[Whole, between(8, 1024)]
Seed = Annotated[Whole, between(0, MAX_SEED)]
Found = TypeVar("Found")


@features.command
def layers(*, checkpoint: CheckpointName = "simple_cnn", as_json: Json = False) -> None:
    """List the layers of a checkpoint whose channels can be looked at."""
    from core.checkpoints.store import load_checkpoint
    from core.features.units import layers_of

    _fetch_backbone(checkpoint)
    rows = [dataclasses.asdict(layer) for layer in layers_of(load_checkpoint(checkpoint))]
    if as_json:
        print_json(rows)
    else:
        print_table(rows, ["name", "kind", "channels", "places", "follows"])


@features.command
def unit(
    channel: Channel = 0,
    /,
    *,
    checkpoint: CheckpointName = "simple_cnn",
    layer: Layer = "",
    steps: Steps = STEPS,
    seed: Seed = 0,
    diverse: Annotated[bool, Parameter(negative=(), help="Also four images that are to differ.")] = False,
    ablate: Annotated[bool, Parameter(negative=(), help="Also the accuracy of each class without it.")] = False,
    as_json: Json = False,
) -> None:
    """Optimise an image for a unit, and measure how far to believe it.

    Args:
        channel: Of a layer; of the last layer, a class by its number.
        steps: Of gradient ascent.
        seed: Of the image's start and its movements.
    """
    made, data, layer = _open(checkpoint, layer)
    from core.features.classes import ablate as measure_ablation
    from core.features.unit import study_unit

    found = _with_bar(
        lambda report: study_unit(
            made, layer, channel, data.test, steps=steps, seed=seed, diverse=diverse, on_progress=report
        )
    )
    effects = (
        _with_bar(lambda report: measure_ablation(made, layer, channel, data.test, on_progress=report))
        if ablate
        else None
    )
    if as_json:
        print_json(found.to_dict() | ({"ablation": dataclasses.asdict(effects)} if effects else {}))
        return
    print(f"{found.answer}.")
    multiple = found.random.multiple
    words = "no number: a response is not above 0" if multiple is None else f"{multiple:.1f}× the strongest real one"
    print(f"The same in a network of random weights: {words}.")
    for sentence in found.changes:
        print(sentence)
    if effects:
        print(f"{effects.answer}.")
        rows = [
            {"class": item.label, "points": item.points, "contribution": item.contribution} for item in effects.classes
        ]
        print_table(rows, list(rows[0]))


@features.command
def layer(
    *,
    checkpoint: CheckpointName = "simple_cnn",
    layer: Layer = "",
    by: Annotated[str, Parameter(choices=("selectivity", "chroma", "frequency"))] = "selectivity",
    as_json: Json = False,
) -> None:
    """List the channels of a layer by what they respond to, with those that are dead or redundant.

    Args:
        by: What to sort by.
    """
    made, data, layer = _open(checkpoint, layer)
    from core.features.layer import study_layer

    found = _with_bar(lambda report: study_layer(made, layer, data.test, on_progress=report))
    if as_json:
        print_json(found.to_dict())
        return
    print(f"{found.answer}.")
    rows = [dataclasses.asdict(item) for item in sorted(found.channels, key=lambda item: -getattr(item, by))]
    print_table(rows, ["channel", "selectivity", "unit_class", "chroma", "hue", "frequency", "dead", "twin"])


@features.command
def surrogate(
    *,
    checkpoint: CheckpointName = "simple_cnn",
    kind: Annotated[Literal["tree", "linear"], Parameter(help="tree or linear.")] = "tree",
    depth: Annotated[Whole, between(1, 4)] = 3,
    layer: Annotated[str, Parameter(help="Whose most selective units the rules may use, too.")] = "",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Fit a few rules on named features that imitate the network, and measure how often they agree with it.

    Args:
        depth: Of the tree.
        seed: Of the training images and of the shuffled control.
    """
    made, data, _ = _open(checkpoint, layer)
    from core.features.surrogate import fit_surrogate

    found = _with_bar(
        lambda report: fit_surrogate(
            made, data.train, data.test, kind=kind, depth=depth, layer=layer, seed=seed, on_progress=report
        )
    )
    if as_json:
        print_json(dataclasses.asdict(found))
        return
    print(f"{found.answer}; on shuffled features, on {found.shuffled.rate:.0%}.")
    for line in found.rules():
        print(line)


@features.command
def start(
    *,
    checkpoint: CheckpointName = "simple_cnn",
    layer: Layer = "",
    channels: Annotated[
        tuple[int, ...], Parameter(converter=read_items, n_tokens=1, accepts_keys=False, metavar="A,B")
    ] = (),
    steps: Steps = STEPS,
    seed: Seed = 0,
    name: RunName = None,
    detach: Detach = False,
    as_json: Json = False,
) -> int:
    """Make a gallery: optimised images of several channels of a layer.

    Args:
        channels: Without them, the first 16.
        steps: Of gradient ascent.
        seed: Of the image's start and its movements.
    """
    from core.checkpoints.store import find_checkpoint, load_checkpoint
    from core.features.units import find_layer, layers_of, usual_layer

    _fetch_backbone(checkpoint)
    reference = find_checkpoint(checkpoint)
    made = load_checkpoint(reference)
    chosen = find_layer(made, layer, max(channels, default=0)) if layer else usual_layer(layers_of(made))
    wanted = channels or range(min(16, chosen.channels))
    config = GalleryConfig.of(reference, chosen.name, wanted, steps=steps, seed=seed)
    engine = open_engine()
    run_id = engine.store.create(config, name, kind=GALLERY.name)
    return start_run(engine, run_id, detach=detach, as_json=as_json)


@features.command
def show(gallery_id: RunId, /, *, as_json: Json = False) -> None:
    """Print what there is of a gallery, or of one that ships."""
    if gallery_id in GALLERIES.shipped_names():
        found: Gallery = GALLERIES.load_shipped(gallery_id)
    else:
        store = open_engine().store
        found = read_gallery(store.folder(gallery_id), store.config(gallery_id))
    if as_json:
        print_json(found.to_dict())
        return
    rows = [
        {"channel": item.channel, "multiple": item.multiple, "random": item.random.multiple}
        | (item.survival or dict.fromkeys(CHANGES))
        for item in found.units
    ]
    if rows:
        print_table(rows, list(rows[0]))
    else:
        note("No channel is done yet.")


def _open(name: str, layer: str) -> tuple[Checkpoint, ImageDataset, str]:
    """The checkpoint, its dataset, and the layer that is meant. Raises LabError."""
    from core.checkpoints.store import load_checkpoint
    from core.features.units import find_layer, layers_of, usual_layer

    _fetch_backbone(name)
    made = load_checkpoint(name)
    chosen = find_layer(made, layer) if layer else usual_layer(layers_of(made))
    source = source_of(made.card)
    if source.foreign:
        note(f"Images: {source.most:,} {source.title} test images, enlarged to {made.card.image_data.image_size} px.")
    return made, load_with_bar(source.dataset), chosen.name


def _fetch_backbone(name: str) -> None:
    """ImageNet's weights by their name, where they are not here yet."""
    from core.checkpoints.backbone import BACKBONES, fetch_backbone

    if name in BACKBONES:
        _with_bar(lambda report: fetch_backbone(name, report))


def _with_bar(work: Callable[[Progress], Found]) -> Found:
    with Bar() as bar:
        return work(bar.show)

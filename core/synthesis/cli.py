"""`synthesize images`, `start`, `show` and `delete`: what the page shows, for scripts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from core.common.commands import Detach, Json, RunId, RunName, Whole, between
from core.common.errors import LabError
from core.common.output import Bar, note, print_json
from core.common.settings import MAX_SEED
from core.data.generated import GENERATED_PREFIX, MAX_BYTES
from core.jobs import open_engine
from core.jobs.foreground import start_run
from core.synthesis.config import GUIDANCE, MOST_IMAGES, STEPS, SynthesisConfig
from core.synthesis.kind import SYNTHESIS
from core.synthesis.results import SETS, ImageSet

synthesize = App(name="synthesize", help="Images that a generator makes, and what they are worth.")
synthesize.command("core.synthesis.cli_worth:worth", name="worth", help="What its images are worth as training data.")
Generator = Annotated[str, Parameter(help="A generator, as `checkpoints` lists them.")]
Steps = Annotated[Whole, between(1, 100)]
Seed = Annotated[Whole, between(0, MAX_SEED)]


@synthesize.command
def images(
    label: Annotated[str, Parameter(help="A class by name; without it, all of them.")] = "",
    /,
    *,
    checkpoint: Generator = "flow_unet",
    count: Annotated[Whole, between(1, 1000)] = 10,
    guidance: Annotated[float, between(0, 10)] = GUIDANCE,
    steps: Steps = STEPS,
    seed: Seed = 0,
    out: Annotated[Path, Parameter(help="Folder for the PNG files.")] = Path("images"),
    as_json: Json = False,
) -> None:
    """Make images and write them as PNG files.

    Args:
        count: How many; without a class, the classes take turns.
        guidance: How strongly to follow the class; 1 is the plain flow.
        steps: From noise to image.
        seed: Of the noise.
    """
    import numpy as np
    from PIL import Image

    from core.checkpoints.store import load_checkpoint
    from core.common.paths import ensure_folder
    from core.inference.generator import make_images
    from core.synthesis.job import labels_of

    made = load_checkpoint(checkpoint)
    made.card.check_task("generation")
    card = made.card.pixel_data
    if label and label not in card.classes:
        raise LabError(f"There is no class {label[:60]!r}: choose one of {', '.join(card.classes)[:600]}.")
    labels = np.full(count, card.classes.index(label)) if label else labels_of(count, len(card.classes))
    with Bar() as bar:
        pixels = make_images(
            made.model,
            card,
            labels,
            seed=seed,
            steps=steps,
            guidance=guidance,
            on_images=lambda done: bar.show(done / count, "making images"),
        )
    ensure_folder(out)
    files = []
    for number, (image, place) in enumerate(zip(pixels, labels, strict=True)):
        path = out / f"{number:04d}-class{int(place)}.png"
        Image.fromarray(image).save(path)
        files.append({"file": str(path), "class": card.classes[int(place)]})
    if as_json:
        print_json({"checkpoint": checkpoint, "guidance": guidance, "steps": steps, "seed": seed, "images": files})
    else:
        note(f"{len(files)} images are in {out}.")


@synthesize.command
def start(
    *,
    checkpoint: Generator = "flow_unet",
    images: Annotated[Whole, between(20, MOST_IMAGES)] = 2000,
    guidance: Annotated[float, between(0, 10)] = GUIDANCE,
    steps: Steps = 10,
    seed: Seed = 0,
    name: RunName = None,
    detach: Detach = False,
    as_json: Json = False,
) -> int:
    """Make a set of images, measure it, and keep it as a dataset: generated:RUN.

    Args:
        images: How many.
        guidance: How strongly to follow the class; 1 is the plain flow.
        steps: From noise to image.
        seed: Of the noise.
    """
    engine = open_engine()
    config = config_for(checkpoint, images=images, guidance=guidance, steps=steps, seed=seed)
    run_id = engine.store.create(config, name, kind=SYNTHESIS.name)
    return start_run(engine, run_id, detach=detach, as_json=as_json)


def config_for(checkpoint: str, **settings: int | float) -> SynthesisConfig:
    """Of a job, with what is known of the generator. Raises LabError where it is none."""
    from core.checkpoints.store import find_checkpoint

    card = find_checkpoint(checkpoint).card
    card.check_task("generation")
    data = card.pixel_data
    if data.name.startswith(GENERATED_PREFIX):
        raise LabError("This generator learned from generated images: choose one that learned from real ones.")
    size = int(settings.get("images", 0)) * 3 * data.image_size**2
    if size > MAX_BYTES:
        raise LabError(
            f"So many images would take {size / 1e9:.1f} GB: make at most {MAX_BYTES // (3 * data.image_size**2):,}."
        )
    known = {"model": card.model, "dataset": card.pixel_data.name, "fingerprint": card.fingerprint}
    return SynthesisConfig(checkpoint=checkpoint, **settings, **known)  # type: ignore[arg-type]


@synthesize.command
def delete(run_id: RunId, /) -> None:
    """Delete a set of images, as a dataset and as a run."""
    from core.synthesis.removal import delete_set

    freed = delete_set(open_engine().store, run_id)
    print(f"{run_id} is deleted, {freed / 1e6:.1f} MB are freed.")


@synthesize.command
def show(run_id: RunId = "", /, *, as_json: Json = False) -> None:
    """Say what a set of images was measured to be; without a run, the one that ships."""
    if run_id:
        from core.jobs import RunStore
        from core.synthesis.job import read_set

        runs = RunStore()
        found: ImageSet = read_set(runs.folder(run_id), runs.config(run_id))
    else:
        found = SETS.load_shipped("example")
    if as_json:
        print_json(found.to_dict())
        return
    print(f"{found.headline}.")
    if found.floor and found.distance is not None:
        print(
            f"Distance to real images, by features of Fast ResNet: {found.distance:.2f}; between two halves of real images "
            f"{found.floor:.2f}."
        )
    for way, copies in found.copies.items():
        print(f"Called copies by {way}: {copies.generated.words}; of held-out real images {copies.held_out.words}.")
    if found.copy_sentence:
        print(f"{found.copy_sentence}.")

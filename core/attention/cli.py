"""`attention heads|worth|image|explanation|remove`: the numbers of the page, for scripts."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from core.attention.config import HeadsConfig, RemoveHeadsConfig
from core.attention.kind import HEADS
from core.attention.results import REPORTS, HeadReport, read_report
from core.common.commands import CheckpointName, Detach, Json, RunId, RunName, Whole, between, takes_settings
from core.common.output import Bar, harmless, note, print_json, print_table
from core.data.cli import load_with_bar
from core.jobs import open_engine
from core.jobs.foreground import start_run

if TYPE_CHECKING:
    from core.checkpoints.store import Checkpoint

attention = App(name="attention", help="What a Transformer attends to, and what is lost without a head.")
worth = App(name="worth", help="What each head of a language model does, and what it is worth.")
attention.command(worth)
Prompt = Annotated[str, Parameter(allow_leading_hyphen=True)]


@attention.command
def heads(prompt: Prompt, /, *, checkpoint: CheckpointName = "char_gpt", as_json: Json = False) -> None:
    """Print what each head looks at from the last character of a text; with --json, all weights."""
    from core.attention.text import text_heads

    found = text_heads(_load(checkpoint), prompt)
    if as_json:
        print_json(found.to_dict())
        return
    rows = []
    for name, row in zip(found.heads, (row for layer in found.weights for row in layer[:, -1]), strict=True):
        place = int(row.argmax())
        back = len(found.text) - 1 - place
        rows.append({"head": name, "looks at": repr(found.text[place]), "back": back, "share": float(row[place])})
    print_table(rows, list(rows[0]))


@attention.command
def explanation(
    prompt: Prompt,
    /,
    *,
    checkpoint: CheckpointName = "char_gpt",
    seed: Annotated[Whole, between(0, 2**32 - 1)] = 0,
    as_json: Json = False,
) -> None:
    """Test whether attention explains the next character: other attention, and Integrated Gradients."""
    from core.attention.explanation import explain_attention

    with Bar() as bar:
        found = explain_attention(_load(checkpoint), prompt, seed, bar.show)
    if as_json:
        print_json(dataclasses.asdict(found) | {"answer": found.answer})
        return
    print(found.answer)
    print(f"Next character {harmless(repr(found.target))}, probability {found.probability:.3f}.")
    print(f"Permuted attention leaves the answer the same in {found.permuted_same:.0%} of tries.")
    print(f"Other attention, {found.adversarial_jsd:.2f} bits away, moves it by {found.adversarial_tvd:.3f}.")
    print(
        f"Rank agreement with Integrated Gradients: {found.agreement:+.2f}; of how recent a character is: "
        f"{found.agreement_recent:+.2f}."
    )


@attention.command
def image(
    image: Path,
    /,
    *,
    checkpoint: CheckpointName = "compact_transformer",
    test_images: Annotated[Whole, between(0, 10_000)] = 0,
    as_json: Json = False,
) -> None:
    """Print how much of each part of an image reaches the answer of a vision Transformer.

    Args:
        image: PNG, JPEG, WebP, BMP or GIF.
        test_images: Also count on so many test images what the accuracy loses without each head.
    """
    from core.data.decode import MAX_BYTES, decode_image, model_input
    from core.images.cli import read

    loaded = _load(checkpoint)
    from core.attention.image import head_accuracies, image_heads, require_image_attention

    require_image_attention(loaded.card, loaded.model)
    data = loaded.card.image_data
    pixels = model_input(decode_image(read(image, MAX_BYTES, "image")).rgb, data.image_size, data.fit, None)
    found = image_heads(loaded, pixels)
    values: dict[str, Any] = {"side": found.side, "answer": found.answer.reshape(found.side, -1).round(6).tolist()}
    if as_json:
        values["pooling"] = found.pooling.round(6).tolist()
        values["weights"] = [layer.round(6).tolist() for layer in found.weights]
    if test_images:
        split = load_with_bar(data.name).test
        with Bar() as bar:
            values["heads"] = [
                dataclasses.asdict(each) for each in head_accuracies(loaded, split, test_images, bar.show)
            ]
    if as_json:
        print_json(values)
        return
    for row in values["answer"]:
        print(" ".join(f"{100 * value:4.1f}" for value in row))
    if test_images:
        print_table(values["heads"], ["name", "cost_points", "p_value"])


@attention.command
def remove(
    heads: str, /, *, checkpoint: CheckpointName = "char_gpt", name: RunName = None, as_json: Json = False
) -> None:
    """Take heads out of a network for good, and keep the smaller one as a checkpoint.

    Args:
        heads: As in 0.3,2.5: layer and number in the whole network, both from 0.
    """
    from core.attention.removal import find_without, save_without
    from core.checkpoints.store import find_checkpoint

    card = find_checkpoint(checkpoint).card
    names = tuple(part.strip() for part in heads.split(","))
    config = RemoveHeadsConfig(checkpoint=checkpoint, heads=names, model=card.model, dataset=card.dataset.name)
    there = find_without(config)
    if there:
        note(f"These heads were removed before: {there} is that checkpoint.")
    saved = there or save_without(config, name)
    print_json({"checkpoint": saved, "heads": list(names)}) if as_json else print(saved)


@worth.command
@takes_settings(HeadsConfig)
def start(
    *, name: RunName = None, detach: Detach = False, as_json: Json = False, settings: dict[str, Any] | None = None
) -> int:
    """Measure what each head does, and what is lost without it."""
    config = HeadsConfig(**dict(settings or {}))
    engine = open_engine()
    run_id = engine.store.create(config, name, kind=HEADS.name)
    return start_run(engine, run_id, detach=detach, as_json=as_json)


@worth.command
def show(report_id: RunId, /, *, as_json: Json = False) -> None:
    """Print what was measured; or what ships: char_gpt."""
    if report_id in REPORTS.shipped_names():
        found: HeadReport = REPORTS.load_shipped(report_id)
    else:
        store = open_engine().store
        found = read_report(store.folder(report_id), store.config(report_id))
    if as_json:
        print_json(found.to_dict())
        return
    print(found.answer)
    rows = [
        {"head": head.name, "bits": head.cost_bits, "±": head.half_width, "role": head.role or "mixed"}
        for head in sorted(found.heads, key=lambda head: -head.cost_bits)
    ]
    print_table(rows, list(rows[0]))


def _load(name: str) -> Checkpoint:
    from core.checkpoints.store import find_checkpoint, load_checkpoint

    return load_checkpoint(find_checkpoint(name))

"""`explain`: why a checkpoint says what it says of a picture, and how far each method deserves to be believed."""

from __future__ import annotations

import argparse
import dataclasses
import io
import math
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.attribution.baselines import BASELINES, DEFAULT_BASELINE, check_baseline
from core.attribution.cli_report import UNKNOWN, find_classifier, output_path, report, show
from core.attribution.evidence.controls import CONTROLS
from core.attribution.evidence.scores import MOST_SEED
from core.attribution.method import Method
from core.attribution.methods.registry import METHODS, get_method
from core.common.errors import LabError
from core.common.output import Bar, note, print_json, print_table
from core.common.paths import write_atomic
from core.images.cli import load, read

if TYPE_CHECKING:
    import numpy as np

    from core.attribution.explainer import Attribution, Explainer

EXAMPLE = "python -m core explain IMAGE --checkpoint fast_resnet"
METHOD = "integrated_gradients"
TAKES = {
    "": ("method", "target", "baseline", "set", "seed", "output", "array", "opacity", "percentile", "device"),
    "list": (),
    "report": ("images", "jobs", "work", "baseline", "seed", "output", "device"),
    "show": ("output",),
}
"""Flags of each use, beside --checkpoint and --json."""
TYPES = {"int": int, "float": float}


def add(subcommands: Any) -> None:
    parser = subcommands.add_parser(
        "explain",
        help="explain what a checkpoint says of a picture, and score the explanation",
        description="Attribution: which pixels speak for a class, by one method, and how far to believe it: insertion and "
        "deletion beside three maps that know nothing of the network, infidelity, completeness gap. What is explained is the "
        "answer to the picture as it is, without test-time augmentation.",
        epilog=f"Methods, with their settings: {EXAMPLE.replace('IMAGE', '--list')}",
    )
    parser.add_argument("image", metavar="IMAGE", nargs="?", help="a picture: PNG, JPEG, WebP, BMP or GIF")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="list the methods; with --checkpoint, also those it refuses")
    what.add_argument("--report", action="store_true", help="score all methods over many images of the test split")
    what.add_argument("--show", action="store_true", help="print the report that ships for a checkpoint")
    parser.add_argument("--checkpoint", metavar="NAME", help="as listed by: python -m core checkpoints")
    parser.add_argument(
        "--baseline", help=f"what methods compare with: {', '.join(BASELINES)} (default: {DEFAULT_BASELINE})"
    )
    parser.add_argument("--seed", type=int, metavar="INT", help="for all that is drawn by lot (default: 0)")
    parser.add_argument(
        "--output", metavar="FILE", help="write the map over the picture as .png; of a report, all its values as .json"
    )
    parser.add_argument("--device", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    parser.add_argument("--json", action="store_true", help="print as JSON")
    one = parser.add_argument_group("a picture")
    one.add_argument("--method", metavar="NAME", help=f"see --list (default: {METHOD})")
    one.add_argument("--set", action="append", metavar="NAME=VALUE", help="a setting of the method; may be repeated")
    one.add_argument("--target", metavar="CLASS", help="the class to explain (default: the one predicted)")
    one.add_argument("--array", metavar="FILE", help="write the raw map as .npy, (3, H, W) float32, and beside it the "
                     "picture as the network gets it, .input.npy")  # fmt: skip
    one.add_argument("--opacity", type=float, metavar="SHARE", help="of the map over the picture, 0 to 1")
    one.add_argument("--percentile", type=float, metavar="P", help="of |value| at which the colours end, 1 to 100")
    many = parser.add_argument_group("a report")
    many.add_argument("--images", type=int, metavar="INT", help="test images that are drawn (default: 200)")
    many.add_argument("--jobs", type=int, metavar="INT", help="processes, one thread each (default: 1)")
    many.add_argument("--work", metavar="FILE", help="keep what is done in this file, and go on from it next time")
    parser.set_defaults(command=explain)


def explain(options: argparse.Namespace) -> int:
    use = next((name for name in ("list", "report", "show") if getattr(options, name)), "")
    for name in sorted({flag for flags in TAKES.values() for flag in flags} - set(TAKES[use])):
        if getattr(options, name) is not None:
            raise LabError(f"--{name} does not go with {f'--{use}' if use else 'a picture'}: leave it out.")
    if use and options.image is not None:
        why = "draws its pictures from the test split" if use == "report" else "takes no picture"
        raise LabError(f"--{use} {why}: leave {options.image[:200]} out.")
    if not use and options.image is None:
        raise LabError(f"A picture is missing: {EXAMPLE}, or one of --list, --report and --show.")
    if options.checkpoint is None and use != "list":
        raise LabError(f"--checkpoint NAME is missing: {EXAMPLE.replace('IMAGE', options.image or f'--{use}')}")
    if not 0 <= (options.seed or 0) <= MOST_SEED:
        raise LabError(
            f"--seed {str(options.seed)[:60]} is not valid: it must be a whole number from 0 to {MOST_SEED:,}."
        )
    check_baseline(options.baseline or DEFAULT_BASELINE)
    return {"": _picture, "list": _list, "report": report, "show": show}[use](options)


def _picture(options: argparse.Namespace) -> int:
    from core.data.decode import MAX_BYTES, decode_image, fit_to_model

    reference = find_classifier(options.checkpoint)
    method = get_method(options.method or METHOD, _settings(options.method or METHOD, options.set or []))
    classes, side = reference.card.image_data.classes, reference.card.image_data.image_size
    if options.target is not None and options.target not in classes:
        raise LabError(f"There is no class {options.target[:100]!r}: choose one of {', '.join(classes)[:1000]}.")
    _check_display(options)
    output = output_path("--output", options.output, ".png", options.image)
    array = output_path("--array", options.array, ".npy", options.image)
    picture = decode_image(read(Path(options.image), MAX_BYTES, "picture"))
    pixels = fit_to_model(picture.rgb, side)
    options.device = options.device or "auto"
    checkpoint = load(reference, options)
    from core.attribution.explainer import Explainer

    explainer = Explainer(checkpoint)
    asked: dict[str, Any] = {"baseline": options.baseline or DEFAULT_BASELINE, "seed": options.seed or 0}
    if refusal := explainer.refusal(method):
        raise LabError(refusal)
    probabilities = explainer.probabilities(explainer.inputs(pixels))[0].tolist()
    predicted = probabilities.index(max(probabilities))
    target = predicted if options.target is None else classes.index(options.target)
    bar = Bar()
    try:
        # The first call imports and allocates, too: what is reported is what a warm network takes. The settings are the
        # usual ones, which may fit this picture less well than those that were asked for.
        with suppress(LabError):
            explainer.attribute(
                get_method(method.name), pixels, target, **asked, on_progress=lambda _: bar.show(None, "warming up")
            )
        found = explainer.attribute(
            method, pixels, target, **asked, on_progress=lambda share: bar.show(share, "explaining")
        )
    finally:
        bar.close()
    evidence, problem = _evidence(explainer, found, pixels)
    notes = [*picture.notes, *([problem] if problem else [])]
    row: dict[str, Any] = {
        "file": options.image,
        "checkpoint": reference.name,
        "method": method.name,
        "settings": method.settings(),
        "target": classes[target],
        "target_index": target,
        "predicted": classes[predicted],
        "probability": probabilities[target],
        **asked,
        **evidence,
        "milliseconds": round(found.milliseconds, 3),
        **_write(found, pixels, output, array, options),
        "notes": notes,
    }
    if options.json:
        print_json(row)
    else:
        _print_picture(row, method)
    return 0


def _evidence(explainer: Explainer, found: Attribution, pixels: np.ndarray) -> tuple[dict[str, Any], str]:
    """`scores`, `controls` and `verdict` of a map; and, where it cannot be scored, the sentence that says why."""
    from core.attribution.evidence.curves import control_curves, curves, verdict
    from core.attribution.evidence.stability import infidelity

    scores: dict[str, float | None] = dict.fromkeys(("insertion", "deletion", "score", "infidelity"))
    evidence: dict[str, Any] = {"scores": scores | {"completeness_gap": found.gap}, "controls": None, "verdict": None}
    if found.blank:  # it puts no pixel before another, so its scores would be drawn by lot
        return evidence, "The map is zero everywhere: the method found nothing to say."
    try:
        own = curves(explainer, pixels, found.target, {"map": found.pixels}, seed=found.seed)["map"]
        controls = control_curves(explainer, pixels, found.target, seed=found.seed)
        error = infidelity(explainer, found, pixels, seed=found.seed)
    except LabError as problem:
        return evidence, str(problem)
    areas = {
        name: {"insertion": item.insertion.area, "deletion": item.deletion.area, "score": item.score}
        for name, item in {"map": own, **controls}.items()
    }
    evidence["scores"] |= areas.pop("map") | {"infidelity": None if math.isnan(error) else error}
    return evidence | {"controls": areas, "verdict": verdict(own, controls).label}, ""


def _write(
    found: Attribution, pixels: np.ndarray, output: Path | None, array: Path | None, options: argparse.Namespace
) -> dict[str, str | None]:
    """The files that were asked for, and their paths for JSON."""
    import numpy as np

    from core.attribution.figures import OPACITY, OUTLIERS, overlay_png

    files: dict[str, tuple[Path, bytes]] = {}
    if output is not None:
        drawn = overlay_png(
            found.pixels,
            pixels,
            signed=found.method.signed,
            opacity=OPACITY if options.opacity is None else options.opacity,
            percentile=options.percentile or OUTLIERS,
        )
        files["output"] = output, drawn
    if array is not None:
        for name, path, values in (
            ("array", array, found.values),
            ("inputs", array.with_suffix(".input.npy"), found.inputs),
        ):
            buffer = io.BytesIO()
            np.save(buffer, np.ascontiguousarray(values, dtype=np.float32), allow_pickle=False)
            files[name] = path, buffer.getvalue()
    for path, data in files.values():
        write_atomic(path, data)
    return {name: str(files[name][0]) if name in files else None for name in ("output", "array", "inputs")}


def _print_picture(row: dict[str, Any], method: Method) -> None:
    given = ", ".join(f"{name}={value}" for name, value in row["settings"].items())
    other = "" if row["predicted"] == row["target"] else f"; it predicts {row['predicted']}"
    print(f"{row['file']}: {method.title}{f' ({given})' if given else ''} for {row['target']}")
    print(f"{row['checkpoint']} gives {row['target']} {row['probability']:.1%}{other}.")
    scores = row["scores"]
    if row["controls"]:
        lines = [
            {"map": method.title} | scores,
            *({"map": CONTROLS[name]} | item for name, item in row["controls"].items()),
        ]
        print_table(
            [line | {key: f"{line[key]:.3f}" for key in ("insertion", "deletion", "score")} for line in lines],
            ["map", "insertion", "deletion", "score"],
        )
        print(f"On this picture: {row['verdict']}.")
    said = [f"{row['milliseconds']:,.1f} ms"]
    if scores["infidelity"] is not None:
        said.append(f"infidelity {scores['infidelity']:.3f} (0: foretells what covering does, 1: no better than zeros)")
    if scores["completeness_gap"] is not None:
        said.append(f"completeness gap {scores['completeness_gap']:.1%}")
    print("; ".join(said))
    for name, what in (("output", "map"), ("array", "raw values"), ("inputs", "their input")):
        if row[name]:
            print(f"{what}: {row[name]}")
    for sentence in row["notes"]:
        note(sentence)


def _list(options: argparse.Namespace) -> int:
    reference = None if options.checkpoint is None else find_classifier(options.checkpoint)
    side = 32 if reference is None else reference.card.image_data.image_size
    options.device = "cpu"
    model = None if reference is None else load(reference, options).model
    rows = []
    for name in METHODS:
        method = get_method(name)
        forward, backward = method.passes(side)
        row: dict[str, Any] = {"method": name, "title": method.title, "forward": forward, "backward": backward}
        row["settings"] = method.settings()
        rows.append(row | ({"refusal": method.refusal(model)} if model is not None else {}))
    if options.json:
        print_json(rows)
        return 0
    for row in rows:
        row["settings"] = ", ".join(f"{name}={value}" for name, value in row["settings"].items()) or UNKNOWN
    print_table(rows, ["method", "title", "forward", "backward", "settings"])
    print(f"forward, backward: passes through the network for a picture of {side}x{side} pixels.")
    for row in rows:
        if row.get("refusal"):
            print(f"{row['method']} cannot explain {options.checkpoint}: {row['refusal']}")
    return 0


def _settings(method: str, given: list[str]) -> dict[str, Any]:
    """What --set says, as the types that the settings have; get_method checks names and values."""
    kinds = {item.name: str(item.type) for item in dataclasses.fields(METHODS[method])} if method in METHODS else {}
    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise LabError(f"--set {text[:100]} is not valid: write it as NAME=VALUE, as in --set steps=100.")
        try:
            found[name] = TYPES.get(kinds.get(name, ""), str)(value)
        except ValueError:
            found[name] = value
    return found


def _check_display(options: argparse.Namespace) -> None:
    for name, low, high in (("opacity", 0, 1), ("percentile", 1, 100)):
        value = getattr(options, name)
        if value is not None and options.output is None:
            raise LabError(f"--{name} is of the picture that --output writes: give --output FILE.png, or leave it out.")
        if value is not None and not low <= value <= high:
            raise LabError(f"--{name} {value:g} is not valid: it must be a number from {low} to {high}.")

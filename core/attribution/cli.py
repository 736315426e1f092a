"""`explain`: why a checkpoint says what it says of an image, and how far each method deserves to be believed."""

from __future__ import annotations

import dataclasses
import io
import json
import math
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from core.attribution.baselines import BASELINES, DEFAULT_BASELINE
from core.attribution.method import Method
from core.attribution.methods.registry import METHODS, get_method
from core.attribution.networks import float_twin_note
from core.common.commands import CheckpointName, Device, Json, Pairs, Whole, between
from core.common.errors import LabError
from core.common.output import Bar, check_output, note, print_json, print_table
from core.common.paths import write_atomic
from core.data.cli import how_to_get, load_with_bar
from core.images.cli import PhotoSquare, load, read

if TYPE_CHECKING:
    import numpy as np

    from core.attribution.evidence.scores import Interval, MethodScores, Report
    from core.attribution.explainer import Attribution, Explainer
    from core.checkpoints.store import CheckpointRef

UNKNOWN = "–"
MethodName = Annotated[str, Parameter(choices=tuple(METHODS))]
Baseline = Annotated[str, Parameter(choices=tuple(BASELINES), help="What methods compare the image with.")]
Seed = Annotated[Whole, between(0, 2**32 - 1), Parameter(help="For all that is random.")]

explain = App(
    name="explain",
    help="Explain what a checkpoint says of an image, and score the explanation.\n\nAttribution: which pixels speak for a class, "
    "by one method, and how far to believe it: insertion and deletion beside three maps that know nothing of the network, "
    "infidelity, completeness gap. What is explained is the answer to the image as it is, without test-time augmentation.",
)


@explain.command(name="image")
def explain_image(
    image: str,
    /,
    *,
    checkpoint: CheckpointName,
    method: MethodName = "integrated_gradients",
    options: Annotated[Pairs | None, Parameter(name="--set")] = None,
    target: str | None = None,
    square: PhotoSquare = None,
    baseline: Baseline = DEFAULT_BASELINE,
    seed: Seed = 0,
    output: str | None = None,
    array: str | None = None,
    opacity: Annotated[float | None, between(0, 1)] = None,
    percentile: Annotated[float | None, between(1, 100)] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Explain what a checkpoint says of one image, by one method.

    Args:
        image: PNG, JPEG, WebP, BMP or GIF.
        method: As listed by: python -m core explain methods.
        options: A setting of the method, NAME=VALUE; may be given several times.
        target: The class to explain; without it, the one predicted.
        output: Write the map over the image to this .png file.
        array: Write the raw map to this .npy file, (3, H, W) float32, and beside it the image as the network gets it,
            .input.npy.
        opacity: Of the map over the image, 0 to 1. Without it, 0.75.
        percentile: Of absolute values at which the colours end, 1 to 100. Without it, 99.
    """
    from core.data.decode import MAX_BYTES, decode_image, model_input

    reference = _find_classifier(checkpoint)
    kind = get_method(method, dict(options or ()))
    classes, side = reference.card.image_data.classes, reference.card.image_data.image_size
    if target is not None and target not in classes:
        raise LabError(f"There is no class {target[:100]!r}: choose one of {', '.join(classes)[:1000]}.")
    map_file = None if output is None else check_output("--output", output, (".png",), image)
    array_file = None if array is None else check_output("--array", array, (".npy",), image)
    photo = decode_image(read(Path(image), MAX_BYTES, "image"))
    pixels = model_input(photo.rgb, side, reference.card.image_data.fit, square)
    loaded = load(reference, device)
    from core.attribution.explainer import Explainer

    explainer = Explainer(loaded)
    asked: dict[str, Any] = {"baseline": baseline, "seed": seed}
    if refusal := explainer.refusal(kind):
        raise LabError(refusal)
    probabilities = explainer.probabilities(explainer.inputs(pixels))[0].tolist()
    predicted = probabilities.index(max(probabilities))
    index = predicted if target is None else classes.index(target)
    with Bar() as bar:
        # The first call imports and allocates, too: what is reported is what a warm network takes. The settings are the
        # usual ones, which may fit this image less well than those that were asked for.
        with suppress(LabError):
            explainer.attribute(
                get_method(method), pixels, index, **asked, on_progress=lambda _: bar.show(None, "warming up")
            )
        found = explainer.attribute(
            kind, pixels, index, **asked, on_progress=lambda share: bar.show(share, "explaining")
        )
    evidence, problem = _evidence(explainer, found, pixels)
    row: dict[str, Any] = {
        "file": image,
        "checkpoint": reference.name,
        "method": method,
        "settings": kind.settings(),
        "target": classes[index],
        "target_index": index,
        "predicted": classes[predicted],
        "probability": probabilities[index],
        **asked,
        **evidence,
        "milliseconds": round(found.milliseconds, 3),
        **_write(found, pixels, map_file, array_file, opacity, percentile),
        "notes": [*photo.notes, *filter(None, (problem, float_twin_note(reference.card)))],
    }
    if as_json:
        print_json(row)
    else:
        _print_image(row, kind)


@explain.command(name="methods")
def list_methods(*, checkpoint: CheckpointName | None = None, as_json: Json = False) -> None:
    """List the methods, with their settings and their cost.

    Args:
        checkpoint: Say of this one too which methods cannot explain it.
    """
    reference = None if checkpoint is None else _find_classifier(checkpoint)
    side = 32 if reference is None else reference.card.image_data.image_size
    model = None if reference is None else load(reference, "cpu").model
    rows = []
    for name in METHODS:
        method = get_method(name)
        forward, backward = method.passes(side)
        row: dict[str, Any] = {"method": name, "title": method.title, "forward": forward, "backward": backward}
        row["settings"] = method.settings()
        rows.append(row | ({"refusal": method.refusal(model)} if model is not None else {}))
    if as_json:
        print_json(rows)
        return
    for row in rows:
        row["settings"] = ", ".join(f"{name}={value}" for name, value in row["settings"].items()) or UNKNOWN
    print_table(rows, ["method", "title", "forward", "backward", "settings"])
    print(f"forward, backward: passes through the network for an image of {side}x{side} pixels.")
    for row in rows:
        if row.get("refusal"):
            print(f"{row['method']} cannot explain {checkpoint}: {row['refusal']}")


@explain.command(name="report")
def make_report(
    *,
    checkpoint: CheckpointName,
    images: Annotated[Whole, between(2, 100_000)] = 200,
    methods: str | None = None,
    sensitivity_images: Annotated[Whole, between(0, 100_000)] = 20,
    jobs: Whole = 1,
    work: str | None = None,
    baseline: Baseline = DEFAULT_BASELINE,
    seed: Seed = 0,
    output: str | None = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Score methods over many images of the test split.

    Args:
        images: Test images that are drawn.
        methods: Their names, with commas between them; without it, all.
        sensitivity_images: Of the first so many max-sensitivity is measured, too.
        jobs: Processes, one thread each.
        work: Keep what is done in this file, and go on from it next time.
        output: Write the report with all its values to this .json file.
    """
    from core.attribution.evidence.report import Report
    from core.attribution.evidence.report import make_report as make
    from core.common.devices import prepare_server
    from core.data import dataset_status, dataset_title

    reference = _find_classifier(checkpoint)
    name = reference.card.dataset.name
    output_file = None if output is None else check_output("--output", output, (".json",))
    work_file = None if work is None else check_output("--work", work, other=output)
    if not dataset_status(name).ready:
        raise LabError(
            f"{dataset_title(name)} is not on this machine, and a report draws its images from it: {how_to_get(name)}."
        )
    dataset = load_with_bar(name, "images")
    prepare_server(1)
    made = None
    try:
        with Bar() as bar:
            for item in make(
                reference,
                dataset,
                images=images,
                methods=None if methods is None else [get_method(name.strip()) for name in methods.split(",")],
                sensitivity_images=sensitivity_images,
                seed=seed,
                baseline=baseline,
                device=device,
                jobs=jobs,
                work=work_file,
                on_progress=lambda share: bar.show(share, f"{reference.name}: scoring {images:,} images"),
            ):
                made = item if isinstance(item, Report) else None
    except KeyboardInterrupt:
        note(
            f"Go on with the same command: {work} has what is done." if work else "Nothing is kept without --work FILE."
        )
        raise
    assert made is not None, "the last item is the report"
    _print_report(made, output_file, as_json)


@explain.command(name="show")
def show_report(checkpoint: CheckpointName, /, *, output: str | None = None, as_json: Json = False) -> None:
    """Print a report: the one that ships for a checkpoint, or that of a run.

    Args:
        checkpoint: Name of a checkpoint, or id of a run that scored methods.
        output: Write the report with all its values to this .json file.
    """
    from core.attribution.evidence.report import REPORTS

    output_file = None if output is None else check_output("--output", output, (".json",))
    names = REPORTS.shipped_names()
    if checkpoint not in names and _is_run(checkpoint):
        from core.attribution.store import read_report
        from core.jobs import RunStore

        found = read_report(RunStore(), checkpoint)
        if found is None:
            raise LabError(f"The run {checkpoint} has no report yet: see how far it is with python -m core runs.")
        _print_report(found, output_file, as_json)
        return
    if checkpoint not in names:
        there = f", but for {', '.join(names)}" if names else ""
        raise LabError(f"No report ships for {checkpoint[:100]}{there}: make one with python -m core explain report.")
    _print_report(REPORTS.load_shipped(checkpoint), output_file, as_json)


def _is_run(name: str) -> bool:
    """Whether there is a run of that id that scores methods."""
    from core.attribution.kind import SCORES
    from core.jobs import RunStore

    try:
        return RunStore().get(name).kind == SCORES.name
    except LabError:
        return False


def _find_classifier(name: str) -> CheckpointRef:
    """A classifier by its name. Raises LabError, also for a language model."""
    from core.checkpoints.store import find_checkpoint

    reference = find_checkpoint(name)
    reference.card.image_data  # noqa: B018
    return reference


def _evidence(explainer: Explainer, found: Attribution, pixels: np.ndarray) -> tuple[dict[str, Any], str]:
    """`scores`, `controls` and `verdict` of a map; and, where it cannot be scored, the sentence that says why."""
    from core.attribution.evidence.curves import control_curves, curves, verdict
    from core.attribution.evidence.road import road
    from core.attribution.evidence.stability import control_infidelity, cover_squares, infidelity

    names = ("insertion", "deletion", "score", "for_against", "road", "infidelity")
    scores: dict[str, float | None] = dict.fromkeys(names)
    evidence: dict[str, Any] = {"scores": scores | {"completeness_gap": found.gap}, "controls": None, "verdict": None}
    if found.blank:  # it puts no pixel before another, so its scores would be luck
        return evidence, "The map is zero everywhere: the method found nothing to say."
    try:
        maps = {"map": found.magnitude} | ({"for_against": found.pixels} if found.method.is_contribution else {})
        own = curves(explainer, pixels, found.target, maps, seed=found.seed)
        controls = control_curves(explainer, pixels, found.target, seed=found.seed)
        filled = road(explainer, pixels, found.target, {"map": found.magnitude}, found.seed)
        covered = cover_squares(explainer, pixels, found.target, baseline=found.baseline, seed=found.seed)
        error = infidelity(found, covered)
        errors = control_infidelity(pixels, covered, seed=found.seed)
    except LabError as problem:
        return evidence, str(problem)
    areas: dict[str, dict[str, float | None]] = {
        name: {"insertion": item.insertion.area, "deletion": item.deletion.area, "score": item.score}
        for name, item in {"map": own["map"], **controls}.items()
    }
    for name, value in {"map": error, **errors}.items():
        areas[name]["infidelity"] = None if math.isnan(value) else value
    evidence["scores"] |= areas.pop("map") | {"road": filled["map"]}
    if "for_against" in own:
        evidence["scores"]["for_against"] = own["for_against"].score
    return evidence | {"controls": areas, "verdict": verdict(own["map"], controls).label}, ""


def _write(
    found: Attribution,
    pixels: np.ndarray,
    output: Path | None,
    array: Path | None,
    opacity: float | None,
    percentile: float | None,
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
            opacity=OPACITY if opacity is None else opacity,
            percentile=percentile or OUTLIERS,
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
        write_atomic(path, data, mode=0o666)
    return {name: str(files[name][0]) if name in files else None for name in ("output", "array", "inputs")}


def _print_image(row: dict[str, Any], method: Method) -> None:
    from core.attribution.evidence.controls import CONTROLS

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
        columns = ["insertion", "deletion", "score", "infidelity"]
        print_table(
            [line | {key: UNKNOWN if line[key] is None else f"{line[key]:.3f}" for key in columns} for line in lines],
            ["map", *columns],
        )
        print(f"On this image: {row['verdict']}.")
        print(
            "score: insertion - deletion; a random order has 0. infidelity: 0 predicts what covering does, 1 does not."
        )
    facts = [f"{row['milliseconds']:,.1f} ms"]
    if scores["for_against"] is not None:
        facts.append(f"score of the signed order {scores['for_against']:+.3f}")
    if scores["road"] is not None:
        facts.append(f"ROAD {scores['road']:+.3f}")
    if scores["completeness_gap"] is not None:
        facts.append(f"completeness gap {scores['completeness_gap']:.1%}")
    print("; ".join(facts))
    for name, what in (("output", "map"), ("array", "raw values"), ("inputs", "their input")):
        if row[name]:
            print(f"{what}: {row[name]}")
    for sentence in row["notes"]:
        note(sentence)


def _print_report(report: Report, output: Path | None, as_json: bool) -> None:
    """A report on stdout, and as a file if that was asked for."""
    rows, config = report.rows(), report.config
    if output is not None:
        write_atomic(output, json.dumps(report.to_dict(), separators=(",", ":")) + "\n", mode=0o666)
    if as_json:
        about = dataclasses.asdict(config) | {"images": len(report.images), "left_out": len(report.left_out)}
        print_json(about | {"rows": [dataclasses.asdict(row) for row in rows]})
    else:
        print(
            f"{config.checkpoint}: {len(report.images):,} test images, seed {config.seed}, baseline {config.baseline}"
        )
        print_table([_cells(row) for row in rows], list(_cells(rows[0])))
        print("score: insertion - deletion, with its 95% interval over the images; a random order has 0.")
        print("other: the score of the method's map of another image. for/against: that of the signed order.")
        print(
            "beats all: share of the images on which the score is above those of all controls, the other image's too."
        )
        print("ms: median (5% to 95%), one image.")
        for name, sentence in config.refused.items():
            print(f"{name} cannot explain {config.checkpoint}: {sentence}")
        if report.left_out:
            first = next(iter(report.left_out.values()))
            print(f"Left out: {len(report.left_out):,} that could not be measured. {first}")
        print(", ".join(f"{name}: {words}" for name, words in config.made.items()))
    if output is not None:
        note(f"Written to {output}.")


def _cells(row: MethodScores) -> dict[str, str]:
    def mean(found: Interval | None) -> str:
        return UNKNOWN if found is None else f"{found.mean:.3f}"

    time, score = row.milliseconds, row.score
    return {
        "method": row.title,
        "score": UNKNOWN if score is None else f"{score.mean:+.3f} ({score.low:+.3f} to {score.high:+.3f})",
        "other": mean(row.other),
        "for/against": mean(row.for_against),
        "ROAD": mean(row.road),
        "insertion": mean(row.insertion),
        "deletion": mean(row.deletion),
        "infidelity": mean(row.infidelity),
        "gap": mean(row.gap),
        "max-sensitivity": mean(row.sensitivity),
        "ms": UNKNOWN if time is None else f"{time.median:,.1f} ({time.p5:,.1f} to {time.p95:,.1f})",
        "beats all": UNKNOWN if row.beats_all is None else f"{row.beats_all:.0%}",
        "verdict": row.label or "control",
    }

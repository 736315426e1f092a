"""`explain --report` and `--show`: all methods over many pictures, as a table and as a file."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

from core.attribution.baselines import DEFAULT_BASELINE
from core.attribution.evidence.report import Interval, MethodScores, Report, load_report, make_report, shipped_reports
from core.common.errors import LabError
from core.common.output import Bar, note, print_json, print_table
from core.common.paths import write_atomic
from core.data.cli import load_with_bar

if TYPE_CHECKING:
    from core.checkpoints.store import CheckpointRef

UNKNOWN = "–"


def report(options: argparse.Namespace) -> int:
    from core.common.devices import prepare_server
    from core.data import DATASETS, dataset_status, dataset_title

    reference = find_classifier(options.checkpoint)
    name, images = reference.card.dataset.name, 200 if options.images is None else options.images
    if images < 2:
        raise LabError(f"--images {images} is not valid: a report needs at least 2.")
    output = output_path("--output", options.output, ".json")
    work = output_path("--work", options.work, "", options.output, "report")
    if not dataset_status(name).ready:
        fetch = f"fetch it with python -m core data {name} --fetch" if name in DATASETS else "put it back where it was"
        raise LabError(
            f"{dataset_title(name)} is not on this machine, and a report draws its pictures from it: {fetch}."
        )
    dataset = load_with_bar(name, "images")
    prepare_server(1)
    bar, made = Bar(), None
    making = make_report(
        reference,
        dataset,
        images=images,
        seed=options.seed or 0,
        baseline=options.baseline or DEFAULT_BASELINE,
        device=options.device or "auto",
        jobs=1 if options.jobs is None else options.jobs,
        work=work,
        on_progress=lambda share: bar.show(share, f"{reference.name}: scoring {images:,} pictures"),
    )
    try:
        for item in making:
            made = item if isinstance(item, Report) else None
    except KeyboardInterrupt:
        bar.close()
        note(
            f"Go on with the same command: {work} has what is done." if work else "Nothing is kept without --work FILE."
        )
        raise
    finally:
        bar.close()
    assert made is not None, "the last item is the report"
    return _tell(made, output, options)


def show(options: argparse.Namespace) -> int:
    output = output_path("--output", options.output, ".json")
    found = load_report(options.checkpoint)
    if found is None:
        there = f", but for {', '.join(shipped_reports())}" if shipped_reports() else ""
        raise LabError(
            f"No report ships for {options.checkpoint[:100]}{there}: make one with --report --checkpoint NAME."
        )
    return _tell(found, output, options)


def _tell(report: Report, output: Path | None, options: argparse.Namespace) -> int:
    """A report on stdout, and as a file if that was asked for."""
    rows, config = report.rows(), report.config
    if output is not None:
        write_atomic(output, json.dumps(report.to_dict(), separators=(",", ":")) + "\n")
    if options.json:
        about = dataclasses.asdict(config) | {"images": len(report.images), "left_out": len(report.left_out)}
        print_json(about | {"rows": [dataclasses.asdict(row) for row in rows]})
    else:
        print(
            f"{config.checkpoint}: {len(report.images):,} test images, seed {config.seed}, baseline {config.baseline}"
        )
        print_table([_cells(row) for row in rows], list(_cells(rows[0])))
        print(
            "score: insertion - deletion, with its 95% interval over the pictures. ms: median (5% to 95%), one picture."
        )
        print("beats all: share of the pictures on which the score is above those of all three controls.")
        for name, sentence in config.refused.items():
            print(f"{name} cannot explain {config.checkpoint}: {sentence}")
        if report.left_out:
            first = next(iter(report.left_out.values()))
            print(f"Left out: {len(report.left_out):,} that could not be measured. {first}")
        print(", ".join(f"{name}: {words}" for name, words in config.made.items()))
    if output is not None:
        note(f"Written to {output}.")
    return 0


def _cells(row: MethodScores) -> dict[str, str]:
    def mean(found: Interval | None) -> str:
        return UNKNOWN if found is None else f"{found.mean:.3f}"

    time, score = row.milliseconds, row.score
    return {
        "method": row.title,
        "score": UNKNOWN if score is None else f"{score.mean:+.3f} ({score.low:+.3f} to {score.high:+.3f})",
        "insertion": mean(row.insertion),
        "deletion": mean(row.deletion),
        "infidelity": mean(row.infidelity),
        "gap": mean(row.gap),
        "max-sensitivity": mean(row.sensitivity),
        "ms": UNKNOWN if time is None else f"{time.median:,.1f} ({time.p5:,.1f} to {time.p95:,.1f})",
        "beats all": UNKNOWN if row.beats_all is None else f"{row.beats_all:.0%}",
        "verdict": row.label or "control",
    }


def find_classifier(name: str) -> CheckpointRef:
    """A classifier by its name. Raises LabError, also for a language model."""
    from core.checkpoints.store import find_checkpoint

    reference = find_checkpoint(name)
    reference.card.image_data  # noqa: B018
    return reference


def output_path(
    flag: str, name: str | None, ending: str, other: str | None = None, what: str = "picture"
) -> Path | None:
    """Where to write. Raises LabError for all that can be told before the work begins.

    ending: empty for any. other: the command's picture, or what else it is, which would be lost.
    """
    if name is None:
        return None
    path = Path(name).expanduser()
    if not path.name.lower().endswith(ending) or "\0" in name:
        raise LabError(f"{flag} {name[:200]!r} is not valid: the file's name must end in {ending or 'no NUL byte'}.")
    if path.is_dir() or not path.parent.is_dir():
        raise LabError(f"{flag} {name[:200]} is not a file that can be written: give one in a folder that is there.")
    if other is not None and _same(path, Path(other).expanduser()):
        raise LabError(f"{flag} {name[:200]} is the {what} itself, which would be lost: give another name.")
    return path


def _same(one: Path, other: Path) -> bool:
    """Whether two names lead to one file, by whatever way."""
    try:
        return one.samefile(other)
    except OSError:  # one of them is not there yet
        return one.resolve() == other.resolve()

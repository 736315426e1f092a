"""A study, whether it ships, runs or is over: the answer, the arms that matter most, and the evidence on demand."""

from __future__ import annotations

from functools import partial

import streamlit as st

from core.common.report import Report
from core.data import dataset_title
from core.jobs import Run
from core.models import MODELS
from core.regularization.analysis import ArmResult, answer, best_and_worst, counts, summary
from core.regularization.arms import BASELINE
from core.regularization.figures import effects
from core.regularization.results import StudyResult
from pages.regularization.add import add_seed, add_to_study
from pages.regularization.arms import ARM
from pages.regularization.curves import curves
from pages.regularization.evidence import checkpoints, classes, sizes, strength
from pages.regularization.files import files
from pages.regularization.report import study_report
from pages.shared.elements import folded, open_tab, show_figure, show_table
from pages.shared.resources import dark
from pages.shared.run_controls import note_nothing_yet
from pages.shared.text import UNBROKEN, escape_markdown
from pages.shared.url import linked
from pages.shared.url_values import one_of

COLOURS = {"helps": "green", "hurts": "red"}
NAMES = {
    "helps": "helps",
    "hurts": "hurts",
    "noise": "within seed noise",
    "baseline": "baseline",
    "none": "no verdict",
}
"""Kinds of a verdict, as the table says them; the numbers have a column of their own."""
NOISE = "Seed noise: another random seed alone may give such a difference. The 95% interval includes 0."


def study_view(result: StudyResult, key: str, run: Run | None) -> None:
    """A study, and the form that adds to one. key: of this study alone, for what the viewer chooses; run: None of an example."""
    idle = run if run is not None and not run.active else None
    if not any(item.curve.step or item.status != "waiting" for item in result.members):
        note_nothing_yet(
            run,
            "Nothing is measured yet.",
            "Curves appear with the first measurement of the first run; verdicts once arms have two seeds in common with no "
            "regularization.",
        )
        st.caption(f"{_what(result)} · {_how(result)}")
    else:
        _study(result, key, idle)
    if idle is not None:
        add_to_study(idle, result)


def _study(result: StudyResult, key: str, idle: Run | None) -> None:
    """All that a study says. idle: its run, where that can be given more to do."""
    rows = summary(result)
    said = st.container()
    size = _size(result, key)
    here = [row for row in rows if row.train_size == size]
    words = _answer(result, here)
    said.markdown(f"## {escape_markdown(words)}", help=NOISE if "seed noise" in words else None)
    if idle is not None:
        add_seed(idle, result.config)
    if here:
        _best(result, here, size, key)
        folded(
            "All arms",
            partial(_arms, result, here, size, key),
            key=f"arms-{key}",
            param="arms",
            icon=":material/table_rows:",
        )
    tabs = {
        "Curves": lambda: curves(result, here, size, key),
        "Training images": lambda: sizes(result, rows, size, key),
        "Strength": lambda: strength(result, size, key),
        "Classes": lambda: classes(result, here, size, key),
        "Checkpoints": lambda: checkpoints(result, here),
        "Files": lambda: files(result, rows, partial(_report, result, rows), key),
    }
    folded(
        "Curves, classes, files",
        lambda: open_tab(tabs, key=f"tabs-{key}"),
        key=f"more-{key}",
        param="more",
        icon=":material/query_stats:",
    )


def _report(result: StudyResult, rows: list[ArmResult]) -> Report:
    tables = {size: arms_table([row for row in rows if row.train_size == size]) for size in result.config.train_sizes}
    return study_report(result, rows, {size: table for size, table in tables.items() if table["Arm"]})


def _answer(result: StudyResult, rows: list[ArmResult]) -> str:
    said = answer(result, rows)
    return said if result.done == len(result.members) or said.startswith("No verdict") else f"So far: {said}"


def _best(result: StudyResult, rows: list[ArmResult], size: int, key: str) -> None:
    """The arms that matter most, in one figure."""
    shown = best_and_worst(rows)
    show_figure(
        effects(shown, size, dark=dark()),
        key=f"best-{key}",
        alt="Effect on accuracy with its 95% interval: "
        + "; ".join(f"{row.title} {row.verdict.words}" for row in shown if row.arm != BASELINE),
    )
    if said := counts(rows):
        st.markdown(said, help=ARM)
    st.caption(f"{_what(result)} · lines: 95% intervals")


def _what(result: StudyResult) -> str:
    """What was trained, in Markdown."""
    config = result.config
    seeds = f"{config.seeds} seeds" if config.seeds > 1 else "1 seed"
    return escape_markdown(f"{MODELS[config.model].title} on {dataset_title(config.dataset)} · {seeds}")


def _how(result: StudyResult) -> str:
    """How it was made, in a line of Markdown."""
    config, made = result.config, result.made
    parts = [result.name] if result.name else []
    parts += [f"{len(result.members)} runs of {config.steps:,} steps with {config.batch_size} images each"]
    parts += [f"{made['hours']} hours"] if made.get("hours") else []
    parts += [made[name] for name in ("hardware", "date", "note") if made.get(name)]
    return escape_markdown(" · ".join(parts))


def _size(result: StudyResult, key: str) -> int:
    options = list(result.config.train_sizes)
    if len(options) == 1:
        return options[0]
    linked("size", f"size-{key}", one_of(options, "number of training images"), options[0])
    chosen = st.segmented_control(
        "Training images",
        options,
        required=True,
        format_func=lambda size: f"{size:,}",
        key=f"size-{key}",
        persist_state="session",
    )
    return chosen if chosen in options else options[0]


def _arms(result: StudyResult, rows: list[ArmResult], size: int, key: str) -> None:
    st.caption(_how(result))
    show_figure(
        effects(rows, size, dark=dark()),
        key=f"effects-{key}",
        alt="Effect of each arm on accuracy with its 95% interval: "
        + "; ".join(f"{row.title} {row.verdict.words}" for row in rows if row.arm != BASELINE),
    )
    show_table(arms_table(rows), key=f"arms-{key}")
    if result.config.seeds == 1 or result.done == len(result.members):  # else the headline says what is missing
        for reason in dict.fromkeys(row.verdict.words for row in rows if row.verdict.kind == "none"):
            st.info(escape_markdown(reason[0].upper() + reason[1:] + "."))
    st.caption(_measured_on(result, size, rows[0].split))


def arms_table(rows: list[ArmResult]) -> dict[str, list[str]]:
    """Columns of the table, in Markdown, sorted as the rows are. Figures that belong together do not break."""
    columns: dict[str, list[str]] = {
        "Arm": [row.title for row in rows],
        "Verdict": [_verdict(row) for row in rows],
        "Effect (points)": [row.verdict.figures or "–" for row in rows],
        "Accuracy": [_accuracy(row) for row in rows],
        "Gap": ["–" if row.gap is None else f"{100 * row.gap:.1f}".replace("-", "−") for row in rows],
        "Seeds": [_seeds(row) for row in rows],
        "Strength": [row.strength or "–" for row in rows],
    }
    unbroken = ("Effect (points)", "Accuracy")
    return columns | {name: [cell.replace(" ", UNBROKEN) for cell in columns[name]] for name in unbroken}


def _verdict(row: ArmResult) -> str:
    name, colour = NAMES[row.verdict.kind], COLOURS.get(row.verdict.kind)
    name += " on two seeds" if row.verdict.seeds == 2 and colour else ""
    return f":{colour}[**{name}**]" if colour else name


def _seeds(row: ArmResult) -> str:
    return f"{row.seeds} ({row.failed} failed)" if row.failed else str(row.seeds)


def _accuracy(row: ArmResult) -> str:
    if row.mean is None:
        return "–"
    return f"{100 * row.mean:.1f}" + ("" if row.half_width is None else f" ± {100 * row.half_width:.1f}") + "%"


def _measured_on(result: StudyResult, size: int, split: str) -> str:
    if split == "test":
        count = result.sizes.get("test")
        where = f"on the {count:,} test images" if count else "on the test images"
        where += (
            ", which were looked at before runs were added, so the 95% no longer hold exactly"
            if result.made.get("note")
            else ", which were looked at once, when all runs were over"
        )
    elif result.sizes.get("test") == 0:
        where = "on validation, because this dataset has no test images; strengths were chosen on the same images"
    else:
        where = "on validation so far: the test images are looked at once, when all runs are over"
    return (
        f"{ARM} Effect: difference from no regularization, seed by seed, with "
        "95% simultaneous confidence intervals over seeds. {NOISE} Accuracy: mean and 95% interval of the arm by "
        "itself, with what a seed does to all arms alike, so overlapping ones may still differ for sure; with "
        f"{size:,} training images, {where}. Gap: training accuracy minus that, in points. Strength: of several, the best on "
        "validation; where it is the weakest or the strongest that was tried, another may be better still."
    )

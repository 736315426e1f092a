"""Attribution / Scores: all methods over many test images, beside maps that know nothing of the network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st

from core.attribution.baselines import DEFAULT_BASELINE
from core.attribution.evidence.report import Interval, MethodScores, Report
from core.attribution.evidence.scores import BOUNDED, FAILS, PASSES, UNCLEAR
from core.attribution.figures import CONTROL, KINDS, scores_figure
from core.attribution.kind import SCORES
from core.attribution.methods.registry import METHODS
from core.checkpoints.store import CheckpointRef
from core.common.commands import command_line
from core.common.errors import LabError
from core.common.values import plural
from core.data import dataset_title
from core.jobs import Run
from pages.attribution.help import scores_help
from pages.attribution.maps import signed_number
from pages.attribution.new_report import new_report_form
from pages.attribution.query import ask_checkpoint
from pages.attribution.reports import choices, load_report
from pages.attribution.slow import only
from pages.shared.elements import download, folded, show_figure, show_table
from pages.shared.resources import dark
from pages.shared.run_controls import live_job
from pages.shared.run_labels import STATUS
from pages.shared.tables import csv_bytes, json_bytes
from pages.shared.text import UNBROKEN, duration, escape_markdown, shorten, show_error
from pages.shared.url import linked
from pages.shared.url_values import one_of

PARAM, CHOICE = "report", "scores-report"
NAME_CHARACTERS = 24
SENSITIVITY_IMAGES = 20
"""Of the command."""
FEW_IMAGES = 100
"""Below this a page says how wide the intervals are."""


def scores_view() -> None:
    only(None)
    with st.container(width=360):
        reference = ask_checkpoint()
    if reference:
        try:
            _reports(reference)
        except LabError as error:
            show_error(error)
    scores_help()


TABLES = {
    "report": ("Method", "Verdict", "Score", "Another image's map", "For and against"),
    "report-more": ("Method", "ROAD", "Infidelity", "Sensitivity", "Gap", "Time"),
}
"""Two tables: one of all columns is cut."""


def _reports(reference: CheckpointRef) -> None:
    """The chosen report of a checkpoint, or the run that makes it, and a form for another. Raises LabError."""
    offered = choices(reference)
    if not offered:
        st.markdown("**The methods were not scored on this checkpoint yet.** Which of them can be believed?")
        new_report_form(reference)
        return
    linked(PARAM, CHOICE, one_of(offered, "report"), next(iter(offered)), of=reference.name, options=offered)
    if len(offered) > 1:
        st.selectbox("Report", list(offered), format_func=lambda name: _label(offered[name]), key=CHOICE, width=360)
    choice = st.session_state[CHOICE]
    run = offered[choice]
    if run and run.status != "finished":
        live_job(run)
    try:
        report = load_report(reference, choice)
    except LabError as error:
        show_error(error)
    else:
        if report:
            _show(reference, report)
        elif run and run.status == "finished":
            st.info("The report of this run is gone or damaged: score the methods again.")
    folded(
        "Score other methods or images",
        lambda: new_report_form(reference),
        key="new-report",
        param="new",
        icon=":material/add:",
    )


def _label(run: Run | None) -> str:
    if run is None:
        return "Ships with the lab"
    state = "" if run.status == "finished" else f" · {STATUS[run.status][0].lower()}"
    named = (
        shorten(run.name, NAME_CHARACTERS) if run.name != SCORES.title(run.config) else f"{run.created:%Y-%m-%d %H:%M}"
    )
    return f"{named} · {run.config.images} images · {plural(len(run.config.methods), 'method')}{state}"


def _show(reference: CheckpointRef, report: Report) -> None:
    rows = report.rows()
    st.markdown(f"### {escape_markdown(headline(report, rows))}")
    if report.config.fingerprint != reference.card.fingerprint:
        st.warning("The checkpoint has changed since this report was made: its figures are those of the older weights.")
    if words := width_words(report, rows):
        st.caption(words)
    shown = [row for row in rows if row.score]
    show_figure(
        scores_figure(
            [
                (row.title, row.score.mean, row.score.low, row.score.high, CONTROL if row.control else row.group)
                for row in shown
                if row.score
            ],
            dark=dark(),
        ),
        key="report-figure",
        alt="Score of each method and control, with its 95% interval. "
        + "; ".join(
            f"{KINDS[group][0]}: {', '.join(row.title for row in rows if row.group == group)}"
            for group in dict.fromkeys(row.group for row in rows if row.group in KINDS)
        ),
    )
    with st.expander("All figures", icon=":material/table:", key="report-table"):
        found = columns(rows)
        for key, names in TABLES.items():
            show_table({name: found[name] for name in names}, key=key)
        st.markdown(_how(report))
        for name, why in report.config.refused.items():
            st.markdown(f"Left out: **{METHODS[name].title}.** {escape_markdown(why)}")
        st.code(_command(report), language="bash")
        _files(report, rows)


def _command(report: Report) -> str:
    """What makes the report in a terminal."""
    config = report.config
    asked = (*config.methods, *config.refused)
    usual = min(config.sensitivity_images, config.requested) == min(SENSITIVITY_IMAGES, config.requested)
    return command_line(
        "explain",
        "report",
        images=config.requested,
        methods=None if set(asked) == set(METHODS) else asked,
        sensitivity_images=None if usual else config.sensitivity_images,
        baseline=None if config.baseline == DEFAULT_BASELINE else config.baseline,
        seed=config.seed,
        checkpoint=config.checkpoint,
    )


def width_words(report: Report, rows: Sequence[MethodScores]) -> str:
    """How wide the intervals are, where the images are few; else empty."""
    widths = [(row.score.high - row.score.low) / 2 for row in rows if row.score and not row.control]
    if len(report.images) >= FEW_IMAGES or not widths:
        return ""
    return (
        f"{len(report.images)} images are few: a score is known to ±{float(np.median(widths)):.2f} (95% interval), so only "
        "clear differences show. More test images narrow it."
    )


def headline(report: Report, rows: Sequence[MethodScores]) -> str:
    """How many methods deserve belief, and which most."""
    methods = [row for row in rows if not row.control]
    better = [row for row in methods if row.group == PASSES]
    start = f"On {len(report.images):,} test images, "
    if not better:
        return f"{start}none of {len(methods)} methods beats every control."
    best = better[0]
    score = f" ({signed_number(best.score.mean)})" if best.score else ""
    verb = "beats" if len(better) == 1 else "beat"
    # Means within the interval of the highest are no ranking.
    alike = [row.title for row in better[1:] if row.score and best.score and row.score.mean >= best.score.low]
    tie = f", {' and '.join(alike)} within its interval" if alike else ""
    return (
        f"{start}{len(better)} of {len(methods)} methods {verb} every control; {best.title} scores highest{score}{tie}."
    )


def columns(rows: Sequence[MethodScores]) -> dict[str, list[str]]:
    """Of the table, in Markdown; controls in italics, after the methods."""
    found: dict[str, list[str]] = {}
    for row in rows:
        cells = {
            "Method": f"*{_unbroken(row.title)}*" if row.control else f"**{_unbroken(row.title)}**",
            "Verdict": _verdict(row),
            "Score": _interval(row.score),
            "Another image's map": _mean(row.other),
            "For and against": _mean(row.for_against),
            "ROAD": _mean(row.road),
            "Infidelity": _mean(row.infidelity),
            "Sensitivity": _mean(row.sensitivity),
            "Gap": f"{100 * row.gap.mean:.0f}%" if row.gap else "–",
            "Time": _milliseconds(row),
        }
        for name, cell in cells.items():
            found.setdefault(name, []).append(cell)
    return found


def _verdict(row: MethodScores) -> str:
    if row.control:
        return "*control*"
    sign = {PASSES: "✓", UNCLEAR: "–", FAILS: "✗"}[row.group]
    return _unbroken(f"{sign} {row.label}")


def _unbroken(text: str) -> str:
    return escape_markdown(text).replace(" ", UNBROKEN).replace("\\-", "\N{NON-BREAKING HYPHEN}")


def _interval(found: Interval | None) -> str:
    if found is None:
        return "–"
    return f"{signed_number(found.mean)} ({signed_number(found.low)} to {signed_number(found.high)})".replace(
        " ", UNBROKEN
    )


def _mean(found: Interval | None) -> str:
    return f"{found.mean:.2f}" if found else "–"


def _milliseconds(row: MethodScores) -> str:
    if row.milliseconds is None:
        return "–"
    return f"{row.milliseconds.median:,.0f}{UNBROKEN}ms"


def _how(report: Report) -> str:
    """How it was made, in Markdown."""
    config, made = report.config, report.config.made
    said = [
        f"{escape_markdown(config.title)} on {len(report.images):,} test images of "
        f"{escape_markdown(dataset_title(config.dataset))}, drawn with seed {config.seed}; the class "
        "explained is the one it predicts, right or wrong. Score: insertion less deletion, with its 95% interval; a random "
        "order has 0. A method passes where its score is above each control's on the same images, with the whole interval of "
        "the difference, all differences at once (Bonferroni); the bars above are each score's own. Another image's map: its "
        "score on this image, one of the controls. For and against: the score of the signed order. ROAD: pixels filled in from "
        "their neighbours ([Rong et al. 2022](https://arxiv.org/abs/2202.00449)).",
        f"Baseline of methods that compare: {escape_markdown(config.baseline)}. Gap: of completeness. Sensitivity: the "
        f"largest, on the first {config.sensitivity_images:,} images. Time: median for one image, the network warm.",
    ]
    if report.left_out:
        said.append(
            f"{len(report.left_out):,} more could not be measured: {escape_markdown(next(iter(report.left_out.values())))}"
        )
    facts = [made[name] for name in ("hardware", "date") if made.get(name)]
    if made.get("seconds", "").isdecimal():
        facts.append(duration(float(made["seconds"])))
    if facts:
        said.append(f"Made by this code on {escape_markdown(', '.join(facts))}:")
    return " ".join(said)


def _files(report: Report, rows: Sequence[MethodScores]) -> None:
    name = report.config.checkpoint.replace("/", "-")
    with st.container(horizontal=True, gap="small"):
        download("Table (CSV)", lambda: csv_bytes(map(csv_row, rows)), f"{name}-attribution.csv", key="report-csv")
        download(
            "Every value (JSON)", lambda: json_bytes(report.to_dict()), f"{name}-attribution.json", key="report-json"
        )


def csv_row(row: MethodScores) -> dict[str, object]:
    """One line of the file: means with their intervals, times in ms."""
    found: dict[str, object] = {
        "method": row.name,
        "control": row.control,
        "verdict": row.label,
        "group": row.group,
    }
    for name in ("score", *BOUNDED, "infidelity", "sensitivity", "gap"):
        value: Interval | None = getattr(row, name)
        if value:
            found |= {name: value.mean, f"{name}_low": value.low, f"{name}_high": value.high, f"{name}_n": value.n}
    if row.milliseconds:
        found |= {"milliseconds_median": row.milliseconds.median, "milliseconds_p95": row.milliseconds.p95}
    if row.beats_all is not None:
        found["beats_all_share"] = row.beats_all
    return found

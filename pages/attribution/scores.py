"""Attribution / Scores: all methods over many test images, beside maps that know nothing of the network."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import streamlit as st

from core.attribution.evidence.report import REPORTS, Interval, MethodScores, Report
from core.attribution.evidence.scores import BOUNDED, FAILS, PASSES, UNCLEAR
from core.attribution.figures import CONTROL, KINDS, scores_figure
from core.attribution.methods.registry import METHODS
from core.checkpoints.store import CheckpointRef
from core.common.errors import LabError
from core.data import dataset_title
from pages.attribution.help import scores_help
from pages.attribution.maps import signed_number
from pages.attribution.query import ask_checkpoint
from pages.attribution.slow import only
from pages.shared.elements import download, show_figure, show_table
from pages.shared.registry import page_link
from pages.shared.resources import dark
from pages.shared.tables import csv_bytes, json_bytes
from pages.shared.text import UNBROKEN, duration, escape_markdown, show_error

COMMAND = "python -m core explain report --images {images} --seed {seed} --checkpoint {name}"


def scores_view() -> None:
    only(None)
    with st.container(width=360):
        reference = ask_checkpoint()
    if reference:
        report_table(reference)
    scores_help()


TABLES = {
    "report": ("Method", "Verdict", "Score", "Another image's map", "For and against"),
    "report-more": ("Method", "ROAD", "Infidelity", "Sensitivity", "Gap", "Time"),
}
"""Two tables: one of all columns is cut."""


@st.cache_data(show_spinner=False)
def over_many_images(checkpoint: str, fingerprint: str, method: str) -> str:
    """What the report that ships says of a method, in a sentence; empty where there is none of these weights."""
    if checkpoint not in REPORTS.shipped_names():
        return ""
    report = REPORTS.load_shipped(checkpoint)
    row = next((row for row in report.rows() if row.name == method), None)
    if row is None or report.config.fingerprint != fingerprint:
        return ""
    verdict = "beats every control" if row.group == PASSES else f"is {row.label}"
    return f"Over {len(report.images):,} test images it {verdict}."


def report_table(reference: CheckpointRef) -> None:
    """The report that ships for a checkpoint, or how to make one."""
    names = REPORTS.shipped_names()
    if reference.name not in names:
        st.markdown("**This checkpoint has no report** of all methods over many images. These have one:")
        for name in names:
            with suppress(LabError):  # its own page says what is wrong with it
                title = escape_markdown(REPORTS.load_shipped(name).config.title)
                page_link("attribution", title, view="Scores", checkpoint=name)
        st.markdown("A terminal makes one, in about an hour on two cores:")
        st.code(COMMAND.format(images=200, seed=0, name=reference.name), language="bash")
        return
    try:
        report = REPORTS.load_shipped(reference.name)
    except LabError as error:
        show_error(error)
        return
    rows = report.rows()
    st.markdown(f"### {escape_markdown(headline(report, rows))}")
    if report.config.fingerprint != reference.card.fingerprint:
        st.warning("The checkpoint has changed since this report was made: its figures are those of the older weights.")
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
        st.code(
            COMMAND.format(images=report.config.requested, seed=report.config.seed, name=report.config.checkpoint),
            language="bash",
        )
        _files(report, rows)


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

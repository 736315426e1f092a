"""A measurement, whether it ships, runs or is over: the fall in a sentence, corruption by corruption, and what else it says."""

from __future__ import annotations

import streamlit as st

from core.jobs import Run, RunStore
from core.shift.catalogue import CORRUPTIONS, RECOMPUTED
from core.shift.figures import REFERENCES, falls, heat_map, warnings_figure
from core.shift.results import ShiftResult, read_measurement
from pages.shared.elements import download, folded, show_figure, show_table
from pages.shared.resources import dark
from pages.shared.run_controls import note_nothing_yet
from pages.shared.tables import csv_bytes, file_stem, json_bytes
from pages.shared.text import escape_markdown
from pages.shared.url import linked
from pages.shared.url_values import one_of

EXAMPLES = {"checkpoints": "Networks", "arms": "Techniques"}
"""What ships -> what its switch says."""


def read(runs: RunStore, run_id: str) -> ShiftResult:
    """What there is of a measurement. Raises LabError."""
    return read_measurement(runs.folder(run_id), runs.config(run_id))


def source_words(found: ShiftResult) -> str:
    """Which images these are, in a line of Markdown."""
    words = RECOMPUTED if found.config.files == "recomputed" else "The official files of CIFAR-10-C"
    parts = [words, f"{found.images:,} test images", "one view each"]
    parts += [escape_markdown(found.made[name]) for name in ("hardware", "date") if found.made.get(name)]
    return " · ".join(parts)


def order_of(found: ShiftResult) -> list[int]:
    """The checkpoints, the most robust first."""
    return sorted(range(len(found.titles)), key=lambda place: -found.mean(place).mean)


def result_view(found: ShiftResult, key: str, run: Run | None) -> None:
    if not found.clean:
        note_nothing_yet(
            run, "Nothing is measured yet.", "Clean images come first, then one corruption after the other."
        )
        return
    place = _choose(found, key)
    st.markdown(f"## {escape_markdown(found.answer(place))}")
    if not found.done:
        return
    mean = found.mean(place)
    st.caption(
        f"Mean {mean.percent} over {len(found.common)} corruptions at severities 1 (weak) to 5 (strong), 95% interval over "
        f"images. {source_words(found)}"
    )
    if len(found.titles) > 1:
        show_figure(
            falls(found, order_of(found), dark=dark()),
            key=f"falls-{key}",
            alt="Clean and corrupted accuracy: "
            + "; ".join(
                f"{found.titles[at]} {100 * found.accuracy(at):.1f}% to {found.mean(at).percent}"
                for at in order_of(found)
            ),
        )
        st.caption(_references())
    st.markdown(f"**Accuracy of {escape_markdown(found.titles[place])}**, % by corruption and severity")
    show_figure(
        heat_map(found, place, dark=dark()),
        key=f"heat-{key}-{place}",
        alt="Mean accuracy over severities: "
        + "; ".join(f"{CORRUPTIONS[name].title} {100 * row.mean():.0f}%" for name, row in _rows(found, place)),
    )
    folded("Warning and calibration", lambda: _warning(found, place, key), key=f"warning-{key}", param="warning")
    folded("Files", lambda: _files(found, key), key=f"files-{key}", param="files", icon=":material/download:")


def _choose(found: ShiftResult, key: str) -> int:
    """Which checkpoint the sentence and the heat map are about; by default the one with the best accuracy on clean images."""
    if len(found.titles) == 1:
        return 0
    names = list(found.config.checkpoints)
    best = max(range(len(names)), key=found.accuracy)
    widget = f"shift-of-{key}"
    linked("network", widget, one_of(names, "checkpoint"), names[best], options=names)
    name = st.selectbox(
        "Checkpoint",
        names,
        format_func=lambda name: found.titles[names.index(name)],
        key=widget,
        persist_state="session",
    )
    return names.index(name)


def _references() -> str:
    known = ", ".join(f"{value:.1f}% ({name})" for name, value in REFERENCES)
    return f"For scale, on the official CIFAR-10-C, RobustBench lists {known}; clean 94.8% and 95.1%."


def _rows(found: ShiftResult, place: int) -> list[tuple[str, object]]:
    return list(zip(found.done, found.accuracies(place), strict=True))


def _warning(found: ShiftResult, place: int, key: str) -> None:
    warning = found.warning(place)
    clean, corrupted = found.calibration_error(place)
    verdict = "It does not help."
    if warning.wrong > warning.right:
        verdict = "It helps, and misses most errors." if warning.wrong < 0.5 else "It helps."
    st.markdown(
        f"**The warning flags {100 * warning.wrong:.0f}% of wrong answers and {100 * warning.right:.0f}% of right ones on "
        f"corrupted images**, {100 * warning.clean:.0f}% of clean images. {verdict}"
    )
    show_figure(
        warnings_figure(found, place, dark=dark()),
        key=f"warnings-{key}-{place}",
        alt=f"Share flagged against share wrong, a point for each corruption and severity: rank correlation "
        f"{_number(warning.correlation)}",
    )
    st.markdown(
        f"Rank correlation of the share flagged with the share wrong: **{_number(warning.correlation)}**. Calibration error: "
        f"{100 * clean:.1f}% on clean images, {100 * corrupted:.1f}% on corrupted ones."
    )
    if len(found.titles) > 1:
        rows = [(title, found.warning(at), found.calibration_error(at)) for at, title in enumerate(found.titles)]
        show_table(
            {
                "Checkpoint": [escape_markdown(title) for title, _, _ in rows],
                "Wrong, flagged": [f"{100 * each.wrong:.0f}%" for _, each, _ in rows],
                "Right, flagged": [f"{100 * each.right:.0f}%" for _, each, _ in rows],
                "Rank correlation": [_number(each.correlation) for _, each, _ in rows],
                "Calibration error": [f"{100 * ece[0]:.1f}% → {100 * ece[1]:.1f}%" for _, _, ece in rows],
            },
            key=f"warning-table-{key}",
        )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}".replace("-", "−")


def _files(found: ShiftResult, key: str) -> None:
    name = file_stem(f"shift {found.titles[0]}", "shift")
    rows = [
        {"checkpoint": title, "corruption": corruption, "severity": severity + 1, "accuracy": float(accuracy)}
        for place, title in enumerate(found.titles)
        for corruption, line in zip(found.done, found.accuracies(place), strict=True)
        for severity, accuracy in enumerate(line)
    ]
    with st.container(horizontal=True, gap="small"):
        download("Accuracies (CSV)", csv_bytes(rows), f"{name}.csv", key=f"csv-{key}")
        download("All figures (JSON)", json_bytes(found.summary()), f"{name}.json", key=f"json-{key}")

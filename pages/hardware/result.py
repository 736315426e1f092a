"""A grid, whether it ships, runs or is over: what helps in a sentence, the bars, and which settings to take over."""

from __future__ import annotations

import streamlit as st

from core.compression.analysis import byte_words
from core.hardware.expect import times
from core.hardware.figures import AXES, best_rows, scaling_figure, scaling_lines, speed_alt, speed_bars
from core.hardware.recommend import BUSY, answer, passed_over, recommend, slowdowns, unrest
from core.hardware.results import HardwareResult, Row
from core.jobs import Run
from pages.hardware.sources import choose_group, reasons
from pages.hardware.take_over import take_over
from pages.shared.elements import download, folded, show_figure, show_table
from pages.shared.resources import dark
from pages.shared.tables import csv_bytes, file_stem, json_bytes
from pages.shared.text import escape_markdown


def result_view(found: HardwareResult, key: str, run: Run | None) -> None:
    if not found.rows:
        st.info("Nothing is measured yet. The first results take a minute or two.")
        return
    work, batch = choose_group(found.groups, key)
    rows = found.group(work, batch)
    reference = found.config.reference(rows[0].setup)
    st.markdown(f"## {escape_markdown(answer(found, work, batch))}")
    st.caption(escape_markdown(_about(found, work, batch)))
    best = best_rows(rows, reference)
    show_figure(
        speed_bars(best, reference, dark=dark()),
        key=f"speeds-{key}-{work}-{batch}",
        alt=f"Times as fast as the default: {speed_alt(best)}",
    )
    if len(best) < len(rows):
        st.caption(f"The fastest of each runtime and precision, out of {len(rows)} cells.")
    if why := passed_over(found, work, batch):
        st.caption(escape_markdown(why))
    advice = recommend(found, work, batch)
    if advice is not None:
        take_over(found, advice, key)
    folded("All cells", lambda: _cells(found, rows, key), key=f"cells-{key}", param="cells")
    folded("Expected and measured", lambda: _expected(found, rows, key), key=f"expected-{key}", param="expected")
    folded("Scaling", lambda: _scaling(found, work, key), key=f"scaling-{key}", param="scaling")
    folded("Files", lambda: _files(found, key), key=f"files-{key}", param="files", icon=":material/download:")


def _about(found: HardwareResult, work: str, batch: int) -> str:
    """Where and how it was measured, and what hurts."""
    parts = [f"{found.title}, batches of {batch}", found.machine.title if found.machine else ""]
    parts += [f"median and range of {found.config.rounds} rounds", found.made.get("date", "")]
    varied = unrest(found, work, batch)
    busy = f" The machine was busy: the default's own speed varied {times(varied)} times." if varied > BUSY else ""
    slow = slowdowns(found, work, batch)
    hurts = ""
    if slow and slow[0].speedup:
        hurts = f" Slowest: {slow[0].setup.words}, {slow[0].speedup.words} times."
    return f"{' · '.join(filter(None, parts))}.{hurts}{busy}"


def _cells(found: HardwareResult, rows: tuple[Row, ...], key: str) -> None:
    reference = found.config.reference(rows[0].setup)
    ordered = sorted(rows, key=lambda row: -row.images_per_s.middle if row.measured else 1)
    columns: dict[str, list[str]] = {
        "Setting": [row.setup.words for row in ordered],
        "Images/s": [_speed(row) for row in ordered],
        "p50": [_ms(row.p50_ms) for row in ordered],
        "p95": [_ms(row.p95_ms) for row in ordered],
        "Memory": [byte_words(row.memory_bytes) for row in ordered],
        "Accuracy": [row.accuracy_words for row in ordered],
        "Change": [_change(row) for row in ordered],
        "Logits": ["–" if row.logit_difference is None else f"{row.logit_difference:.2g}" for row in ordered],
        "Start": ["–" if row.start_s is None else f"{row.start_s:.1f} s" for row in ordered],
        "Pays back after": [_pays(found, row) for row in ordered],
    }
    if any(row.image_joules for row in rows):
        columns["Energy"] = [f"{1000 * row.image_joules:.2g} mJ" if row.image_joules else "–" for row in ordered]
    if len(rows) > len(best_rows(rows, reference)):
        show_figure(
            speed_bars(rows, reference, dark=dark()),
            key=f"all-speeds-{key}-{reference.id}",
            alt=f"Times as fast as the default: {speed_alt(rows)}",
        )
    show_table(columns, key=f"cells-table-{key}")
    st.caption(
        "p50 and p95 are of one call. Memory is the peak of the process beyond its libraries. Change is in points against "
        "the default, with its 95% interval; Logits the largest difference to it. Start is from the loaded checkpoint to "
        "the first answer."
    )


def _speed(row: Row) -> str:
    if not row.measured:
        return escape_markdown(row.reason)
    speed = row.images_per_s
    return f"{speed.middle:,.0f} ({speed.low:,.0f} to {speed.high:,.0f})"


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g} ms"


def _change(row: Row) -> str:
    change = row.change
    if change is None:
        return "–"
    return f"{change.middle:+.1f} ({change.low:+.1f} to {change.high:+.1f})".replace("-", "−")


def _pays(found: HardwareResult, row: Row) -> str:
    after = None if found.is_reference(row) else row.break_even(found.reference(row))
    return "–" if after is None else f"{after:,} images" if after else "at once"


def _expected(found: HardwareResult, rows: tuple[Row, ...], key: str) -> None:
    others = [row for row in rows if not found.is_reference(row)]
    pairs = [(row, expected) for row in others if (expected := found.expectation(row))]
    if not pairs:
        st.caption("There is nothing to compare with the default.")
        return
    held, count = found.hits()
    st.markdown(f"**{held} of {count} measured cells of this grid are within what was expected.**")
    show_table(
        {
            "Setting": [row.setup.words for row, _ in pairs],
            "Expected": [expected.words for _, expected in pairs],
            "Measured": [row.speedup.words if row.speedup else escape_markdown(row.reason) for row, _ in pairs],
            "Held": [
                ("yes" if expected.holds(row.speedup.middle) else "no") if row.speedup else "–"
                for row, expected in pairs
            ],
        },
        key=f"expected-table-{key}",
    )
    if found.machine:
        st.caption(f"The processor has {escape_markdown(found.machine.feature_words)}. {reasons(pairs)}")


def _scaling(found: HardwareResult, work: str, key: str) -> None:
    drawn = [axis for axis in AXES if scaling_lines(found, work, axis)]
    if not drawn:
        st.caption(
            "This grid has one number of threads and one batch size: a new grid with several shows how speed grows."
        )
    for axis in drawn:
        show_figure(
            scaling_figure(found, work, axis, dark=dark()),
            key=f"scaling-{axis}-{key}-{work}",
            alt=f"Images per second over {AXES[axis]}: "
            + "; ".join(
                f"{name} " + ", ".join(f"{place}: {value:,.0f}" for place, value in points)
                for (_, _, name), points in scaling_lines(found, work, axis).items()
            ),
        )


def _files(found: HardwareResult, key: str) -> None:
    name = file_stem(f"hardware {found.title}", "hardware")
    with st.container(horizontal=True, gap="small"):
        download("Cells (CSV)", csv_bytes(found.table()), f"{name}.csv", key=f"csv-{key}")
        download("All figures (JSON)", json_bytes(found.to_dict()), f"{name}.json", key=f"json-{key}")
    st.caption("The JSON file carries the machine: Compare reads it on another one.")

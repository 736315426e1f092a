"""What a recipe bought, whether it ships, runs or is over: the answer, three cards, a figure, and the evidence on demand."""

from __future__ import annotations

import textwrap
from functools import partial

import streamlit as st

from core.checkpoints.store import find_checkpoint
from core.common.errors import LabError
from core.common.report import Report
from core.compression.analysis import answer, distils, headline, is_one_recipe, rows, short_name
from core.compression.figures import pareto, pareto_words
from core.compression.results import CompressionResult
from core.data import dataset_title
from pages.compression.cards import cards
from pages.compression.compare_image import same_image
from pages.compression.evidence import classes, layers, speed, students
from pages.compression.files import files
from pages.compression.report import compression_report
from pages.compression.result_files import ResultFiles
from pages.shared.elements import folded, open_tab, show_figure, show_table
from pages.shared.resources import dark
from pages.shared.text import UNBROKEN, escape_markdown
from pages.shared.url import linked
from pages.shared.url_values import one_of

COSTS = {
    "stored_bytes": "Stored",
    "size_bytes": "Running",
    "torch_b1": "PyTorch",
    "onnx_b1": "ONNX",
    "onnx_b64": "ONNX ×64",
}
"""Cost of the image -> what its switch says."""
COLUMNS = {
    "Main": ("Variant", "Stored", "Characters/s", "Faster", "Accuracy", "Loss (nats)", "Change"),
    "Size": ("Variant", "Stored", "File that runs", "Weights that run", "Parameters", "Multiply-adds"),
    "Speed": ("Variant", "PyTorch ×1 (ms)", "ONNX ×1 (ms)", "ONNX ×64 (ms)", "Memory"),
    "Quality": ("Variant", "First guess right", "Accuracy", "Loss (nats)", "Change", "p"),
    "Steps": ("Variant", "All that was done"),
}
"""Five columns at most at a time: wider tables are cut."""
NAME_CHARACTERS = 18
"""Of a line of a variant's name: a table as wide as this one would give each word a line of its own."""
IMAGES = (
    "PyTorch and ONNX: milliseconds for one image (×1) or 64, median and in brackets the 95th percentile, measured in turn "
    "with the original in the same minutes; Faster: times as fast as the original in ONNX Runtime at one image, in "
    "rounds that took both in turn, so not the quotient of two rows, which are of different minutes. Memory: what "
    "a fresh process needs to load the ONNX file and answer. Accuracy: one view of each test image, with its 95% interval. "
    "Change: against the original, with the 95% interval of paired answers; p: McNemar's exact test, how likely so uneven a "
    "split of the disagreements is by luck alone. Multiply-adds are those really executed for one image: zeros are "
    "multiplied too. One multiply-add is two floating-point operations. In the figure, what is far below the rest stands at the "
    "bottom, with its accuracy; the number of a variant is that of the step which makes it."
)
TEXT = (
    "Characters/s: written one by one on one thread, in turn with the original. Loss: nats a character on the validation "
    "part of the text, less is better; Change with its 95% interval. Multiply-adds are for one character."
)


def compress_view(made: ResultFiles, key: str) -> None:
    """All that a result says. key: of this result alone, for what the viewer chooses."""
    result = made.result
    if not result.measured:
        st.caption(_how(result))
        st.info(
            "Nothing is measured yet. The original comes first; each variant joins the table as soon as it is measured."
        )
        return
    st.markdown(f"## {escape_markdown(answer(result))}")
    st.caption(f"Original: {escape_markdown(_original(result))}.")
    cards(made, key)
    _image(result, key)
    folded(
        "All variants",
        partial(_table, result, key),
        key=f"variants-{key}",
        param="variants",
        icon=":material/table_rows:",
    )
    tabs = {
        "Layers": layers,
        "Classes": classes,
        "Speed": speed,
        "Students": students,
        "Same image": same_image,
        "Files": partial(files, build=partial(_report, result)),
    }
    absent = {"Classes", "Same image"} if result.task == "text" else set()
    absent |= set() if distils(result) else {"Students"}
    shown = {name: partial(draw, made, key) for name, draw in tabs.items() if name not in absent}
    folded(
        "Layers, speed, files" if result.task == "text" else "Layers, classes, same image, files",
        lambda: open_tab(shown, key=f"tabs-{key}"),
        key=f"more-{key}",
        param="more",
        icon=":material/query_stats:",
    )


def _report(result: CompressionResult) -> Report:
    return compression_report(result, list(_tables(result).values()), TEXT if result.task == "text" else IMAGES)


def _tables(result: CompressionResult) -> dict[str, dict[str, list[str]]]:
    """Groups of columns, of those that this kind of network has."""
    found = compress_table(result)
    groups = {group: {name: found[name] for name in names if name in found} for group, names in COLUMNS.items()}
    return {group: columns for group, columns in groups.items() if len(columns) > 1}


def _table(result: CompressionResult, key: str) -> None:
    """Every variant, some columns at a time."""
    st.markdown(escape_markdown(headline(result)))
    tables = _tables(result)
    linked("columns", f"columns-{key}", one_of(tables, "group of columns"), "Main")
    shown = st.segmented_control("Columns", list(tables), required=True, key=f"columns-{key}", persist_state="session")
    show_table(tables[shown], key=f"variants-{key}")
    st.caption(TEXT if result.task == "text" else IMAGES)
    st.caption(_how(result))


def compress_table(result: CompressionResult) -> dict[str, list[str]]:
    """Columns of the table, in Markdown. Figures that belong together do not break."""
    found = rows(result)
    columns = {name: [escape_markdown(row[name]).replace(" ", UNBROKEN) for row in found] for name in found[0]}
    columns["Variant"] = [_in_lines(short_name(result, item), NAME_CHARACTERS) for item in result.measured]
    columns["All that was done"] = [_in_lines(item.title, 2 * NAME_CHARACTERS) for item in result.measured]
    return columns


def _in_lines(text: str, characters: int) -> str:
    """Broken where a line is full, and nowhere else."""
    return " ".join(escape_markdown(line).replace(" ", UNBROKEN) for line in textwrap.wrap(text, characters))


def _how(result: CompressionResult) -> str:
    """What was compressed and how it was made, in a line of Markdown."""
    steps = ", ".join(step.words for step in result.config.parsed())
    recipe = steps if is_one_recipe(result) else "several recipes side by side"
    parts = [f"{_original(result)} on {dataset_title(result.config.dataset)}", recipe]
    parts += [result.made[name] for name in ("hardware", "date") if result.made.get(name)]
    return escape_markdown(" · ".join(parts))


def _original(result: CompressionResult) -> str:
    """Title of the original; a recipe that has not begun knows only the name of its checkpoint."""
    name = result.config.checkpoint
    try:
        return find_checkpoint(name).label if result.original == name else result.original
    except LabError:
        return name


def _image(result: CompressionResult, key: str) -> None:
    """Cost against accuracy, the cost as the viewer likes."""
    options = [cost for cost in COSTS if result.task != "text" or cost.endswith("bytes")]
    running = {item.size_bytes for item in (result.first, *result.variants) if item is not None and item.size_bytes}
    usual = "size_bytes" if len(running) > 1 else "stored_bytes"  # all as large: they differ on disk only
    linked("cost", f"cost-{key}", one_of(options, "cost"), usual, of=usual)
    cost = st.segmented_control(
        "Cost",
        options,
        required=True,
        format_func=COSTS.__getitem__,
        label_visibility="collapsed",
        key=f"cost-{key}",
        persist_state="session",
    )
    show_figure(pareto(result, cost, dark=dark()), key=f"pareto-{key}", alt=pareto_words(result, cost))
    words = "Left is cheaper, up is better. A number is a variant's; nothing beats those on the line in both."
    if result.task == "images":
        words += (
            " What is far below stands at the bottom, with its accuracy. Accuracy is of one view of each test image."
        )
    st.caption(words)

"""Home: what one can do here, in one screen, and one obvious first thing to do."""

import math
from typing import Any

import streamlit as st

from core.checkpoints.store import CheckpointRef, list_checkpoints
from pages.shared.registry import page_link, sections, switch_page
from pages.shared.run_controls import job_line, train_links
from pages.shared.sidebar import active_runs, device_line
from pages.shared.text import escape_markdown, size

BOTTLENECKS = {
    "Data": (
        ":material/database:",
        "Does it work on what it has not seen?",
        "Train on CIFAR-10, on Shakespeare, or on images and texts of yours, and watch the gap between training and "
        "validation; what a language model copied word for word is underlined. Compare regularization techniques over "
        "seeds: which of them help by more than luck?",
    ),
    "Trust": (
        ":material/visibility:",
        "Why did it say that, and how sure is it?",
        "Heatmaps of fourteen methods, each beside a measure of whether the network really used those pixels, and beside an "
        "edge detector. Calibrated probabilities, the most confident mistakes, the surprise of every written character.",
    ),
    "Compute": (
        ":material/speed:",
        "How small and how fast can it get?",
        "Prune, quantize, factorise or distill a checkpoint into one that is really smaller and faster, and read what it "
        "bought: bytes, milliseconds, accuracy, and every class's share of the loss.",
    ),
}
"""Section -> its icon, what it asks, and what can be done about it today; its pages are linked below."""


def measured(metrics: dict[str, Any]) -> str:
    """Test accuracy of the checkpoint and, where its recipe was run with several seeds, their mean and spread; of a language
    model its bits per character."""
    accuracy, mean, spread = (metrics.get(f"test_accuracy{end}") for end in ("", "_mean", "_sd"))
    if not isinstance(accuracy, int | float):  # a language model has none; a classifier may have a loss beside it
        loss = metrics.get("val_loss_nats")
        return f"{loss / math.log(2):.2f} bits/character" if isinstance(loss, int | float) else "not measured"
    if not isinstance(mean, int | float) or not isinstance(spread, int | float):
        return f"{100 * accuracy:.1f}%"
    seeds = metrics.get("seeds")
    over = f" over {len(seeds)} seeds" if isinstance(seeds, list) else ""
    return f"{100 * accuracy:.1f}% ({100 * mean:.1f} ± {100 * spread:.1f}{over})"


def shipped_table(references: list[CheckpointRef]) -> str:
    """Markdown; a table widget would load pandas before the first paint."""
    rows = ["| Ships with the lab | Measured | Parameters | Size |", "|---|---:|---:|---:|"]
    for reference in references:
        card = reference.card
        rows.append(
            f"| {escape_markdown(reference.label)} | {measured(card.metrics)} | {card.parameters:,} "
            f"| {size(card.size_bytes)} |"
        )
    return "\n".join(rows)


def under_way() -> None:
    """The device and what runs on it; refreshes itself while something does."""
    st.markdown(f":material/memory: {escape_markdown(device_line())}")
    runs = active_runs()
    for run in runs[:3]:
        job_line(run)
    if len(runs) > 3:
        st.caption(f"and {len(runs) - 3} more")
    if not runs:
        st.caption("Nothing is being trained.")
    train_links()


st.title("Bottleneck Lab")
text, action = st.columns([3, 1], vertical_alignment="center")
text.markdown(
    "One network, three questions. Train a checkpoint or take one that ships, and put that same checkpoint "
    "through each of them."
)
with action:
    if st.button("Classify an image", type="primary", icon=":material/image_search:", key="classify", width="stretch"):
        switch_page("images")
    if st.button("Write like Shakespeare", icon=":material/edit_note:", key="go-write", width="stretch"):
        switch_page("text")

for column, (name, (icon, question, today)) in zip(st.columns(3), BOTTLENECKS.items(), strict=True):
    with column.container(border=True, height="stretch"):
        st.markdown(f"#### {icon} {name}")
        st.markdown(f"**{question}**")
        st.markdown(today)
        for room in sections().get(name, []):
            page_link(room.name, room.question)

ships, machine = st.columns([3, 2], gap="large")
with ships:
    shipped = [reference for reference in list_checkpoints() if reference.origin == "shipped"]
    if shipped:
        st.markdown(shipped_table(shipped))
        st.caption(
            "Accuracy on the 10,000 CIFAR-10 test images with each recipe's own test-time augmentation; bits per character on "
            "the last tenth of Tiny Shakespeare, which training never saw: less is better."
        )
    else:
        st.markdown("**No checkpoint ships with this copy.** Train one under Images, and every page can use it.")
with machine:
    st.markdown("**This machine**")
    st.fragment(under_way, run_every=3.0 if active_runs() else None)()

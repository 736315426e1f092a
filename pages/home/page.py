"""Home: two live answers, three ways on, and what ships."""

import math
from typing import Any

import streamlit as st

from core.checkpoints.store import CheckpointRef, list_checkpoints
from pages.home.doors import doors
from pages.home.live import live
from pages.shared.copy_link import page_title
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


def shipped_list(references: list[CheckpointRef]) -> str:
    """Markdown: a line each, which a phone wraps; a table widget would load pandas before the first paint."""
    return "\n".join(
        f"- **{escape_markdown(reference.label)}**: {measured(reference.card.metrics)} · "
        f"{reference.card.parameters:,} parameters · {size(reference.card.size_bytes)}"
        for reference in references
    )


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


def rooms() -> None:
    """Every page by what it is about."""
    for column, (name, (icon, question, today)) in zip(st.columns(3), BOTTLENECKS.items(), strict=True):
        with column:
            st.markdown(f"#### {icon} {name}")
            st.markdown(f"**{question}**")
            st.markdown(today)
            for room in sections().get(name, []):
                page_link(room.name, room.question)
    st.markdown("#### :material/functions: Foundations")
    st.markdown("**How does a network learn?** Small enough to follow by eye, then on the same checkpoint.")
    with st.container(horizontal=True):
        for room in sections().get("Foundations", []):
            page_link(room.name, room.question)


page_title("Bottleneck Lab")
st.markdown("Train a network, then see why it answers, how well it generalizes, and how small it gets.")
shipped = [reference for reference in list_checkpoints() if reference.origin == "shipped"]
picture, line = st.columns([3, 2], gap="large")
for column, task, draw, key, label, icon in (
    (picture, "images", "picture", "classify", "Classify an image", ":material/image_search:"),
    (line, "text", "line", "go-write", "Write like Shakespeare", ":material/edit_note:"),
):
    with column:
        first = next((reference for reference in shipped if reference.card.task == task), None)
        if first:
            live(draw, first)
        if st.button(label, type="primary", icon=icon, key=key):
            switch_page(task)

doors({reference.name for reference in shipped})
with st.expander("All pages", icon=":material/apps:"):
    rooms()
with st.expander("Checkpoints and machine", icon=":material/inventory_2:"):
    if shipped:
        st.markdown(shipped_list(shipped))
        st.caption(
            "Accuracy on the 10,000 CIFAR-10 test images with each recipe's own test-time augmentation; bits per character on "
            "the last tenth of Tiny Shakespeare, which training never saw: less is better."
        )
    else:
        st.markdown("**No checkpoint ships with this copy.** Train one under Images, and every page can use it.")
    st.fragment(under_way, run_every=3.0 if active_runs() else None)()

"""Attention / What heads do: what a measurement found, removing heads, and the form of a new measurement."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core.attention.config import HeadsConfig, RemoveHeadsConfig
from core.attention.figures import DIGITS, joint_figure, worth_figure
from core.attention.kind import HEADS
from core.attention.results import CHEAP_BITS, MOST_REMOVED, REPORTS, HeadReport, HeadWorth, read_report
from core.attention.roles import ROLES
from core.attention.text import has_text_attention
from core.checkpoints.store import Checkpoint, CheckpointRef, find_checkpoint
from core.common.devices import cores
from core.common.errors import LabError
from core.common.values import plural, plus_minus
from core.jobs import Run, RunStore
from pages.shared.checkpoint_picker import checkpoint_picker
from pages.shared.elements import download, folded, show_figure, show_table
from pages.shared.registry import page_link
from pages.shared.resources import dark, forget_runs, loaded, may_store
from pages.shared.run_controls import note_nothing_yet, start_job_button
from pages.shared.settings_form import settings_form
from pages.shared.tables import csv_bytes, file_stem, json_bytes
from pages.shared.text import duration, escape_markdown, label_error, show_error
from pages.shared.url import linked
from pages.shared.url_values import number, several_of, write_several
from pages.shared.warmup import until_ready

STARTING_S = 10.0
REMOVED, SAVED = "heads-removed", "heads-saved"
LABELS = {"characters": "Characters"}
TITLES = {name: role.title for name, role in ROLES.items()}


def read(runs: RunStore, run_id: str) -> HeadReport | None:
    """What a run measured; None while that is not done. Raises LabError for a run of another kind."""
    config = runs.config(run_id)
    if isinstance(config, HeadsConfig) and REPORTS.read_part(runs.folder(run_id)) is None:
        return None
    return read_report(runs.folder(run_id), config)


def worth_view(report: HeadReport | None, key: str, run: Run | None) -> None:
    if report is None:
        note_nothing_yet(run, "There is no result yet.", "It appears once all windows of text are measured.")
        return
    st.markdown(f"## {escape_markdown(report.answer)}")
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("**Loss added without this head**, bits per character")
        show_figure(
            worth_figure(report, TITLES, dark=dark()),
            key=f"worth-{key}",
            alt="What is lost without each head: "
            + "; ".join(f"{head.name} {head.cost_bits:.{DIGITS}f} bits" for head in report.heads),
        )
    with right:
        if report.joint:
            st.markdown("**Without the cheapest heads together**")
            show_figure(
                joint_figure(report, dark=dark()),
                key=f"joint-{key}",
                alt="Loss added without the cheapest heads: "
                + "; ".join(f"{len(each.heads)}: {each.cost_bits:.{DIGITS}f} bits" for each in report.joint),
            )
    st.caption(
        f"{escape_markdown(report.title)}: {report.bits_per_character:.3f} bits per character, measured on "
        f"{report.characters:,} characters of {escape_markdown(report.dataset)} that it did not train on. Colours by square root."
        + "".join(f" · {escape_markdown(report.made[name])}" for name in ("hardware", "date") if report.made.get(name))
    )
    _removal(report, key)
    folded("All heads in figures", lambda: _table(report, key), key=f"heads-table-{key}", param="table")
    folded("Files", lambda: _files(report, key), key=f"files-{key}", param="files", icon=":material/download:")


def _removal(report: HeadReport, key: str) -> None:
    names = [head.name for head in sorted(report.heads, key=lambda head: head.cost_bits)]
    proposed = list(report.removable.heads) if report.removable else []
    linked(
        "remove",
        REMOVED,
        several_of(names, "head", len(names)),
        proposed,
        write=write_several,
        of=(key, report.checkpoint),
    )
    chosen = st.multiselect(
        "Heads to remove", names, key=REMOVED, help="Each layer keeps at least one.", persist_state="session"
    )
    known = next((joint for joint in report.joint if set(joint.heads) == set(chosen)), None)
    if known:
        cost = plus_minus(known.cost_bits, known.half_width, DIGITS)
        st.caption(f"{'Together they cost' if len(chosen) > 1 else 'It costs'} {cost} bits per character.")
    elif len(chosen) > 1:
        st.caption("These were not measured together: what they cost need not add up.")
    label = f"Remove {'this head' if len(chosen) == 1 else f'these {len(chosen)} heads'}"
    of = (report.checkpoint, frozenset(chosen))
    if st.button(label, key=f"remove-{key}", icon=":material/content_cut:", disabled=not chosen, type="primary"):
        try:
            st.session_state[SAVED] = of, *_save(report.checkpoint, chosen)
        except LabError as error:
            show_error(error)
    saved_from, run_id, name, fresh = st.session_state.get(SAVED, (None, "", "", True))
    if saved_from == of:
        kept = "Kept as" if fresh else "These heads were removed before. The checkpoint is"
        st.markdown(f"{kept} **{escape_markdown(name)}**.")
        with st.container(horizontal=True):
            page_link("text", "Write with it", checkpoint=run_id)
            page_link("attention", "Look at its heads", view="Heads", checkpoint=run_id)
            page_link("attention", "Measure it", view="New measurement", checkpoint=run_id)


def _save(checkpoint: str, heads: list[str]) -> tuple[str, str, bool]:
    """Id and name of the run that holds the smaller network, and whether it is new. Raises LabError."""
    from core.attention.removal import find_without, save_without

    card = find_checkpoint(checkpoint).card
    config = RemoveHeadsConfig(checkpoint=checkpoint, heads=heads, model=card.model, dataset=card.dataset.name)
    there = find_without(config)
    run_id = there or save_without(config, user=may_store())
    forget_runs()
    return run_id, RunStore().get(run_id).name, there is None


def _table(report: HeadReport, key: str) -> None:
    ordered = sorted(report.heads, key=lambda head: -head.cost_bits)
    roles = [head.role or max(head.shares, key=lambda name: head.shares[name], default="") for head in ordered]
    show_table(
        {
            "Head": [head.name for head in ordered],
            "Role": [TITLES[head.role] if head.role else "none clear" for head in ordered],
            "Largest share": [_share(head, role) for head, role in zip(ordered, roles, strict=True)],
            "In untrained heads": [f"{report.untrained.get(role, 0):.0%}" for role in roles],
            "Cost (bits)": [plus_minus(head.cost_bits, head.half_width, DIGITS) for head in ordered],
        },
        key=f"heads-{key}",
    )
    st.caption("± is half of the 95% interval over windows of text. A role's share is of the head's whole attention.")


def _share(head: HeadWorth, role: str) -> str:
    if not role:
        return "–"
    return f"{head.shares[role]:.0%}" + ("" if head.role else f", {TITLES[role].lower()}")


def _files(report: HeadReport, key: str) -> None:
    name = f"heads-{file_stem(report.checkpoint, 'checkpoint')}"
    rows = (
        {"head": head.name, "cost_bits": head.cost_bits, "half_width": head.half_width, "role": head.role}
        | {f"share_{role}": share for role, share in head.shares.items()}
        for head in report.heads
    )
    with st.container(horizontal=True, gap="small"):
        download("All numbers (JSON)", json_bytes(report.to_dict()), f"{name}.json", key=f"json-{key}")
        download("The heads (CSV)", csv_bytes(rows), f"{name}.csv", key=f"csv-{key}")
    st.caption("To save a figure as PNG, point at it and click the camera.")


def expected_s(checkpoint: Checkpoint, reference: CheckpointRef, characters: int) -> float:
    """How long a measurement takes here, out of one measured window."""
    from core.attention.worth import count_windows
    from core.models.heads import list_heads

    model: Any = checkpoint.model
    heads = len(list_heads(model))
    length = reference.card.text_data.sizes.get("validation", characters)
    count, _ = count_windows(length, model.config.context, characters)
    together = min(MOST_REMOVED, heads) / (2 * heads)  # the cheapest are left out together on half of the windows
    work_s = max(1, count) * window_s(reference.card.fingerprint, _checkpoint=checkpoint) * (1 + together)
    return STARTING_S + work_s / cores()


@st.cache_resource(max_entries=16, show_spinner="Measuring one window of text")
def window_s(fingerprint: str, *, _checkpoint: Checkpoint) -> float:
    from core.attention.worth import window_seconds

    window_seconds(_checkpoint.model)  # the first one builds kernels and memory pools
    return window_seconds(_checkpoint.model)


def new_measurement_view() -> None:
    reference = checkpoint_picker(
        "Checkpoint", "heads-checkpoint", param="checkpoint", task="text", fits=has_text_attention
    )
    if reference is None:
        return
    usual = HeadsConfig()
    linked("characters", "heads-characters", number(1000, 10**7, "characters"), usual.characters)
    values: dict[str, Any] = settings_form(
        HeadsConfig, ("characters",), usual.to_dict(), "heads-{}", labels=LABELS, increments={"characters": 10_000}
    )
    config = None
    try:
        config = HeadsConfig(checkpoint=reference.name, **values)
    except LabError as error:
        show_error(label_error(error, LABELS))
    if config is not None:
        until_ready()
        seconds = expected_s(loaded(reference), reference, config.characters)
        st.markdown(f"**About {duration(seconds)}** on {plural(cores(), 'core')}, in the queue like any run.")
    name_key = f"heads-name-{reference.name}"
    st.text_input("Name", reference.label, key=name_key, persist_state="session")
    start_job_button("Measure the heads", HEADS, config, key="start-heads", name_key=name_key)
    st.caption(
        f"It reads that much of {escape_markdown(reference.card.dataset.title)} once for each head. "
        f"Heads that cost less than {CHEAP_BITS:g} bits per character can then be removed."
    )

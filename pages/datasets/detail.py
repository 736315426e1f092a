"""One dataset: what is wrong with it, what it looks like, and what to do with it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import streamlit as st

from core.checkpoints.backbone import BACKBONES
from core.common.errors import LabError
from core.common.progress import Progress
from core.common.values import plural
from core.data import DATASETS, FOLDER_PREFIX, TEXT_PREFIX, dataset_state, dataset_task, dataset_title, stored_texts
from core.data.audit import Audit, audit
from core.data.dataset import ImageCard, ImageDataset
from core.data.folder import delete_photos, parse_name, read
from core.data.generated import GENERATED_PREFIX
from core.data.image_uploads import is_stored, leave_out, stored_folders
from core.data.texts import delete_text
from pages.datasets.labels import labels_section
from pages.datasets.samples import at_suggested_size, by_class, sheet
from pages.shared import tasks
from pages.shared.dataset_fetch import dataset_or_offer
from pages.shared.dataset_field import FOLDER_KEY, address_word
from pages.shared.delete_set import delete_set_button
from pages.shared.elements import show_image, show_table
from pages.shared.registry import switch_page
from pages.shared.resources import dataset, text_dataset
from pages.shared.start_field import START_PARAM
from pages.shared.text import escape_markdown, show_error
from pages.shared.url import set_address

SAMPLES = 8
"""Images of a class in its row."""
ROWS = 10
"""Classes whose rows are shown at once."""
GROUPS = 6
"""Groups of files that are shown of a finding."""
TITLES = {"train": "Training", "validation": "Validation", "test": "Test"}
ICONS = {
    "error": ":red[:material/error:]",
    "warning": ":orange[:material/warning:]",
    "note": ":material/info:",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Examined:
    """What the page shows of a folder, small enough to be kept."""

    card: ImageCard
    root: Path
    """Below which the audit names files."""
    audit: Audit
    rows: list[bytes]
    """A sheet for each of the first classes."""
    groups: dict[tuple[str, ...], bytes]
    """Files that belong together -> a sheet of them, those that could be read."""


def detail(name: str) -> None:
    """Everything about a dataset. Raises LabError where it is gone."""
    if dataset_task(name) == "text":
        _text(name)
    elif name.startswith(FOLDER_PREFIX):
        state = dataset_state(name)
        _folder(at_suggested_size(name, state), state)
    elif dataset_or_offer(name, "show its images", f"detail-{name}"):
        with st.spinner(f"Reading {dataset_title(name)}"):
            found = dataset(name)
        card = found.card
        _heading(card, f"{sum(card.sizes.values()):,} images in {len(card.classes)} classes.")
        _actions(name)
        _rows(card, _sheets(found))
        _facts(card, ())
        if name.startswith(GENERATED_PREFIX):
            delete_set_button(name.removeprefix(GENERATED_PREFIX), "All datasets")


def _folder(name: str, state: str) -> None:
    key = f"examine-{name}-{state}"
    if tasks.watch(key):
        return
    task = tasks.find(key)
    if task is None or (task.done and task.result is None):
        if task is not None and (task.error or task.stopped) and not st.button("Try again", key="examine-again"):
            _delete(name)
            return
        tasks.start(key, partial(examine, name))
        st.rerun()
    assert task is not None
    _examined(name, state, task.result)


def examine(name: str, report: Progress) -> Examined:
    """Read a folder, and look for what is wrong with it. Raises LabError."""
    folder = read(name, report)
    found = audit(folder, report)
    pixels = {
        file: image
        for split in (folder.dataset.train, folder.dataset.validation, folder.dataset.test)
        for file, image in zip(split.files, split.images, strict=True)
    }
    groups = {}
    for finding in found.findings:
        for group in finding.groups[:GROUPS]:
            if there := [pixels[file] for file in group[:SAMPLES] if file in pixels]:
                groups[group] = sheet(there)
    return Examined(
        card=folder.dataset.card, root=folder.listing.root, audit=found, rows=_sheets(folder.dataset), groups=groups
    )


def _examined(name: str, state: str, found: Examined) -> None:
    card, problems = found.card, found.audit.problems
    total = sum(card.sizes.values())
    errors = sum(finding.severity == "error" for finding in found.audit.findings)
    parts = [plural(errors, "error")] * bool(errors) + [plural(problems - errors, "warning")] * (problems > errors)
    verdict = f"{' and '.join(parts)} found." if parts else "No problem found."
    _heading(card, f"{total:,} photos in {len(card.classes)} classes. {verdict}")
    _actions(name)
    for number in range(len(found.audit.findings)):
        _finding(name, number, found)
    _rows(card, found.rows)
    labels_section(name, state)
    counts = found.audit.counts
    with st.expander("Images of each class", icon=":material/table:"):
        show_table(
            {"Class": [escape_markdown(title) for title in card.classes]}
            | {TITLES[split]: [f"{number:,}" for number in counts[split]] for split in counts},
            key="class-counts",
        )
    width, height = found.audit.sides
    _facts(card, (*_left_out(name), *found.audit.notes, f"Median size of the photos: {width}×{height} pixels."))
    _delete(name)


def _heading(card: ImageCard, sentence: str) -> None:
    st.subheader(escape_markdown(card.title), anchor=False)
    st.markdown(f"#### {escape_markdown(sentence)}")


def _actions(name: str) -> None:
    if st.button("Train on it", key="train-on-it", type="primary", icon=":material/model_training:"):
        task = dataset_task(name)
        start = {START_PARAM: next(iter(BACKBONES))} if name.startswith(FOLDER_PREFIX) else {}
        if address_word(name) == "folder":
            st.session_state[FOLDER_KEY] = str(parse_name(name).root)
        switch_page(task, view="Train", dataset=address_word(name), **start)


def _finding(name: str, number: int, found: Examined) -> None:
    finding = found.audit.findings[number]
    words = f"{ICONS[finding.severity]} {escape_markdown(finding.sentence)}"
    if not finding.groups:
        with st.container(border=True):
            st.markdown(words)
        return
    with st.expander(words):
        for group in finding.groups[:GROUPS]:
            if group in found.groups:
                show_image(
                    found.groups[group], width=68 * min(len(group), SAMPLES) - 4, alt=", ".join(group[:SAMPLES])[:300]
                )
            st.caption(" · ".join(map(escape_markdown, group[:SAMPLES])))
        if len(finding.groups) > GROUPS:
            st.caption(f"and {len(finding.groups) - GROUPS} more")
        if finding.removable and is_stored(root := parse_name(name).root):
            st.button(
                f"Leave {plural(len(finding.removable), 'file')} out",
                key=f"leave-out-{number}",
                icon=":material/playlist_remove:",
                help="The photos on your own computer stay as they are.",
                on_click=_leave_out,
                args=(root, [str(found.root.relative_to(root) / file) for file in finding.removable]),
            )


def _leave_out(root: Path, files: list[str]) -> None:
    try:
        leave_out(root, files, "by you, after the check")
    except LabError as error:
        show_error(error)


def _sheets(found: ImageDataset) -> list[bytes]:
    places = by_class(found.train, min(ROWS, len(found.card.classes)), SAMPLES)
    return [sheet([found.train.images[place] for place in row]) for row in places]


def _rows(card: ImageCard, sheets: list[bytes]) -> None:
    for title, image in zip(card.classes, sheets, strict=False):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f"**{escape_markdown(title)}**", width=110)
            show_image(image, width=68 * SAMPLES - 4, alt=f"Training images of the class {title}")
    if len(card.classes) > len(sheets):
        st.caption(f"and {len(card.classes) - len(sheets)} more classes")


def _facts(card: ImageCard, notes: tuple[str, ...]) -> None:
    with st.expander("How it was read", icon=":material/description:"):
        lines = [*notes, card.split, f"Source: {card.source}." if card.source else ""]
        lines.append(f"Model input: {card.image_size}×{card.image_size} pixels.")
        st.markdown("\n".join(f"- {escape_markdown(line)}" for line in lines if line))


def _left_out(name: str) -> tuple[str, ...]:
    return next((entry.left_out for entry in stored_folders() if entry.path == parse_name(name).root), ())


def _text(name: str) -> None:
    st.subheader(escape_markdown(dataset_title(name)), anchor=False)
    if name in DATASETS and not dataset_or_offer(name, "show it", f"detail-{name}"):
        return
    found = text_dataset(name)
    st.markdown(f"#### {len(found.text):,} characters, {len(found.card.vocabulary)} different ones.")
    _actions(name)
    st.code(found.text[:600], language=None, wrap_lines=True)
    with st.expander("How it was read", icon=":material/description:"):
        st.markdown(f"- {escape_markdown(found.card.split)}\n- Source: {escape_markdown(found.card.source)}")
    _delete(name)


def _delete(name: str) -> None:
    """Offered of what was uploaded here."""
    if not any(entry.name == name.partition("?")[0] for entry in (*stored_folders(), *stored_texts())):
        return
    with st.popover("Delete", icon=":material/delete:", type="tertiary"):
        st.markdown(
            "It is removed from this server. Its checkpoints still answer, but cannot be trained further or compressed."
        )
        if st.button("Delete it", key="delete-dataset", type="primary"):
            try:
                if name.startswith(TEXT_PREFIX):
                    delete_text(name)
                else:
                    delete_photos(parse_name(name).root)
            except LabError as error:
                show_error(error)
                return
            set_address({"view": "All datasets"})
            st.rerun()

"""Images / Classify, several images at once: a row for each, and a click on one opens its whole answer."""

from __future__ import annotations

import secrets
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from core.checkpoints.store import CheckpointRef
from core.common.commands import command_line
from core.common.pixels import data_url, encode
from core.common.progress import Progress
from core.data.decode import MAX_BYTES, SUFFIXES
from core.images.figures import percent
from pages.shared import tasks
from pages.shared.copy_link import not_in_link
from pages.shared.elements import download, show_image
from pages.shared.resources import loaded
from pages.shared.square import with_square
from pages.shared.tables import csv_bytes
from pages.shared.text import escape_markdown
from pages.shared.upload_box import UPLOAD_HELP, InputImage
from pages.shared.uploads import uploads
from pages.shared.url import linked_flag
from pages.shared.warmup import until_ready

if TYPE_CHECKING:
    from core.inference.many import FileAnswer

MOST_FILES, MOST_BYTES = 100, 100_000_000
FILES, OPENED, NUMBER = "many-files", "many-opened", "many-number"
ALL, DOUBTFUL, UNREAD = "All", "Probably none of these", "Not read"
CARDS = 20
"""Shown at first on a phone: each is several elements."""
CARD_PX = 64
ROWS, HEADER_PX = 12, 38
"""Rows of the table that show before it scrolls, and the height of its header."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ManyFiles:
    """Images that were given together; nothing has looked into their bytes yet."""

    token: str
    """Another one for other files."""
    files: tuple[tuple[str, bytes], ...]
    """Name and bytes."""
    ids: tuple[str, ...]
    """Of all that the box holds, those left out included."""

    @property
    def left_out(self) -> int:
        return len(self.ids) - len(self.files)


def many_toggle() -> bool:
    """Whether several images are asked about at once: `?several=1`."""
    linked_flag("several", "several")
    return st.toggle("Several images at once", key="several", persist_state="session")


def many_box() -> ManyFiles | None:
    """The upload box; returns what is in it, or was when the page was left."""
    key = f"many-{st.session_state.get(NUMBER, 0)}"
    found = st.file_uploader(
        "Photos or drawings",
        type=list(SUFFIXES),
        accept_multiple_files=True,
        max_upload_size=MAX_BYTES // 1_000_000,
        key=key,
        on_change=_take,
        args=(key,),
        help=UPLOAD_HELP,
    )
    batch: ManyFiles | None = st.session_state.get(FILES)
    if found and tuple(file.file_id for file in found) != (batch.ids if batch else ()):
        _take(key)  # its callback was lost, as may happen while the server is busy
    batch = st.session_state.get(FILES)
    if batch:
        st.button("Remove all images", key="many-clear", icon=":material/delete:", on_click=_clear)
        not_in_link("Your own images are not in the link: whoever opens it gives some.")
    return batch


def opened_image(batch: ManyFiles | None) -> InputImage | None:
    """The image whose whole answer is wanted."""
    place = st.session_state.get(OPENED)
    if batch is None or place is None or place[0] != batch.token:
        return None
    image: InputImage = place[1]
    return with_square(image)


def back_to_all() -> None:
    """The button from one answer to the table."""
    st.button("Back to all images", key="many-back", icon=":material/arrow_back:", on_click=_close)


def many_view(batch: ManyFiles | None, reference: CheckpointRef) -> None:
    """The answers of a checkpoint to all files, or what to do for some."""
    if batch is None:
        st.markdown(f"**Choose up to {MOST_FILES} images:** each becomes a row with its class and probability.")
        return
    if batch.left_out:
        st.warning(
            f"{len(batch.files)} images are classified and {batch.left_out} left out: the page takes {MOST_FILES} images and "
            f"{MOST_BYTES // 1_000_000} MB at once. A terminal classifies a whole folder:"
        )
        st.code(command_line("classify", "FOLDER", checkpoint=reference.name, csv=True), language="bash")
    answers = _answers(batch, reference)
    if answers is None:
        return
    st.markdown(f"## {_headline(answers)}")
    if said := _doubts(answers, len(reference.card.image_data.classes)):
        st.markdown(said)
    shown = _chosen(answers)
    version = zlib.crc32(f"{batch.token} {shown}".encode())
    with st.container(key="wide-many"):
        _table(batch, answers, shown, f"{version}")
    with st.container(key="narrow-many", gap="xsmall"):
        _cards(batch, answers, shown)
    download(
        "Table (CSV)",
        csv_bytes(answer.row() for answer in answers),
        "classified.csv",
        key="many-csv",
        help="All images, in upload order. Probabilities run from 0 to 1.",
    )


def _answers(batch: ManyFiles, reference: CheckpointRef) -> list[FileAnswer] | None:
    """Of this checkpoint; None while they are computed, with the progress on the page, or stopped."""
    kept: tuple[str, list[FileAnswer]] = st.session_state.get("many-answers", ("", []))
    key = f"many-{batch.token}-{reference.card.fingerprint}"
    if kept[0] == key:
        return kept[1]
    until_ready()
    task = tasks.find(key) or tasks.start(key, _work(batch, reference))
    task.wait(1.0)  # what is done within a second needs no bar
    if tasks.watch(key):
        return None
    if task.result is None:
        st.button("Try again", key="many-again", on_click=tasks.drop, args=(key,))
        return None
    st.session_state["many-answers"] = key, task.result
    tasks.drop(key)
    return list(task.result)


def _work(batch: ManyFiles, reference: CheckpointRef) -> Callable[[Progress], Any]:
    def work(report: Progress) -> list[FileAnswer]:
        from core.inference.many import classify_files

        checkpoint = loaded(reference)
        found: list[FileAnswer] = []
        for answer in classify_files(checkpoint, [(name, partial(bytes, data)) for name, data in batch.files]):
            found.append(answer)
            report(len(found) / len(batch.files), f"classify ({len(found)} of {len(batch.files)} images)")
        return found

    return work


def _headline(answers: list[FileAnswer]) -> str:
    """`12 images: 7 ship, 3 cat, 2 of other classes`."""
    counts = Counter(label for answer in answers if (label := _label(answer))).most_common()
    parts = [f"{count} {escape_markdown(label)}" for label, count in counts[:3]]
    if rest := sum(count for _, count in counts[3:]):
        parts.append(f"{rest} of other classes")
    title = f"{len(answers)} image{'s' * (len(answers) != 1)}"
    return f"{title}: {', '.join(parts)}" if parts else f"{title}: none could be read"


def _doubts(answers: list[FileAnswer], classes: int) -> str:
    doubtful = sum(_doubtful(answer) for answer in answers)
    unread = sum(bool(answer.error) for answer in answers)
    said = []
    if doubtful:
        said.append(f"{doubtful} {'is' if doubtful == 1 else 'are'} probably none of the {classes} classes.")
    if unread:
        said.append(f"{unread} could not be read: open {'it' if unread == 1 else 'one'} to see why.")
    return " ".join(said)


def _chosen(answers: list[FileAnswer]) -> list[int]:
    """Places of the answers to show, in the order to show them."""
    counts = Counter(label for answer in answers if (label := _label(answer)))
    kinds = {
        ALL: len(answers),
        DOUBTFUL: sum(map(_doubtful, answers)),
        UNREAD: sum(bool(each.error) for each in answers),
    }
    options = [*(kind for kind, count in kinds.items() if count), *sorted(counts)]
    if st.session_state.get("many-show") not in options:
        st.session_state["many-show"] = ALL
    orders: dict[str, Callable[[int], Any]] = {
        "File order": lambda place: place,
        "Least sure first": lambda place: _probability(answers[place]),
        "Surest first": lambda place: -_probability(answers[place]),
        "Class": lambda place: (_label(answers[place]) or "\uffff", -_probability(answers[place])),
    }
    with st.container(horizontal=True, gap="small"):
        show = st.selectbox(
            "Show",
            options,
            format_func=lambda kind: f"{kind} · {kinds.get(kind, counts[kind])}",
            key="many-show",
            persist_state="session",
            width=220,
        )
        order = st.selectbox("Order", list(orders), key="many-order", persist_state="session", width=220)
    return sorted((place for place, answer in enumerate(answers) if _is_of(answer, show)), key=orders[order])


def _is_of(answer: FileAnswer, kind: str) -> bool:
    if kind in (ALL, DOUBTFUL, UNREAD):
        return kind == ALL or (_doubtful(answer) if kind == DOUBTFUL else bool(answer.error))
    return _label(answer) == kind


def _table(batch: ManyFiles, answers: list[FileAnswer], shown: list[int], version: str) -> None:
    """version: another one for other rows, which are told by position."""
    import pandas as pd

    rows = [answers[place] for place in shown]
    frame = pd.DataFrame(
        {
            "Image": [None if answer.thumbnail is None else data_url(_jpeg(answer.thumbnail)) for answer in rows],
            "File": [answer.name for answer in rows],
            "Class": [_label(answer) or None for answer in rows],
            "Probability": [100 * _probability(answer) if answer.prediction else None for answer in rows],
            "Warning": [
                "unread" if answer.error else "none?" if _doubtful(answer) else None if answer.warns else "not measured"
                for answer in rows
            ],
        }
    )
    opened = f"many-open-{version}"
    st.dataframe(
        frame,
        key=f"many-table-{version}",
        hide_index=True,
        row_height=CARD_PX + 8,
        height="content" if len(rows) <= ROWS else (CARD_PX + 8) * ROWS + HEADER_PX,
        placeholder="–",
        column_config={
            "Image": st.column_config.ImageColumn(width=CARD_PX + 16),
            "File": st.column_config.ButtonColumn(
                width=130, type="tertiary", alignment="left", help="Click on a name for the whole answer.", key=opened
            ),
            "Class": st.column_config.TextColumn(width=90),
            "Probability": st.column_config.NumberColumn(
                format="%.1f%%", width=90, help="If the image is one of these classes."
            ),
            "Warning": st.column_config.TextColumn(
                width=70,
                help="none?: probably none of the classes. unread: a file that could not be read. not measured: this "
                "checkpoint had too few validation images for a warning.",
            ),
        },
        alt=f"Table of {len(rows)} images",
    )
    click = st.session_state.get(opened)
    if click is not None and click.row < len(shown):
        _open(batch, shown[click.row])
        st.rerun()


def _cards(batch: ManyFiles, answers: list[FileAnswer], shown: list[int]) -> None:
    """The same for a narrow screen."""
    most = st.session_state.get("many-cards", CARDS)
    for place in shown[:most]:
        answer = answers[place]
        with st.container(key=f"clickable-many-{place}", horizontal=True, gap="small", vertical_alignment="center"):
            if answer.thumbnail is not None:
                show_image(_jpeg(answer.thumbnail), width=CARD_PX, alt=f"The image {answer.name}")
            said = f"{escape_markdown(_label(answer))} · {percent(_probability(answer))}" if answer.prediction else ""
            lines = (
                f"**{said}**" if said else "",
                escape_markdown(answer.name),
                escape_markdown(_warning(answer) or ""),
            )
            with st.container(width="stretch", gap=None):
                st.markdown("  \n".join(line for line in lines if line))
            st.button("Open", key=f"many-card-{place}", type="tertiary", on_click=_open, args=(batch, place))
            st.space("xxsmall")
    if len(shown) > most:
        st.button(f"Show {min(CARDS, len(shown) - most)} more", key="many-more", on_click=_more, args=(most,))


def _more(most: int) -> None:
    st.session_state["many-cards"] = most + CARDS


def _label(answer: FileAnswer) -> str:
    return answer.prediction.top[0][0] if answer.prediction else ""


def _probability(answer: FileAnswer) -> float:
    return answer.prediction.top[0][1] if answer.prediction else -1.0


def _doubtful(answer: FileAnswer) -> bool:
    return answer.prediction is not None and answer.prediction.likely_none_of_these


def _warning(answer: FileAnswer) -> str | None:
    return answer.error or (DOUBTFUL if _doubtful(answer) else None)


def _jpeg(thumbnail: np.ndarray) -> bytes:
    from PIL import Image

    return encode(Image.fromarray(thumbnail), "JPEG")


def _open(batch: ManyFiles, place: int) -> None:
    """Show the whole answer to one image; for an hour it has an address, like any upload."""
    name, data = batch.files[place]
    image = InputImage(data=data, title=name, token=uploads().keep(data, name))
    st.session_state[OPENED] = batch.token, image


def _close() -> None:
    st.session_state.pop(OPENED, None)


def _clear() -> None:
    st.session_state[FILES] = None
    st.session_state.pop("many-answers", None)
    st.session_state[NUMBER] = st.session_state.get(NUMBER, 0) + 1


def _take(key: str) -> None:
    """What the box holds now is what the page is about."""
    found: list[UploadedFile] = st.session_state.get(key) or []
    taken: list[tuple[str, bytes]] = []
    total = 0
    for file in found[:MOST_FILES]:
        total += file.size
        if total > MOST_BYTES:
            break
        taken.append((file.name, file.getvalue()))
    st.session_state["many-cards"] = CARDS
    st.session_state[FILES] = (
        ManyFiles(token=secrets.token_hex(8), files=tuple(taken), ids=tuple(file.file_id for file in found))
        if found
        else None
    )

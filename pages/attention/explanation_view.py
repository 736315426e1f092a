"""Attention / Is it an explanation?: the same text under other attention, and beside a gradient method."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from core.attention.figures import agreement_figure, distances_figure
from core.common.progress import Progress
from core.common.values import signed
from core.images.figures import percent
from pages.attention.prompt import ask_text, note_reading, spoken
from pages.attention.strips import strips
from pages.shared.elements import download, folded, show_figure
from pages.shared.resources import dark, loaded
from pages.shared.tables import csv_bytes, json_bytes
from pages.shared.tasks import background
from pages.shared.text import escape_markdown
from pages.shared.warmup import until_ready

if TYPE_CHECKING:
    from core.attention.explanation import Explanation


def explanation_view() -> None:
    answer = st.container()
    asked = ask_text()
    if asked is None:
        return
    reference, text = asked
    with answer:
        until_ready()
        checkpoint = loaded(reference)
        key = f"attention-test-{reference.card.fingerprint}-{text}"

        def work(report: Progress) -> Explanation:
            from core.attention.explanation import explain_attention

            return explain_attention(checkpoint, text, 0, report)

        found: Explanation | None = background(key, "attention-test", work, label="Test it")
        if found is None:
            return
        _facts(found)
        note_reading(reference, text, found.text)
    folded("Files", partial(_files, found), key="explanation-files", param="files", icon=":material/download:")


def _facts(found: Explanation) -> None:
    from core.attention.explanation import SAME_ANSWER

    st.markdown(f"## {escape_markdown(found.answer)}")
    st.markdown(f"The answer is {escape_markdown(spoken(found.target))}, with {percent(found.probability)}.")
    left, right = st.columns(2, gap="large")
    count = len(found.permuted_tvd)
    with left:
        st.markdown(
            f"**Shuffled in all layers:** in {round(count * found.permuted_same)} of {count} shuffles of the last character's "
            f"attention all probabilities stay the same, within {SAME_ANSWER:.0%} in sum."
        )
        show_figure(
            distances_figure(found.permuted_tvd, SAME_ANSWER, dark=dark()),
            key="permuted",
            alt=f"How far the answer moves under {count} permutations: {found.permuted_same:.0%} stay within {SAME_ANSWER:g}",
        )
    with right:
        st.markdown(
            f"**Beside Integrated Gradients:** rank correlation {signed(found.agreement, 2)}. A rule that only knows how recent "
            f"a character is has {signed(found.agreement_recent, 2)}."
        )
        rows = [("attention", found.agreement), ("how recent", found.agreement_recent)]
        show_figure(
            agreement_figure(rows, dark=dark()),
            key="agreement",
            alt="Rank correlation: " + ", ".join(f"{name} {signed(value, 2)}" for name, value in rows),
        )
    changed = (
        f"at a divergence of {found.adversarial_jsd:.2f} bits (1 is the most) moves the probabilities by only "
        f"{found.adversarial_tvd:.1%}"
        if found.adversarial_jsd
        else "was not found that keeps the answer"
    )
    st.markdown(f"**Other attention in the last layer** {changed}.")
    strips(
        "attention-strips",
        found.text,
        {"As the model has it": found.usual, "Another one that was found": found.adversarial}
        if found.adversarial_jsd
        else {"As the model has it": found.usual},
        dark=dark(),
    )
    st.caption("Attention of the last character, averaged over the heads of the last layer.")


def _files(found: Explanation) -> None:
    rows = (
        {"position": place, "character": character, "attention": usual, "other_attention": other}
        for place, (character, usual, other) in enumerate(zip(found.text, found.usual, found.adversarial, strict=True))
    )
    values = dataclasses.asdict(found) | {"answer": found.answer}
    with st.container(horizontal=True, gap="small"):
        download("All numbers (JSON)", json_bytes(values), "attention-explanation.json", key="explanation-json")
        download("Both attentions (CSV)", csv_bytes(rows), "attention-explanation.csv", key="explanation-csv")
    st.caption("To save the figure as PNG, point at it and click the camera.")

"""What there is to say about a written text: characters read as others, figures, files."""

from __future__ import annotations

import json

import streamlit as st

from pages.shared.elements import download
from pages.shared.report import report_button
from pages.shared.tables import csv_bytes
from pages.shared.text import escape_markdown
from pages.text.generation_task import Writing
from pages.text.report import text_report

LONGEST_START = 40
"""Characters of a prompt that a headline quotes."""


def figures(writing: Writing) -> str:
    """One line: length, bits per character, rate, time to the first character."""
    parts = [f"{len(writing.characters):,} characters"]
    if writing.bits_per_character is not None:
        parts.append(f"{writing.bits_per_character:.2f} bits per character by the model's own count")
    if writing.rate:
        parts.append(f"{writing.rate:,.0f} characters/s")
    if writing.first_ms is not None:
        parts.append(f"the first after {writing.first_ms:.0f} ms")
    return " · ".join(parts) + (" · stopped. " if writing.stopped else ". ")


def headline(writing: Writing) -> str:
    """Who writes, and what it goes on from, in Markdown."""
    lines = writing.prompt.split("\n")
    start = next((line.strip() for line in reversed(lines) if line.strip()), "")
    start = start if len(start) <= LONGEST_START else f"…{start[-LONGEST_START:]}"
    name = escape_markdown(writing.checkpoint.card.title)
    return f"{name} goes on from “{escape_markdown(start)}”" if start else f"{name} begins a text"


def reading(writing: Writing) -> None:
    """How far a long prompt is read, before the first character comes."""
    if not writing.done and writing.read_share:
        st.progress(writing.read_share, text=f"Reading the prompt: {100 * writing.read_share:.0f}%")


def text_downloads(writing: Writing) -> None:
    """The text, and every character with its figures."""
    fields = ("character", "probability", "drawn_with", "surprise_bits", "entropy_bits")
    table = csv_bytes(
        {name: getattr(item, name) for name in fields} | {"alternatives": json.dumps(dict(item.alternatives))}
        for item in writing.characters
    )
    with st.container(horizontal=True, gap="small"):
        report_button(lambda: text_report(writing), "text-report", key="text")
        download("Text", writing.prompt + writing.text, "text.txt", key="download-text.txt")
        download("Every character (CSV)", table, "characters.csv", key="download-characters.csv")

"""The result of a recipe as one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.common.report import Chart, Paragraph, Report, Table
from core.compression.analysis import answer, headline, is_one_recipe
from core.compression.cli import command_of
from core.compression.figures import pareto, pareto_words
from core.compression.results import CompressionResult
from pages.shared.text import escape_markdown

COST = "size_bytes"


def compression_report(result: CompressionResult, tables: Sequence[Mapping[str, Sequence[str]]], how: str) -> Report:
    """tables: of all variants, some columns each. how: what the columns are, in Markdown."""
    return Report(
        title=result.name or f"How small can {result.config.checkpoint} get?",
        answer=escape_markdown(answer(result)),
        blocks=[
            Paragraph(text=escape_markdown(headline(result))),
            Chart(draw=lambda dark: pareto(result, COST, dark=dark), alt=pareto_words(result, COST)),
            *(Table(columns=columns) for columns in tables),
            Paragraph(text=how),
        ],
        command=command_of(result.config) if is_one_recipe(result) else "",
        made=result.made,
    )

"""A study as one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.common.report import Block, Chart, Paragraph, Report, Table
from core.regularization.analysis import ArmResult, answer, best_and_worst, counts
from core.regularization.cli import command_of
from core.regularization.figures import effects
from core.regularization.results import StudyResult


def study_report(
    result: StudyResult, rows: Sequence[ArmResult], tables: Mapping[int, Mapping[str, Sequence[str]]]
) -> Report:
    """rows: of all sizes. tables: training images -> the columns of its table, in Markdown."""
    blocks: list[Block] = []
    for size, columns in tables.items():
        here = [row for row in rows if row.train_size == size]
        blocks += [
            Paragraph(text=f"## {size:,} training images\n\n{answer(result, here)} {counts(here)}"),
            Chart(
                draw=lambda dark, here=here, size=size: effects(best_and_worst(here), size, dark=dark),
                alt=f"Effect on accuracy with its 95% interval, {size:,} training images",
            ),
            Table(columns=columns),
        ]
    first = [row for row in rows if row.train_size == next(iter(tables), None)]
    made = {name: text for name, text in result.made.items() if name != "command"}
    return Report(
        title=result.name or "Study",
        answer=answer(result, first),
        blocks=blocks,
        command=result.made.get("command") or command_of(result.config),
        made=made,
    )

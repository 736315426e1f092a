"""Text that people type as a formula, as Python's syntax tree. Nothing is executed: who asks walks the tree."""

from __future__ import annotations

import ast
from typing import Literal

from core.common.errors import LabError

SIGNS = {"^": "**", "²": "**2", "³": "**3", "·": "*", "−": "-"}
"""What people type -> what Python reads."""


def read_syntax(
    text: str, mode: Literal["eval", "exec"], *, what: str, example: str, most: int
) -> ast.Module | ast.Expression:
    """The tree of a text of at most so many characters. Raises LabError, in one sentence about a `what`; example: ends that
    about an empty one."""
    text = text.strip()
    if not text:
        raise LabError(f"The {what} is empty: type one{example}.")
    if len(text) > most:
        raise LabError(f"The {what} has {len(text):,} characters: shorten it to {most}.")
    plain = text
    for sign, python in SIGNS.items():
        plain = plain.replace(sign, python)
    if mode == "exec":  # one part a line, or between semicolons
        plain = plain.replace("\n", ";").replace(";;", ";")
    try:
        tree = ast.parse(plain, mode=mode)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise unreadable(text, what) from None
    assert isinstance(tree, ast.Module | ast.Expression)
    return tree


def unreadable(text: str, what: str) -> LabError:
    """What is raised for a text that is no such thing, or that is nested too deeply."""
    article = "an" if what[0] in "aeiou" else "a"
    return LabError(
        f"{text.strip()[:60]!r} cannot be read as {article} {what}: write products with *, as in 2*x, and close brackets."
    )

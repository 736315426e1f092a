"""A server for a lecture hall: with LAB_READ_ONLY=1 it answers, and no run, dataset or checkpoint is made, changed or removed
through it. What it keeps of its answers, such as evaluations and files to download, is a cache.

The command line on the same machine does not have that variable: who runs the server still trains and tidies up there.
"""

from __future__ import annotations

import os

from core.common.errors import LabError

READ_ONLY = (
    "This server is read-only: look, classify and explain here; to train or keep something, start a lab of your own."
)


def read_only() -> bool:
    """Whether this process may only look. Raises LabError for a value that is neither 0 nor 1."""
    text = os.environ.get("LAB_READ_ONLY", "").strip()
    if text not in ("", "0", "1"):
        raise LabError(f"LAB_READ_ONLY={text[:40]!r} is not valid: set it to 1, or remove it.")
    return text == "1"


def check_writable() -> None:
    """Raises LabError where this process may only look."""
    if read_only():
        raise LabError(READ_ONLY)

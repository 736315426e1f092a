"""How functions of this room tell how many images they are done with."""

from __future__ import annotations

from collections.abc import Callable

Told = Callable[[int], None]
"""Told how many images are done; may raise to stop."""


def told_nothing(_: int) -> None: ...

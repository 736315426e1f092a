"""How good the none-of-these warning of a checkpoint is: false alarms and misses as its card has them."""

from __future__ import annotations

from core.checkpoints.store import Card
from core.common.values import finite
from pages.shared.text import escape_markdown

KINDS_SHOWN = 10


def false_alarms(card: Card) -> float | None:
    """Share (0..1) of the dataset's own images that get the warning: of the test images, or else of those that set its threshold.
    None where it was not counted."""
    measured = card.metrics.get("test_flagged")
    if measured is not None and finite(measured) and 0 <= measured <= 1:
        return float(measured)
    return card.calibration.false_alarm_rate


def missed(card: Card) -> str:
    """`86% of 400 images of other things`, those that get no warning; empty where that was not measured."""
    misses = card.calibration.misses
    return f"{_share(misses.rate)} of {misses.images:,} images of other things" if misses else ""


def warning_quality(card: Card) -> str:
    """A clause about false alarms and misses, kind by kind; empty where neither is known."""
    alarms, misses = false_alarms(card), card.calibration.misses
    parts = [] if alarms is None else [f"flags {100 * alarms:.1f}% of {_own_images(card)}"]
    if misses:
        kinds = sorted(misses.by_kind.items(), key=lambda item: item[1], reverse=True)[:KINDS_SHOWN]
        listed = ", ".join(f"{escape_markdown(name)} {_share(rate)}" for name, rate in kinds)
        parts.append(f"lets {missed(card)} pass ({listed})")
    return " and ".join(parts)


def _own_images(card: Card) -> str:
    """Which images its false alarms were counted on."""
    n = card.measured_on("test")
    if "test_flagged" not in card.metrics or not n:
        return "its own images"
    if card.calibration.split == "test":  # the other half set the threshold
        n -= n // 2
    return f"its {n:,} test images"


def _share(value: float) -> str:
    """A counted share, 0..1: only what was never or always counted is 0% or 100%."""
    whole = round(100 * value)
    if whole in (0, 100) and value not in (0, 1):
        return "< 1%" if whole == 0 else "> 99%"
    return f"{whole}%"

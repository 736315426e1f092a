"""What may be concluded from one map: one rule for every view, and nothing from a map that the controls match."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.attribution.evidence.curves import Faithfulness, Verdict
from core.common.errors import LabError
from core.images.figures import percent
from pages.attribution.cached import score_map
from pages.attribution.maps import BLANK, IMPROBABLE, doubt
from pages.attribution.query import AttributionQuery
from pages.shared.maps import COVERED_SHARE, probabilities_covered
from pages.shared.text import escape_markdown

if TYPE_CHECKING:
    from core.attribution.explainer import Attribution

CANNOT_TELL = "**Cannot tell.**"


def judge(asked: AttributionQuery, found: Attribution) -> tuple[str, tuple[Faithfulness, Verdict] | None]:
    """What a map says, in a sentence of Markdown, and its curves and verdict; None where it has none."""
    if found.blank:
        return f"{CANNOT_TELL} {BLANK}", None
    try:
        scored = score_map(asked, found)
    except LabError as error:
        return f"{CANNOT_TELL} {escape_markdown(error)}", None
    return conclusion(asked, found, scored[1]), scored


def conclusion(asked: AttributionQuery, found: Attribution, verdict: Verdict, *, best_of: int = 0) -> str:
    """What covering the map's first pixels does, in Markdown; or that the map must not be believed here, and why.

    best_of: methods that were tried, where this map is the best of several.
    """
    label, before = escape_markdown(asked.label), asked.probabilities[asked.target]
    why = doubt(verdict, before)
    if why == IMPROBABLE:
        return f"{CANNOT_TELL} {label} is at most {percent(before)} likely here, so there is nothing to take away."
    if verdict.not_beaten and best_of:
        return f"{CANNOT_TELL} None of {best_of} quick methods beats every control on this image."
    if why:
        return f"{CANNOT_TELL} On this image, {escape_markdown(found.method.title)} is {why}."
    after = probabilities_covered(
        asked.reference.card.fingerprint, asked.pixels, found.magnitude, asked.baseline, _reference=asked.reference
    )
    now = int(after.argmax())
    left = float(after[asked.target])
    change = f"covering the map's top {COVERED_SHARE:.0%} takes {label} from {percent(before)} to {percent(left)}"
    if asked.target == asked.predicted:
        change += f", still {label}" if now == asked.target else f", now {escape_markdown(asked.classes[now])}"
    decides = left < before / 2 or (asked.target == asked.predicted and now != asked.target)
    return f"**{'Mostly this region' if decides else 'This map finds no small region that decides'}:** {change}."

"""An explanation as one file: the answer, the map on the image, its score and what it had to beat."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from core.attribution.baselines import DEFAULT_BASELINE
from core.attribution.evidence.controls import CONTROL_TITLES
from core.attribution.evidence.curves import Faithfulness, Verdict
from core.attribution.figures import curves_figure, overlay_png, score_bars
from core.attribution.methods.registry import METHODS
from core.common.commands import command_line
from core.common.report import Block, Chart, Image, Paragraph, Report
from core.images.figures import percent
from pages.attribution.cached import controls_of
from pages.attribution.maps import Display, signed_number
from pages.attribution.query import AttributionQuery
from pages.shared.maps import colour_meanings
from pages.shared.report import image_file, made_here
from pages.shared.text import escape_markdown

if TYPE_CHECKING:
    from core.attribution.explainer import Attribution

SIDE_PX = 448


def explanation_report(
    asked: AttributionQuery,
    found: Attribution,
    scored: tuple[Faithfulness, Verdict] | None,
    answer: str,
    display: Display | None = None,
) -> Report:
    """A map of a method. scored: None where it has no score. answer: what the page says of the map, in Markdown. display: how
    the page draws it, where that was changed."""
    method, drawn = found.method, {} if display is None else dataclasses.asdict(display)
    said = f"{escape_markdown(asked.classes[asked.predicted])} · {percent(asked.probabilities[asked.predicted])}"
    blocks: list[Block] = [
        Image(draw=lambda dark: asked.seen.preview, alt=asked.image.title, width=SIDE_PX // 2),
        Image(
            draw=lambda dark: overlay_png(
                found.pixels, asked.seen.square, signed=method.signed, dark=dark, side=SIDE_PX, **drawn
            ),
            alt=f"{method.title}: map of why {asked.label}",
            width=SIDE_PX,
        ),
        Paragraph(
            text=" ".join(
                f"{colour.capitalize()}: {words}." for colour, words in colour_meanings(asked.label, method).items()
            )
        ),
        Paragraph(text=f"**{escape_markdown(method.title)}.** {method.summary} {method.how_to_read} {method.caveat}"),
    ]
    if scored:
        blocks += _evidence(asked, found, *scored)
    name, save = image_file(asked.image)
    paper, address = method.paper
    settings = ", ".join(f"{name}={value}" for name, value in method.settings().items())
    made = {"image": asked.image.title, "square": str(asked.image.square or "")}
    made |= {"method": f"{method.title} {settings}".strip(), "baseline": found.baseline}
    made |= {"random seed": str(found.seed) if method.random else "", "paper": f"{paper}, {address}"}
    return Report(
        title=f"Why {asked.label}? {asked.reference.label}, {asked.image.title}",
        answer="\n\n".join(filter(None, (f"**{said}**", answer))),
        blocks=[*blocks, *save],
        command=command_of(asked, found, name),
        made=made | made_here(asked.reference),
    )


def command_of(asked: AttributionQuery, found: Attribution, image: str) -> str:
    """The command that makes the map again. image: the file that it reads."""
    usual = METHODS[found.method.name]().settings()
    settings = {name: value for name, value in found.method.settings().items() if value != usual[name]}
    return command_line(
        "explain",
        "image",
        image,
        checkpoint=asked.reference.name,
        method=found.method.name,
        set=settings,
        target=None if asked.target == asked.predicted else asked.label,
        square=asked.image.square,
        baseline=None if found.baseline == DEFAULT_BASELINE else found.baseline,
        seed=found.seed or None,
        output="map.png",
    )


def _evidence(asked: AttributionQuery, found: Attribution, curves: Faithfulness, verdict: Verdict) -> list[Block]:
    controls = controls_of(asked)
    scores = {CONTROL_TITLES[name].lower(): score for name, score in verdict.controls.items()}
    listed = ", ".join(f"{name} {signed_number(score)}" for name, score in scores.items())
    return [
        Paragraph(
            text=f"Score {signed_number(verdict.score)}: insertion less deletion, a random order has 0. Controls: {listed}. "
            f"On this image: {escape_markdown(verdict.label)}."
        ),
        Image(
            draw=lambda dark: score_bars(verdict.score, scores, dark=dark, width=SIDE_PX),
            alt=f"Score {signed_number(verdict.score)}; controls: {listed}",
            width=SIDE_PX,
        ),
        *(
            Chart(
                draw=lambda dark, kind=kind: curves_figure(
                    found.method.title, curves, controls, kind, label=asked.label, dark=dark
                ),
                alt=f"{kind.capitalize()}: probability of {asked.label} as pixels go, most important first",
            )
            for kind in ("insertion", "deletion")
        ),
    ]

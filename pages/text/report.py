"""A text that a model wrote, as one file."""

from __future__ import annotations

from core.common.commands import changed_settings, command_line
from core.common.report import Paragraph, Report, Verbatim
from core.inference.sampling import SamplingConfig, usual_precision
from pages.shared.report import made_here
from pages.shared.text import escape_markdown
from pages.text.generation_task import Writing

BY_HAND = "A person chose some of its characters, so no command writes it again."


def text_report(writing: Writing) -> Report:
    """A text that is done; the command is missing where a person took part in it."""
    checkpoint, config = writing.checkpoint, writing.config
    settings = changed_settings(config.replace(length=max(1, len(writing.characters))), SamplingConfig())
    precision = None if writing.precision == usual_precision(checkpoint.card) else writing.precision
    return Report(
        title=f"What {checkpoint.card.title} writes",
        answer=f"**{escape_markdown(checkpoint.card.title)}** wrote {len(writing.characters):,} characters after the prompt.",
        blocks=[
            Verbatim(text=writing.prompt + writing.text),
            *([Paragraph(text=BY_HAND)] if writing.by_hand else []),
        ],
        command=""
        if writing.by_hand
        else command_line(
            "generate", checkpoint=checkpoint.name, prompt=writing.prompt, precision=precision, **settings
        ),
        made={
            "prompt": writing.prompt,
            "settings": ", ".join(f"{name} {value}" for name, value in config.to_dict().items()),
            "precision": writing.precision,
        }
        | made_here(checkpoint),
    )

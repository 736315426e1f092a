"""Attention: heads on a text and on an image, what they are worth, and whether they explain."""

from core.attention.kind import HEADS
from core.attention.results import REPORTS
from pages.attention import PAGE
from pages.attention.explanation_view import explanation_view
from pages.attention.heads_view import heads_view
from pages.attention.help import attention_help
from pages.attention.image_view import image_view
from pages.attention.worth_view import new_measurement_view, read, worth_view
from pages.shared.job_page import JobPage

JobPage(
    page=PAGE,
    kind=HEADS,
    param="heads",
    form=new_measurement_view,
    read=read,
    result=worth_view,
    examples={"char_gpt": "Small GPT"},
    load_example=REPORTS.load_shipped,
    others={"Heads": heads_view, "On an image": image_view, "Is it an explanation?": explanation_view},
    changes=lambda run: {},
    help=attention_help,
).draw()

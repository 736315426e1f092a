"""Synthesis: images of a generator, their way from noise, their worth, and sets that were measured."""

from core.synthesis.kind import SYNTHESIS
from core.synthesis.results import SETS
from pages.shared.delete_set import delete_set_button
from pages.shared.job_page import JobPage
from pages.shared.train_view import train_view
from pages.synthesis import PAGE
from pages.synthesis.help import synthesis_help
from pages.synthesis.images_view import images_view
from pages.synthesis.path_view import path_view
from pages.synthesis.sets import new_set_view, read, set_view
from pages.synthesis.worth import render as worth_view

JobPage(
    page=PAGE,
    kind=SYNTHESIS,
    param="set",
    form=new_set_view,
    read=read,
    result=set_view,
    examples={"example": "Shipped"},
    load_example=SETS.load_shipped,
    others={
        "Images": images_view,
        "From noise": path_view,
        "Worth": worth_view,
        "Train": lambda: train_view("generation"),
    },
    actions=lambda run: delete_set_button(run.id, "Sets"),
    changes=lambda run: {2.0: run.parts_done},
    help=synthesis_help,
    explained=frozenset({"Train"}),
).draw()

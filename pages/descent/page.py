"""Gradient descent: on a function, at the edge of divergence, and around a network."""

from core.descent.kind import SURFACE
from core.descent.results import SURFACES
from pages.descent import PAGE
from pages.descent.divergence import divergence_view
from pages.descent.help import descent_help
from pages.descent.optimizers import optimizers_view
from pages.descent.surface import new_surface_view, read, surface_view
from pages.shared.job_page import JobPage

JobPage(
    page=PAGE,
    kind=SURFACE,
    param="surface",
    form=new_surface_view,
    read=read,
    result=surface_view,
    examples={"path": "Path of a run", "sharpness": "Sharp or flat"},
    load_example=SURFACES.load_shipped,
    others={"Optimizers": optimizers_view, "Divergence": divergence_view},
    changes=lambda run: {3.0: run.step},
    help=descent_help,
).draw()

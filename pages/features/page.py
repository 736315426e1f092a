"""Features: one unit, a layer, a quiz, a surrogate, and galleries."""

from core.features.kind import GALLERY
from pages.features import PAGE
from pages.features.galleries import gallery_view, new_gallery_view, read
from pages.features.help import features_help
from pages.features.layer_view import layer_view
from pages.features.quiz_view import quiz_view
from pages.features.surrogate_view import surrogate_view
from pages.features.unit_view import unit_view
from pages.shared.job_page import JobPage

JobPage(
    page=PAGE,
    kind=GALLERY,
    param="gallery",
    form=new_gallery_view,
    read=read,
    result=gallery_view,
    others={"Unit": unit_view, "Layer": layer_view, "Quiz": quiz_view, "Surrogate": surrogate_view},
    changes=lambda run: {2.0: run.parts_done},
    help=features_help,
).draw()

"""Shift: corrupted images, comparisons, one image through all of them, drawings, and measurements."""

from core.shift.kind import SHIFT
from core.shift.results import MEASUREMENTS
from pages.shared.job_page import JobPage
from pages.shift import PAGE
from pages.shift.compare_view import compare_view
from pages.shift.help import shift_help
from pages.shift.image_view import image_view
from pages.shift.new import new_view
from pages.shift.renditions_view import renditions_view
from pages.shift.result import EXAMPLES, read, result_view

JobPage(
    page=PAGE,
    kind=SHIFT,
    param="measurement",
    form=new_view,
    read=read,
    result=result_view,
    examples=EXAMPLES,
    load_example=MEASUREMENTS.load_shipped,
    others={"Compare": compare_view, "Your image": image_view, "Renditions": renditions_view},
    help=shift_help,
).draw()

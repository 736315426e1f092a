"""Hardware: a grid of settings, the roofline, two machines, and which settings to take over."""

from core.hardware.kind import HARDWARE
from core.hardware.results import GRIDS
from pages.hardware import PAGE
from pages.hardware.compare_view import compare_view
from pages.hardware.help import guide_view, hardware_help
from pages.hardware.new import new_view
from pages.hardware.result import result_view
from pages.hardware.roofline_view import roofline_view
from pages.hardware.sources import EXAMPLES, read
from pages.shared.job_page import JobPage

JobPage(
    page=PAGE,
    kind=HARDWARE,
    param="grid",
    form=new_view,
    read=read,
    result=result_view,
    examples=EXAMPLES,
    load_example=GRIDS.load_shipped,
    others={"Roofline": roofline_view, "Compare": compare_view, "Guide": guide_view},
    help=hardware_help,
    explained=frozenset({"Guide"}),
).draw()

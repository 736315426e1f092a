"""Compression: how small and how fast can a checkpoint get, and what does that cost?"""

from core.compression.kind import COMPRESS
from core.compression.store import COMPRESSIONS, read_compression
from core.jobs import RunStore
from pages.compression import PAGE
from pages.compression.export_view import export_view
from pages.compression.help import compress_help
from pages.compression.live import live_curves, measured
from pages.compression.new import TASKS, new_recipe_view
from pages.compression.result_files import ResultFiles
from pages.compression.view import compress_view
from pages.shared.job_page import JobPage


def made(store: RunStore, run_id: str) -> ResultFiles:
    """What there is of a recipe."""
    return ResultFiles(read_compression(store, run_id), run_id, store.folder(run_id))


JobPage(
    page=PAGE,
    kind=COMPRESS,
    param="recipe",
    form=new_recipe_view,
    read=made,
    result=lambda made, key, _: compress_view(made, key),
    examples=TASKS,
    load_example=lambda task: ResultFiles(COMPRESSIONS.load_shipped(task)),
    others={"Export": export_view},
    live=live_curves,
    changes=measured,
    help=compress_help,
).draw()

"""Regularization: which technique helps, by how much, and is it more than luck?"""

from core.jobs import Run
from core.regularization.kind import STUDY
from core.regularization.store import EXAMPLE, STUDIES, read_study
from pages.regularization import PAGE
from pages.regularization.help import study_help
from pages.regularization.new import new_study_view
from pages.regularization.view import study_view
from pages.shared.job_page import JobPage


def news(run: Run) -> str:
    """What became of the runs of a study, where not all are well; what they found stands large below."""
    said = run.message.partition(". ")[0] if run.status == "finished" else run.message
    return "" if said.startswith(f"{run.parts} of {run.parts} runs") else said


JobPage(
    page=PAGE,
    kind=STUDY,
    param="study",
    form=new_study_view,
    read=read_study,
    result=study_view,
    examples={EXAMPLE: "Example"},
    load_example=STUDIES.load_shipped,
    message=news,
    help=study_help,
).draw()

"""`?study=<run id>` opens a study."""

from core.regularization.store import STUDIES
from pages.regularization import PAGE
from pages.shared.url import ResultUrl

STUDY = ResultUrl("study", PAGE, STUDIES.shipped_names)

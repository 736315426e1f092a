"""`?study=<run id>` opens a study."""

from core.regularization.shipped import shipped_names
from pages.regularization import PAGE
from pages.shared.url import ResultUrl

STUDY = ResultUrl("study", PAGE, shipped_names)

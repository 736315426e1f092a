"""`?recipe=<run id>` opens the results of a recipe."""

from pages.compression import PAGE
from pages.shared.url import ResultUrl

RECIPE = ResultUrl("recipe", PAGE, lambda: ("example",))

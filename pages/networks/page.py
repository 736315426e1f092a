"""Networks: those that were brought here with the box for another, and one of them."""

from core.common.errors import LabError
from pages.networks import PAGE
from pages.networks.detail import detail
from pages.networks.listing import listing
from pages.networks.upload import upload
from pages.shared.text import show_error
from pages.shared.url import choose_view

try:
    if choose_view(PAGE) == "All networks":
        if not upload():
            listing()
    else:
        detail()
except LabError as error:
    show_error(error)

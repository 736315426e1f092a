"""Datasets: a list, one of them, and photos of one's own."""

import streamlit as st

from core.common.errors import LabError
from pages.datasets import PAGE
from pages.datasets.add import add_view
from pages.datasets.detail import detail
from pages.datasets.listing import listing
from pages.shared.dataset_field import dataset_of_word
from pages.shared.text import show_error
from pages.shared.url import choose_view, set_address, write_url

OPEN = "open"
"""`?open=<word>` names a dataset."""
ALL, ADD = PAGE.views

word = st.query_params.get(OPEN)
view = choose_view(PAGE, ALL if word else None)
try:
    if view == ADD or not word:
        write_url(OPEN, OPEN, None)
        (add_view if view == ADD else listing)()
    else:
        write_url(OPEN, OPEN, word)
        if st.button(ALL, key="all-datasets", icon=":material/arrow_back:", type="tertiary"):
            set_address({"view": ALL})
            st.rerun()
        detail(dataset_of_word(word))
except LabError as error:
    show_error(error)

"""Runs: all that was trained here, side by side."""

import streamlit as st

from pages.runs import PAGE
from pages.runs.view import runs_view
from pages.shared.copy_link import page_title

page_title(PAGE.title)
st.markdown(PAGE.question)
runs_view()

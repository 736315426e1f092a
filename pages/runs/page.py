"""Runs: all that was trained here, side by side."""

import streamlit as st

from pages.runs.view import runs_view

st.title("Runs")
st.markdown("What was tried here, what did it give, and what differed?")
runs_view()

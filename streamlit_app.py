"""Bottleneck Lab in the browser: start with `make run`, or `streamlit run streamlit_app.py`."""

import streamlit as st

# The script of every visit is one folder down: with a folder called pages beside it, Streamlit starts its first session
# in the old multipage mode, which greets a cold link to any page but Home with "Page not found".
app = st.App("pages/main.py")

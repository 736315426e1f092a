"""What runs at every visit: page config, navigation, the frame. Nothing else."""

import streamlit as st

from core.devices import prepare_server

prepare_server()  # Thread counts must be set before anything imports torch.

from pages.components.frame import ICON, sidebar  # noqa: E402
from pages.components.warmup import warm_up_in_background  # noqa: E402

st.set_page_config(page_title="Bottleneck Lab", page_icon=ICON, layout="wide")

page = st.navigation(
    {
        "Overview": [
            st.Page("overview/home.py", title="Home", icon=":material/home:", default=True),
            st.Page("overview/runs.py", title="Runs", icon=":material/list_alt:", url_path="runs"),
        ],
        "Learn": [
            st.Page("learn/images.py", title="Images", icon=":material/image:", url_path="images"),
            st.Page("learn/text.py", title="Text", icon=":material/edit_note:", url_path="text"),
        ],
        "Data": [
            st.Page(
                "data/regularization.py", title="Regularization", icon=":material/balance:", url_path="regularization"
            ),
        ],
        "Trust": [
            st.Page(
                "trust/attribution.py",
                title="Attribution",
                icon=":material/center_focus_strong:",
                url_path="attribution",
            ),
        ],
        "Compute": [
            st.Page("compute/compression.py", title="Compression", icon=":material/compress:", url_path="compression"),
        ],
    }
)
sidebar()
try:
    page.run()
finally:
    warm_up_in_background()

"""What runs at every visit: page config, navigation, the frame. Nothing else."""

import streamlit as st

from core.common.devices import prepare_server

prepare_server()  # Thread counts must be set before anything imports torch.

from pages.shared.frame import ICON, sidebar  # noqa: E402
from pages.shared.warmup import warm_up_in_background  # noqa: E402

st.set_page_config(page_title="Bottleneck Lab", page_icon=ICON, layout="wide")

page = st.navigation(
    {
        "Overview": [
            st.Page("home/page.py", title="Home", icon=":material/home:", default=True),
            st.Page("runs/page.py", title="Runs", icon=":material/list_alt:", url_path="runs"),
        ],
        "Learn": [
            st.Page("images/page.py", title="Images", icon=":material/image:", url_path="images"),
            st.Page("text/page.py", title="Text", icon=":material/edit_note:", url_path="text"),
        ],
        "Data": [
            st.Page(
                "regularization/page.py", title="Regularization", icon=":material/balance:", url_path="regularization"
            ),
        ],
        "Trust": [
            st.Page(
                "attribution/page.py",
                title="Attribution",
                icon=":material/center_focus_strong:",
                url_path="attribution",
            ),
        ],
        "Compute": [
            st.Page("compression/page.py", title="Compression", icon=":material/compress:", url_path="compression"),
        ],
    }
)
sidebar()
try:
    page.run()
finally:
    warm_up_in_background()

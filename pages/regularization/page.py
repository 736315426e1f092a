"""Regularization: which technique helps, by how much, and is it more than luck?"""

import streamlit as st

from pages.shared.addresses import STUDY

st.title("Regularization")
STUDY.choose_view()
view = st.segmented_control(
    "View",
    STUDY.views,
    default=STUDY.views[0],
    required=True,
    key="view",
    bind="query-params",
    label_visibility="collapsed",
)
st.markdown("Which regularization technique helps, by how much, and is it more than luck?")

if view == "Studies":
    from pages.regularization.open import studies_view

    studies_view()
else:
    STUDY.leave()
    if view == "Example":
        from pages.regularization.open import example_view

        example_view()
    else:
        from pages.regularization.new import new_study_view

        new_study_view()

"""Regularization: which technique helps, by how much, and is it more than luck?"""

import streamlit as st

from pages.components.addresses import STUDY

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
    from pages.components.study_open import studies_view

    studies_view()
else:
    STUDY.leave()
    if view == "Example":
        from pages.components.study_open import example_view

        example_view()
    else:
        from pages.components.study_new import new_study_view

        new_study_view()

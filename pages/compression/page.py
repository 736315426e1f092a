"""Compression: how small and how fast can a checkpoint get, and what does that cost?"""

import streamlit as st

from pages.shared.addresses import RECIPE

st.title("Compression")
RECIPE.choose_view()
view = st.segmented_control(
    "View",
    RECIPE.views,
    default=RECIPE.views[0],
    required=True,
    key="view",
    bind="query-params",
    label_visibility="collapsed",
)
st.markdown("How small and how fast can a network get, and what does that cost?")

if view == "Results":
    from pages.compression.open import results_view

    results_view()
else:
    RECIPE.leave()
    if view == "Example":
        from pages.compression.open import example_view

        example_view()
    else:
        from pages.compression.new import new_recipe_view

        new_recipe_view()

"""Attribution: why did it say that, and does the map deserve belief?"""

import streamlit as st

VIEWS = ("Explain", "Compare", "Cover by hand", "Scores")
QUESTIONS = {
    "Explain": "Why did it say that? Several methods answer, each beside a measure of whether the network really used those "
    "pixels.",
    "Compare": "Does the reason change with the class that is asked for, with the network, or while it learned?",
    "Cover by hand": "What if it could not see this part? Cover it, and watch the answer move.",
    "Scores": "Which methods deserve belief, measured over many pictures and against maps that know nothing of the network?",
}

st.title("Attribution")
view = st.segmented_control(
    "View", VIEWS, default=VIEWS[0], required=True, key="view", bind="query-params", label_visibility="collapsed"
)
st.markdown(QUESTIONS[view])

if view == "Explain":
    from pages.attribution.explain import explain_view

    explain_view()
elif view == "Compare":
    from pages.attribution.compare import compare_view

    compare_view()
elif view == "Cover by hand":
    from pages.attribution.cover.view import cover_view

    cover_view()
else:
    from pages.attribution.scores import scores_view

    scores_view()

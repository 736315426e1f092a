"""Images: classify a picture, train a classifier, and see how good it is."""

import streamlit as st

VIEWS = ("Classify", "Train", "Evaluate")
QUESTIONS = {
    "Classify": "What is in this picture, and how sure is the model?",
    "Train": "Can a network learn this here, and does what it learns hold on pictures it has not seen?",
    "Evaluate": "How good is a checkpoint on pictures it never saw, and where does it fail?",
}

st.title("Images")
view = st.segmented_control(
    "View", VIEWS, default=VIEWS[0], required=True, key="view", bind="query-params", label_visibility="collapsed"
)
st.markdown(QUESTIONS[view])

if view == "Classify":
    from pages.images.view import classify_view

    classify_view()
elif view == "Train":
    from pages.shared.train_view import train_view

    train_view("images")
else:
    from pages.images.evaluate_view import evaluation_view

    evaluation_view()

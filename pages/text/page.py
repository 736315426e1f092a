"""Text: let a language model write, compare two, train one, look inside, and ask why."""

import streamlit as st

VIEWS = ("Write", "Side by side", "Train", "Inside the RNN", "Why this one")
QUESTIONS = {
    "Write": "What has a network learned that only ever guessed the next character?",
    "Side by side": "The same prompt and the same dice: what does another model, or another temperature, make of it?",
    "Train": "Can a network learn to spell, and then to sound like Shakespeare, here and now?",
    "Inside the RNN": "What does the network remember while it reads, and how far back does learning reach?",
    "Why this one": "Which characters of the prompt drove the next one?",
}

st.title("Text")
view = st.segmented_control(
    "View", VIEWS, default=VIEWS[0], required=True, key="view", bind="query-params", label_visibility="collapsed"
)
st.markdown(QUESTIONS[view])

if view == "Write":
    from pages.text.view import write_view

    write_view()
elif view == "Side by side":
    from pages.text.side_by_side_view import side_by_side_view

    side_by_side_view()
elif view == "Train":
    from pages.shared.train_view import train_view

    train_view("text")
elif view == "Inside the RNN":
    from pages.text.hidden_state_view import inside_view

    inside_view()
else:
    from pages.text.next_char_view import why_view

    why_view()

"""Words of Text / Why this one: a prompt to try it with, what the colours are, and where they mislead."""

from __future__ import annotations

import streamlit as st

from core.images.figures import percent
from pages.shared.text import escape_markdown
from pages.text.hidden_state_reach import share

NAMES = {" ": "space", "\n": "new line", "\t": "tab"}
EXAMPLE = "JULIET:\nGood night; the hour is late, and thou a"
"""`art` follows from `thou`, a word earlier: one letter more than the last few decides."""

WORDS = {
    "layer_integrated_gradients": (
        "What each character adds to the chance of the next one on the way from a text of stand-ins alone to yours: the gradient "
        "is followed through the characters' vectors (the embedding), point by point, and summed.",
        "Blue characters make the next one more likely, vermillion ones less, in bits: +1 doubles the probability, and all "
        "values sum to the difference between the two texts.",
        "A character that is the stand-in itself gets nothing, however much it matters, and another stand-in gives other values; "
        "points on the way are mixtures of characters that no text ever had.",
    ),
    "occlusion": (
        "How many bits the next character loses when one character, or a few beside each other, are replaced by the stand-in.",
        "Blue: the network needs this character for its answer; vermillion: without it the answer would be more likely.",
        "Characters that can stand in for each other all look useless, because only one goes at a time, and a stand-in in the "
        "middle of a word is itself a strange text that the network reacts to.",
    ),
}
PAPERS = {
    "layer_integrated_gradients": (
        "[Sundararajan et al. 2017](https://arxiv.org/abs/1703.01365), computed by "
        "[Captum](https://captum.ai/api/layer.html#layer-integrated-gradients)"
    ),
    "occlusion": (
        "[Zeiler & Fergus 2013](https://arxiv.org/abs/1311.2901), computed by "
        "[Captum](https://captum.ai/api/occlusion.html)"
    ),
}


def name_of(character: str) -> str:
    """For a list of characters."""
    return NAMES.get(character, character)


def spoken(character: str) -> str:
    """Markdown for a sentence."""
    return f"a {NAMES[character]}" if character in NAMES else f"“{escape_markdown(character)}”"


def likely(probability: float) -> str:
    """A probability, 0..1, for people; more digits where it is small."""
    return share(probability) if probability < 0.1 else percent(probability)


def what_is_this(method: str, title: str) -> None:
    """The folded explanation of a method and of the check below it."""
    with st.expander("What am I looking at?", icon=":material/school:"):
        st.markdown(
            f"**{title}.** {' '.join(WORDS[method])} Source: {PAPERS[method]}.\n\n"
            "**Bits.** Explained is $\\log_2 p$ of the next character. Its logit would not do: a character that raises all "
            "logits alike changes nothing in what is written.\n\n"
            "**The check.** If the values are right, replacing the characters with the largest ones must cost more probability "
            "than replacing as many at random. The harder control is to replace simply the last ones: a network of this size "
            "mostly looks at the latest characters, and who says so explains nothing. Only characters that are not the stand-in "
            "already are replaced."
        )

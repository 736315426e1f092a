"""What "How this works" says."""

from __future__ import annotations

import streamlit as st


def attention_help() -> None:
    with st.expander("How this works", icon=":material/school:", key="attention-help"):
        st.markdown(f"{HEADS}\n\n{ROLES}\n\n{ROLLOUT}\n\n{WORTH}\n\n{IMAGE}\n\n{EXPLANATION}")


HEADS = (
    "**A head** gives each character weights over itself and all characters before it; they sum to 1. It adds the weighted mean "
    "of what those characters carry to the character's own vector ([Vaswani et al.](https://arxiv.org/abs/1706.03762)). Heads "
    "and layers count from 0."
)
ROLES = (
    "**Roles** are simple rules: a head is named by one where that rule's places get at least 30% of its attention, and twice "
    "what heads of an untrained network give them. Induction looks at what followed the last three characters where they stood "
    "before ([Olsson et al.](https://arxiv.org/abs/2209.11895)). On a short text a share rests on few characters."
)
ROLLOUT = (
    "**All layers** multiplies the layers: each is the mean of its heads, half of it the residual connection "
    "([Abnar & Zuidema](https://arxiv.org/abs/2005.00928)). Feed-forward layers are left out, so it is a rough account."
)
WORTH = (
    "**What a head is worth** is the rise of the loss when what it adds is left out, on text that the network did not train on; "
    "everything after it is computed again. One head may stand in for another, so the cheapest are also removed together "
    "([Michel et al.](https://arxiv.org/abs/1905.10650)). Removing makes the network smaller for good."
)
IMAGE = (
    "**On an image** a Compact Transformer's convolutions make a token of each block of pixels. Every token attends to all, and "
    "a learned share of each is what the classifier reads. A token has seen its neighbours through the convolutions, so a block "
    "is only roughly its place. Scores of maps are those of Attribution: pixels put in and taken away in the map's order."
)
EXPLANATION = (
    "**Is it an explanation?** If attention explains an answer, other attention should give another one ([Jain & "
    "Wallace](https://arxiv.org/abs/1902.10186)). What the last character attends to is shuffled within each head; then "
    "gradient descent searches the most different attention of the last layer that keeps the answer. An answer counts as the "
    "same up to a total variation distance of 0.05. That such attention exists does not prove that the model's own is "
    "meaningless ([Wiegreffe & Pinter](https://arxiv.org/abs/1908.04626))."
)

"""How a text comes about, for Text / Write."""

from __future__ import annotations

import math

import streamlit as st

from core.checkpoints.store import CheckpointRef
from pages.shared.text import escape_markdown


def how_it_works(reference: CheckpointRef) -> None:
    """The folded explanation, with the checkpoint's own numbers."""
    card = reference.card
    with st.expander("How this works", icon=":material/school:"):
        st.markdown(
            "**One character at a time.** The model knows no dictionary and no grammar, only which character tends to follow. It"
            " reads the prompt and gives every character $k$ of its vocabulary a score $z_k$; one is drawn with probability $p_k"
            " = e^{z_k/T} / \\sum_j e^{z_j/T}$, read in turn, and so on. $T$ is the temperature: near 0 the likeliest character "
            "always wins and the text soon goes round in circles, above 1 the unlikely get their chance and words fall apart. "
            "Top-k and top-p cut off the unlikely end "
            "([Holtzman et al. 2019](https://arxiv.org/abs/1904.09751)).\n\n"
            "**Memory.** A recurrent network carries a state from character to character, "
            "$h_t = f(W_{xh} x_t + W_{hh} h_{t-1} + b)$; an LSTM guards it with gates "
            "([Hochreiter & Schmidhuber 1997](https://doi.org/10.1162/neco.1997.9.8.1735)). A Transformer looks back at the "
            "characters themselves, with attention, as far as its context reaches "
            "([Vaswani et al. 2017](https://arxiv.org/abs/1706.03762)).\n\n"
            "**Surprise.** $-\\log_2 p$ of the character that was written, at temperature 1, in bits: 0 where the model was "
            "certain, 6 where it was one guess in 64. Its mean over a text that the model never saw is the bits per character "
            "on its card, the measure of such models: lower is better.\n\n"
            "**Copied passages.** Every 20 characters of the training text are hashed. Where 20 characters of the generated text "
            "have the same hash, they are compared with the training text itself, and extended as far as both agree. Long "
            "passages are memory, not style."
        )
        loss = card.metrics.get("val_loss_nats")
        if isinstance(loss, int | float):
            count = card.metrics.get("val_characters")
            over = f" over {count:,} characters" if isinstance(count, int) else ""
            st.caption(
                f"{escape_markdown(reference.label)}: {loss:.3f} nats = {loss / math.log(2):.3f} bits per character{over} of the "
                f"validation part. {escape_markdown(card.dataset.split)}"
            )

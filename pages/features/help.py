"""What "How this works" says."""

from __future__ import annotations

import streamlit as st


def features_help() -> None:
    with st.expander("How this works", icon=":material/school:", key="features-help"):
        st.markdown(f"{IMAGE}\n\n{NUMBERS}\n\n{LAYER}\n\n{ABLATION}\n\n{QUIZ}\n\n{SURROGATE}")


IMAGE = (
    "**The optimised image** comes from gradient ascent on a Fourier spectrum, in decorrelated colours. It is moved by some "
    "pixels before each step ([Olah et al. 2017](https://distill.pub/2017/feature-visualization/)). It shows what drives the "
    "unit furthest, which no photo may look like. People predict a unit better from natural images, 92% against 82% "
    "([Borowski et al. 2020](https://arxiv.org/abs/2010.12606))."
)
NUMBERS = (
    "**The response** of a unit is the mean of its channel's map over space, in a Transformer over tokens. Of a class it is the "
    "logit. Copies of the network see the same image with int8 weights, and with the smaller half of them at zero. A network of "
    "random weights gets an image too: what looks alike there was not learned."
)
LAYER = (
    "**A channel** is dead where its response to all test images is the same, or never above 0 after a ReLU. It is redundant "
    "where it correlates with another above 0.95 in size. Its class is that of most of its 100 strongest images. "
    "Class selectivity is how much of the variance of its responses lies between classes. "
    "Colour and frequency are those of its 1% strongest images."
)
ABLATION = (
    "**Without a unit** its map is held at the mean over test images, and the same images are answered again. What it adds to a "
    "logit is the head's weight times what the head gets, less the mean over classes. Only the last layer has that."
)
QUIZ = (
    "**The quiz** takes one image of each pair from the 10 to 20% strongest, the other from the weaker half. No image is a hint, "
    "and none comes twice in one quiz. Other quizzes may show it again."
)
SURROGATE = (
    "**The surrogate** is fitted to the network's answers, not to the labels. It may use mean colours, brightness, contrast, "
    "saturation and edges by orientation. Units are the 12 with the highest class selectivity."
)

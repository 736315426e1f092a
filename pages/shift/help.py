"""What "How this works" says."""

from __future__ import annotations

import streamlit as st


def shift_help() -> None:
    with st.expander("How this works", icon=":material/school:", key="shift-help"):
        st.markdown("\n\n".join((CORRUPTIONS, FIGURES, COMPARE, WARNING, DRAWINGS, ARMS)))


CORRUPTIONS = (
    "**The corruptions** are the 15 common ones and four more of "
    "[Hendrycks & Dietterich 2019](https://arxiv.org/abs/1903.12261), at five severities, with the constants published for "
    "CIFAR-10. We use different random numbers, so figures differ slightly from the official files. "
    "Our frost is computed; the authors use photographs. On larger images, lengths in pixels grow with the shorter side. "
    "`python -m core shift corrupt` writes the images of any dataset."
)
FIGURES = (
    "**Accuracy** is of one view of each image, without test-time augmentation. The mean is over 15 corruptions × 5 severities. "
    "Intervals are over images, because each image comes back under every corruption."
)
COMPARE = (
    "**Compared** checkpoints answer the same corrupted pixels. A difference is paired by image, and all intervals of one figure "
    "hold at once with 95%. They say nothing of another training with another seed."
)
WARNING = (
    "**The warning** flags images that are probably none of the classes. Its threshold flags 5% of clean images. A warning that "
    "helps flags wrong answers more often than right ones."
)
DRAWINGS = (
    "**Renditions** are emoji of the ten classes by Google (Noto, Apache-2.0) and Twitter (Twemoji, CC BY 4.0), on white and on "
    "grey. There are few of a class, so one pooled figure counts. Its interval takes each emoji once, whoever draws it."
)
ARMS = (
    "**The arms** that ship are one network with one technique each, trained on 20,000 images with one seed. "
    "[AugMix](https://arxiv.org/abs/1912.02781) and [noise](https://arxiv.org/abs/2001.06057) are techniques of every study."
)

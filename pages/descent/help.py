"""What "How this works" says."""

from __future__ import annotations

import streamlit as st

from core.descent.optimizers import OPTIMIZERS


def descent_help() -> None:
    with st.expander("How this works", icon=":material/school:", key="descent-help"):
        st.markdown(f"{STEP}\n\n{MUON}\n\n{LIMIT}\n\n{SURFACE}\n\n**Sources.** {_sources()}")


def _sources() -> str:
    return "; ".join(f"{kind.title}: {kind.source}" for kind in OPTIMIZERS.values()) + "."


STEP = (
    "**A step.** All optimizers begin at one start and get the exact gradient of the formula; a batch size adds the same noise "
    "for all. Their arithmetic is that of `torch.optim`, with its default constants. Rates suit the function: 1/λ for gradient "
    "descent, a quarter of it with momentum, shares of the map's width for the others, which move by about their rate."
)
MUON = (
    "**Muon** orthogonalises the momentum of a matrix. A point is a 1×2 matrix with one singular value, so its step keeps the "
    "direction of the momentum and has a fixed length, about 0.7 η. It cannot slow down, and circles the minimum."
)
LIMIT = (
    "**2/λ.** Along a direction of curvature λ, a step of gradient descent multiplies the distance to the minimum by 1 − ηλ. "
    "Above η = 2/λ that is below −1, and the distance grows. For a function λ is the largest eigenvalue of its Hessian, for a "
    "network it comes from power iteration. A network's path may move to where λ is smaller, or λ may "
    "rise to 2/η and stay there: the edge of stability ([Cohen et al.](https://arxiv.org/abs/2103.00065))."
)
SURFACE = (
    "**The surface** is the loss on a plane through the weights, as the mean over a fixed sample of training images. Random "
    "directions are filter-normalised: each filter moves by its own length at coordinate 1, so that two networks can be compared "
    "([Li et al.](https://arxiv.org/abs/1712.09913)); biases stay. The path's directions are its two principal components, and "
    "the share is that of the squared movement away from the checkpoint. Batch-norm normalises by "
    "each chunk of the sample that goes through the network together."
)

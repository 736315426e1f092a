"""What "How this works" says in each view."""

from __future__ import annotations

import streamlit as st


def sum_help() -> None:
    with st.expander("How this works"):
        st.markdown(
            "A kernel of K×K weights slides over the image. Each output is the sum of weights times values:\n\n"
            "$$y[i, j] = \\sum_{c, m, n} w[c, m, n] \\cdot x[c,\\, i s + m d - p,\\, j s + n d - p] + b$$\n\n"
            "with stride $s$, padding $p$ and dilation $d$; the output has $\\lfloor (H + 2p - d(K - 1) - 1) / s \\rfloor + 1$ "
            "rows. Indices count from 0, and the kernel is not flipped, as in PyTorch. Max pooling takes the largest value in "
            "the window, average pooling the mean. Digits shown are rounded to four; the sums are computed in float64. The "
            "digits are from UCI's Optical Recognition of Handwritten Digits (Alpaydin & Kaynak 1998)."
        )


def layers_help() -> None:
    with st.expander("How this works"):
        st.markdown(
            "The receptive field follows from kernels, strides and paddings alone: a window of $k$ values with dilation $d$ "
            "adds $d(k - 1) \\cdot j$ pixels, where neighbouring units lie $j$ pixels apart; a stride $s$ makes that "
            "$j \\cdot s$ ([Araujo et al. 2019](https://distill.pub/2019/computing-receptive-fields/)). Past the sum of a "
            "residual connection it is the union of both ways. A unit cannot depend on pixels outside of it; on some inside "
            "it may hardly depend."
        )


def edit_help() -> None:
    with st.expander("How this works"):
        st.markdown(
            "The changes are made on a copy of the weights. A channel is zero after the batch norm that follows, too. Both "
            "networks answer the same test images, one view of each. McNemar's exact test asks whether the images that only "
            "one of them gets right split too unevenly for luck. Probabilities of the changed network are at the original's "
            "temperature: it is not calibrated. Anti-aliased pooling takes the maximum at every pixel, blurs with "
            "[1, 2, 1] and then strides ([Zhang 2019](https://arxiv.org/abs/1904.11486))."
        )


def shift_help() -> None:
    with st.expander("How this works"):
        st.markdown(
            "The image moves by whole pixels; what comes in at an edge mirrors what is there. A stride makes a network see "
            "other pixels after a move; a blur before it makes that gradual ([Zhang 2019](https://arxiv.org/abs/1904.11486)). "
            "Poolings are swapped in the trained network; where its convolutions stride, anti-aliasing computes them at every "
            "pixel, then blurs and strides. The weights know one way alone, so accuracy may fall: keep another pooling under "
            "Change it and train it on to compare them fairly. Consistency is the share of test images with "
            "one answer at two random shifts."
        )

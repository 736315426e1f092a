"""What "How this works" says in each view."""

from __future__ import annotations

import streamlit as st


def graph_help() -> None:
    with st.expander("How this works", icon=":material/school:", key="backprop-help"):
        st.markdown(
            "The forward pass computes every node from its operands. The backward pass starts at the result with 1. Each "
            "operation multiplies what comes from above with its local derivative, and sends the product to its operand. Where "
            "a value is used several times, what comes back is summed:\n\n"
            "$$\\frac{\\partial L}{\\partial x} = \\sum_{u} \\frac{\\partial L}{\\partial u} \\cdot "
            "\\frac{\\partial u}{\\partial x}$$\n\n"
            "Sums, products, squares and cubes equal PyTorch's bit for bit. Quotients, other powers, sin, exp and the like are "
            "rounded differently by two libraries, which may change the last of the 16 digits. A central difference "
            "$(L(x + h) - L(x - h)) / 2h$ with $h = 2^{-17} \\max(1, |x|)$ keeps about ten digits. "
            "An ulp is one step in the last place of a number. At a kink, such as relu "
            "at 0, PyTorch's rule counts: 0. Typed text is read by a small grammar and never executed."
        )


def network_help() -> None:
    with st.expander("How this works", icon=":material/school:", key="backprop-help"):
        st.markdown(
            "One image goes forward through a copy of the network in 64-bit floats, and the gradient of its cross-entropy goes "
            "back. The norm of a layer is that of the gradient by its whole output. A ReLU is dead here where its input is at "
            "most 0, a ReLU6 also from 6 on: its local derivative is 0 for this image, though another image may wake it. A "
            "weight of a convolution is used at every place of its output, so its gradient is a sum:\n\n"
            "$$\\frac{\\partial L}{\\partial w_{ocmn}} = \\sum_{i,j} \\frac{\\partial L}{\\partial y_{oij}} \\cdot "
            "x_{c,\\, is + md - p,\\, js + nd - p}$$\n\n"
            "with stride $s$, dilation $d$ and padding $p$."
        )


def depth_help() -> None:
    with st.expander("How this works", icon=":material/school:", key="backprop-help"):
        st.markdown(
            "Each layer multiplies the gradient by its weights and by the derivative of its activation. With weights of "
            "variance $g^2/n$ the gradient's mean square changes by about $g^2 \\, \\overline{f'^2}$ a layer. It stays for "
            "$g = 1$ where $f' \\approx 1$ ([Glorot & Bengio 2010](https://proceedings.mlr.press/v9/glorot10a.html)), and for "
            "$g = \\sqrt 2$ with ReLU, which stops half of it ([He et al. 2015](https://arxiv.org/abs/1502.01852)). Sigmoid's "
            "derivative is at most 1/4. Inputs and the gradient at the top are normal; no biases."
        )


def accumulation_help() -> None:
    with st.expander("How this works", icon=":material/school:", key="backprop-help"):
        st.markdown(
            "Accumulation adds the gradients of k micro-batches, then takes one step. A batch of texts has the mean loss over "
            "its characters, $L = \\frac{1}{N} \\sum_t \\ell_t$, so each micro-batch must be divided by the whole batch's N. "
            "If each is divided by its own count instead, characters of short texts weigh more "
            "([transformers issue 34191](https://github.com/huggingface/transformers/issues/34191)). Batch norm takes mean and "
            "variance from the micro-batch, so no division repairs it.\n\n"
            "Measured with a GRU of 64 units on 32 speeches of Tiny Shakespeare (of up to 100 characters), and Simple CNN with "
            "random weights on 64 images of CIFAR-10. The difference is the norm of the difference of two gradients, as a share "
            "of the whole batch's. Bits per character are on 256 held-out speeches; seeds differ in weights and batches, and are "
            "shared by all rows.\n\n"
            "What is kept between the passes is counted tensor by tensor. **Measure here** starts two processes that compute one "
            "gradient each, with one thread, and reads their peak. It also holds what layers need for a moment. "
            "`python -m core foundations accumulation --measure` measures the rest again."
        )

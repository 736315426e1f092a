"""How each view of the room works, for who unfolds it."""

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
            "One ulp is the spacing of 64-bit floats at that number. Sums, products and powers agree with PyTorch bit for bit; "
            "sin, exp, tanh and the like are rounded by another library, which may leave a few ulp. A central difference "
            "$(L(x + h) - L(x - h)) / 2h$ with $h = 2^{-17} \\max(1, |x|)$ keeps about ten digits. At a kink, such as relu "
            "at 0, PyTorch's rule counts: 0. Typed text is read by a small grammar and never executed."
        )

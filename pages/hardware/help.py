"""What "How this works" says, and the guide to processors that were not measured here."""

from __future__ import annotations

import streamlit as st


def hardware_help() -> None:
    with st.expander("How this works", icon=":material/school:", key="hardware-help"):
        st.markdown("\n\n".join((GRID, SPEED, ANSWERS, EXPECTED, ROOF, TAKEN, LIMITS)))


def guide_view() -> None:
    st.markdown("## Measure the processor you have before you buy another one")
    st.caption("General knowledge, not measurements: nothing on this view was measured here.")
    for title, text in GUIDE.items():
        with st.container(border=True):
            st.markdown(f"**{title}**")
            st.markdown(text)


GRID = (
    "**The grid** crosses precision, runtime, threads, memory layout and batch size. Each cell runs in a separate "
    "process: a crash, a hang or a lack of memory ends that cell only. One cell computes at a time; the "
    "others wait."
)
SPEED = (
    "**Speed** is measured in rounds, each cell once a round. Times are of the network alone: normalised images to "
    "logits, or one training step with its data. A factor is the median over rounds against the default in the same "
    "round, with the smallest and the largest. The default is PyTorch in float32 with all cores and nothing else set."
)
ANSWERS = (
    "**Accuracy** is on the same test images for all cells, with a paired 95% interval of the difference. The logit "
    "difference is the largest one to the default. A cell of training is asked after five steps from the checkpoint, "
    "which cannot show what whole training in that precision gives."
)
EXPECTED = (
    "**Expected** are ranges by rules of thumb, from the instructions that the processor has. Where it has none for "
    "bfloat16 or float16, PyTorch imitates them: matrix products in bfloat16 were reported to take 44 to 499 times as "
    "long. Such cells are capped."
)
ROOF = (
    "**The roofline** ([Williams et al. 2009](https://doi.org/10.1145/1498765.1498785)) is what this machine can do at "
    "best: a large matrix product, and a copy that fits in no cache. A layer below the slope waits for memory, one "
    "below the flat part for arithmetic. Layers are timed alone with their inputs just used, so one that fits in a "
    "cache may lie above the slope."
)
TAKEN = (
    "**Use this** names the fastest cell whose slowest round beats the fastest round of the default, by at least 5%, "
    "and whose loss of accuracy is within its interval. Of cells that cannot be told apart, it takes the one with the "
    "fewest changes."
)
LIMITS = (
    "**Not tried:** CUDA, Apple GPUs and energy counters. The code is there, but no such hardware was at hand. JAX and "
    "Keras are not measured, because they do not run PyTorch checkpoints."
)
GUIDE = {
    "GPU": (
        "A GPU has many times the arithmetic and memory bandwidth of a processor. That pays off for large batches and "
        "large networks. On small networks with one image at a time, its launch and copy overhead can make it"
        " slower. Use bfloat16 from compute capability 8.0 and float16 from 7.0, and compare with this grid on that "
        "machine."
    ),
    "TPU": (
        "A TPU is built for large matrix products in bfloat16. Programs reach it through a compiler (XLA), mostly from "
        "JAX. It wants fixed shapes and large batches; each new shape compiles anew. Your checkpoint would have to"
        " be written again for it, so it pays for long training of large models."
    ),
    "FPGA": (
        "An FPGA runs the network as a circuit, usually in int8 or fewer bits. Latency is low and steady, and so is "
        "power. Development takes weeks instead of minutes, and the network must fit on the chip. It "
        "pays where a fixed small network has to answer within microseconds, or where power is scarce."
    ),
}

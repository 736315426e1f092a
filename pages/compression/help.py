"""How checkpoints are compressed and how it is proved, in short."""

from __future__ import annotations

import streamlit as st


def compress_help() -> None:
    with st.expander("How this works", icon=":material/school:", key="compress-help"):
        st.markdown("\n\n".join((STORED, ZEROS, MEASURED, METHODS)))


STORED = (
    "**Stored and running are two sizes.** *Stored* is the checkpoint's weights file on disk, as you would send or keep it. "
    "*File that runs* is the ONNX file that a runtime loads. float16, clustering and Huffman coding make the stored file "
    "small; to run, the weights become float32 again, as large and as fast as before. Pruned channels, low rank, int8 and "
    "students make both small."
)
ZEROS = (
    "**Why zeros do not speed anything up.** A convolution multiplies a dense block of numbers, and a zero among them is "
    "multiplied like any other: skipping it would cost more than it saves, unless nearly all are zero and the runtime is made "
    "for it. So pruning single weights helps the coded file alone, and only whole channels make a network faster."
)
MEASURED = (
    "**How it is measured.** Every variant goes through one procedure. Speed: in PyTorch and in ONNX Runtime, the variant in "
    "turn with the original, A B A B, after a warm-up, so that a busy minute hits both; medians and 95th percentiles. What is "
    "compared is the ratio within these rounds, never milliseconds of another hour. Accuracy: on all test images, one view of "
    "each (no test-time augmentation, which would multiply the cost that was saved), so it may be lower than the figure on the "
    "card. Its interval is Wilson's, 95%. The change against the original rests on the same images: with $b$ that only the "
    "original gets right and $c$ that only the variant does, [McNemar's](https://doi.org/10.1007/BF02295996) exact test asks "
    "how likely so uneven a split of $b + c$ is by luck. The test images are those that the winner is chosen by, so of many "
    "variants the best looks a little better than it is."
)
METHODS = (
    "**The methods**\n"
    "- **Prune weights.** Weights with $|w| \\le \\tau$ become 0, $\\tau$ chosen for the share that is asked for. While "
    "training, the share grows as $s_t = s\\,(1 - (1 - t/T)^3)$. [Han et al. 2015](https://arxiv.org/abs/1506.02626), "
    "[Zhu & Gupta 2017](https://arxiv.org/abs/1710.01878). A *lottery ticket* sets the kept weights back to where they began: "
    "[Frankle & Carbin 2019](https://arxiv.org/abs/1803.03635).\n"
    "- **Prune channels.** Those with the least $\\sum |w|$ (or least change of the loss, $|g\\,w|$, or least batch-norm scale) "
    "are cut out of the network with all that depends on them: [DepGraph](https://arxiv.org/abs/2301.12900).\n"
    "- **Low rank.** $W \\approx U_r \\Sigma_r V_r^\\top$ as two thin layers, $r$ the least with "
    "$\\sum_{i \\le r} \\sigma_i^2 \\ge$ the energy kept: [Denton et al. 2014](https://arxiv.org/abs/1404.0736).\n"
    "- **int8.** $q = \\mathrm{round}(w / s)$ in 8 bits with a scale $s$ for each output channel; ranges of activations measured "
    "on training images. Trained for it, the rounding is in the forward pass and its gradient passes straight through: "
    "[Jacob et al. 2018](https://arxiv.org/abs/1712.05877).\n"
    "- **Distill.** The student minimises $(1-\\alpha)\\,H(y, p) + \\alpha\\,T^2\\,KL(p^T_\\text{teacher} \\,\\|\\, "
    "p^T_\\text{student})$, probabilities at temperature $T$: [Hinton et al. 2015](https://arxiv.org/abs/1503.02531). A "
    "control without teacher, with equal seeds and steps, shows what the teacher added.\n"
    "- **Cluster and Huffman.** The weights of a layer share $2^b$ values (k-means); frequent values get short codes, zeros are "
    "left out: [Deep Compression](https://arxiv.org/abs/1510.00149)."
)

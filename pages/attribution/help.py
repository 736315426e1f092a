"""How maps are made and measured, in short."""

from __future__ import annotations

import streamlit as st


def attribution_help() -> None:
    """The folded explanation of maps and of what is measured of each."""
    with st.expander("How this works", icon=":material/school:", key="attribution-help"):
        st.markdown("\n\n".join((MAPS, BASELINES, BELIEF, CONTROLS, MORE)))


def scores_help() -> None:
    """The folded explanation of the report."""
    with st.expander("How this works", icon=":material/school:", key="scores-help"):
        st.markdown("\n\n".join((BELIEF, CONTROLS, MORE, REPORT)))


MAPS = (
    "**Maps.** Each method gives every pixel a number for one class: how much it counts for that class's score $z_c$ (the "
    "logit, before it becomes a probability). Blue supports the class, vermillion speaks against it; methods that cannot tell "
    "the two apart are green. Guided Backprop and Guided Grad-CAM are slopes: blue where a brighter pixel would raise the "
    "score, vermillion where it would lower it. All maps are computed by [Captum](https://captum.ai) on a copy of the network, "
    "from one view of the image, and shown as the pixels that there are. Each has its own scale: compare places of two "
    "maps, not colours."
)
BASELINES = (
    "**Baseline.** Some methods ask what the image adds to one with nothing in it, others cover pixels with it. What nothing "
    "looks like is a choice: black, the mean colour, the image blurred, random colours. A pixel that is as in the baseline "
    "gets no value, however much it matters."
)
BELIEF = (
    "**Insertion and deletion.** If a map is right, the pixels it calls most important should carry the answer. They are put "
    "onto a baseline (insertion) or replaced by it (deletion), a sixteenth of the image at a time, and the class's "
    "probability $p$ is watched over the share $s$ that went. The area under each curve is $A = \\int_0^1 p(s)\\, ds$, and "
    "the score is $A_{\\text{insertion}} - A_{\\text{deletion}}$, from −1 to 1 "
    "([Petsiuk et al. 2018](https://arxiv.org/abs/1806.07421)). Both go to the same baselines, the mean colour and a blurred "
    "copy, and the curves are the mean of the two: so a random order scores 0 "
    "([Blücher et al. 2024](https://arxiv.org/abs/2401.06654)). A pixel counts by the size of its values, for or against, "
    "smoothed over its neighbours. **For and against** is the score of the signed order, for maps whose sign says that. Both "
    "curves show the network images that it was never trained on, so a score compares maps and is no truth about the network."
)
CONTROLS = (
    "**Controls.** A random map (the mean of three), an edge detector (Sobel's, of the image alone) and a blob in the centre "
    "(most photographs have their subject there) know nothing of the network. An edge map looks as convincing as many an "
    "explanation. A map that does not score above all three is labelled with the simplest one that it fails to beat: do not "
    "take it for evidence. One more control is the method's own map of **another image**: where that scores as well, the map "
    "is hardly about this one."
)
MORE = (
    "**Infidelity.** Random squares of the image are covered, and the fall of the logit is compared with the sum of the map's "
    "values in there, the map scaled at its best: the mean squared error as a share of the mean squared fall. 0 foretells "
    "exactly, 1 is no better than a map of zeros. **Max-sensitivity.** The largest change of the map, as a share of itself, "
    "among images that differ too little to see ([both: Yeh et al. 2019](https://arxiv.org/abs/1901.09392)). "
    "**Completeness gap.** Values of some methods must sum to the logit's rise over the baseline, "
    "$\\sum_i a_i = z_c(x) - z_c(x')$; the gap is by how much they miss it "
    "([Sundararajan et al. 2017](https://arxiv.org/abs/1703.01365)). **Shuffled layers.** A map that stays the same when the "
    "weights are shuffled does not show what was learned ([Adebayo et al. 2018](https://arxiv.org/abs/1810.03292))."
)
REPORT = (
    "**The report.** One image proves little: a blob in the centre beats most methods where the subject fills the centre. So "
    "all methods explain the predicted class of many test images drawn at random. Intervals are Student's, over images; they "
    "do not cover another training seed. Methods and controls are compared on the same images, and the level is shared among "
    "all comparisons: with 95%, none at all is called better by luck."
)

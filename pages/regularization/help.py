"""How a study is made and judged, in short."""

from __future__ import annotations

import streamlit as st

from core.regularization.techniques import TECHNIQUES


def study_help() -> None:
    with st.expander("How this works", icon=":material/school:", key="study-help"):
        st.markdown(f"{FAIR}\n\n{VERDICT}\n\n{WORTH}\n\n**The techniques**\n\n{_techniques()}")


def _techniques() -> str:
    return "\n".join(f"- **{kind.title}.** {kind.how} [{kind.paper}]({kind.url})" for kind in TECHNIQUES.values())


FAIR = (
    "**Fair.** All runs have the same number of steps, batch size and learning-rate schedule. Runs of one seed share their "
    "initial weights, their training images and the order in which they see them; a larger training set contains the smaller "
    "ones. None of the techniques below is on in the runs called *No regularization* (Fast ResNet and ResNet-18 have batch-norm "
    "built in). Learning rate and number of steps suit those runs, and a verdict is for this budget: a technique that learns "
    "more slowly may need more steps, and a rate that falls to 0 leaves little for averaging or stopping early. The strength "
    "of a technique is chosen on validation, as the best mean over seeds. The test images are looked at once, when all runs "
    "are over, and only for what was chosen; whoever adds seeds because of what was seen there gives up the 95%. "
    "The *gap* compares plain training images, as they are without augmentation, with images that were never trained on."
)
VERDICT = (
    "**The verdict.** An arm is compared with no regularization seed by seed, so that what a seed does to both cancels: with "
    "accuracies $a_s$ and $b_s$ of seed $s$, the effect is $\\bar d = \\frac1n \\sum_s (a_s - b_s)$, and its interval "
    "$\\bar d \\pm c \\sqrt{v/n}$. $v$ is the largest of three estimates of the variance of a difference (what the model "
    "arm + seed leaves unexplained, the mean within arms, the arm's own), since with a few seeds nobody can tell whether arms "
    "spread alike. $c$ is from [Dunnett's distribution (1955)](https://doi.org/10.1080/01621459.1955.10501294) for all arms "
    "against one baseline, at the level that [Šidák (1967)](https://doi.org/10.1080/01621459.1967.10482935) gives for several "
    "training-set sizes. So all intervals of a study hold at once with 95% probability if arms spread alike (simulated: about "
    "90% if the baseline spreads twice as much as 14 arms): *helps* and *hurts* are said where an interval leaves out zero, "
    "*within seed noise* where it does not. One seed says nothing about luck, and gets no verdict. The luck that is meant is "
    "that of the seed: all seeds are measured on the same test images, and how the difference would come out on other "
    "images is not in the interval. On 10,000 of them that is some tenths of a point; on a few hundred it is more than all "
    "else."
)
WORTH = (
    "**Worth in images.** How many training images the baseline needs to be as good, read off a straight line between its "
    "measured sizes on a logarithmic axis; said only of what helps. It is a rough figure where two sizes lie far apart."
)

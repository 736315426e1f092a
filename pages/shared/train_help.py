"""What training does, in short: for Images / Train and Text / Train."""

from __future__ import annotations

import streamlit as st


def train_help(task: str) -> None:
    with st.expander("How this works", icon=":material/school:"):
        st.markdown(HELP[task] + RESUME)


RESUME = (
    "\n\n**A run goes on** without the page: come back by its address or from Runs, stop it, and resume it exactly where it "
    "was. Every page can use its checkpoint from the first evaluation on."
    "\n\n**Resume.** A run saves weights, optimizer, averages and its place in the data when it is stopped, every minute, "
    "and at the end of an epoch (less often where epochs are so short that saving would cost over 5% of the time). All "
    "that is random follows from the seed and the step, so no random state has to be kept, and on a CPU a resumed "
    "run ends in the very same weights.\n\n"
    "**Snapshots.** Besides its best and its last weights, a run can keep those of the untrained network and of some "
    "evaluations on the way, so that one can compare what it looked at early and late. Each is a separate checkpoint, named "
    "`<run id>/epoch-3`, not calibrated, and as large as the last one; they change nothing of the training."
)
HELP = {
    "images": (
        "**What training does.** For a batch of $B$ images the network gives scores $z$; the loss is the mean "
        "cross-entropy $-\\frac{1}{B}\\sum_i \\log p_{i,y_i}$ in nats, with $p = \\mathrm{softmax}(z)$. Guessing among ten "
        "classes costs $\\ln 10 \\approx 2.303$ nats. The optimizer moves the weights against the gradient, step by step; "
        "one epoch shows every training image once.\n\n"
        "**The gap.** 5,000 of the 50,000 training images are held out. Where training gets better and this validation "
        "set does not, the network is learning its images by heart: the shaded gap. Flips, shifts, weight decay and "
        "averaged weights narrow it. Choices are made on validation; the 10,000 test images are for the report only.\n\n"
        "**Starting from learned weights.** A network that learned from a million ImageNet photos already knows edges, fur and "
        "wheels. *Train the last layer only* computes its features once and fits a linear classifier on them, in seconds; "
        "*fine-tuning* lets all layers move, the body at a tenth of the rate. Few photos ask for the first "
        "([Kornblith et al. 2019](https://arxiv.org/abs/1805.08974)).\n\n"
        "**The recipes.** Fast ResNet follows [Jordan 2024, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU]"
        "(https://arxiv.org/abs/2404.00498); Muon is described at [kellerjordan.github.io/posts/muon]"
        "(https://kellerjordan.github.io/posts/muon/); averaged weights in [Izmailov et al. 2018]"
        "(https://arxiv.org/abs/1803.05407); ResNet-18 in [He et al. 2015](https://arxiv.org/abs/1512.03385)."
    ),
    "generation": (
        "**What training does.** Each training image $x$ is mixed with noise $\\varepsilon$ at a random time $t$: "
        "$x_t = (1 - t)\\,\\varepsilon + t\\,x$. The network sees $x_t$, $t$ and the class, and learns the velocity "
        "$x - \\varepsilon$ of that straight path by squared error. Predicting zero gives about 2, because noise and normalised "
        "images have variance 1 each; no network reaches 0, because many paths cross one point "
        "([Lipman et al. 2022](https://arxiv.org/abs/2210.02747)).\n\n"
        "**How it makes images.** It starts from noise at $t = 0$ and follows its own velocities to $t = 1$ in a few steps. The "
        "error says how well it learns; how good the images are is measured under *Evidence*."
    ),
    "text": (
        "**What training does.** At every place of the text the network gives each character of the vocabulary a probability "
        "for being the next one; the loss is the mean of $-\\log p$ of the one that came, in nats (divided by $\\ln 2$: bits "
        "per character). Knowing nothing costs $\\ln 65 \\approx 4.17$ nats on Shakespeare, knowing how often each character "
        "occurs about 3.3, spelling most words right about 1.6.\n\n"
        "**Back through time.** The text is read in a few streams side by side, a window at a time. Gradients go back to the "
        "window's edge and no further (truncated back-propagation, [Williams & Peng 1990]"
        "(https://doi.org/10.1162/neco.1990.2.4.490)); the state of a recurrent network is carried on. Long products of "
        "Jacobians explode, so gradients are clipped, or vanish, which the LSTM's gates are for "
        "([Pascanu et al. 2012](https://arxiv.org/abs/1211.5063)).\n\n"
        "**The gap.** The first 90% of the characters train, the last 10% validate. Dropout between layers, the same mask along "
        "time ([Gal & Ghahramani 2015](https://arxiv.org/abs/1512.05287)) or on the recurrent weights "
        "([Merity et al. 2017](https://arxiv.org/abs/1708.02182)) keeps the network from learning its text by heart. The "
        "checkpoint that is kept is the one with the least validation loss, which flatters that figure a little."
    ),
}

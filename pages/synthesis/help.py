"""What a generator is and how its images are judged, in short."""

from __future__ import annotations

import streamlit as st


def synthesis_help() -> None:
    with st.expander("How this works", icon=":material/school:"):
        st.markdown(HELP)


HELP = (
    "**Flow matching.** A network learns the velocity of straight paths from noise to training images; to make an image it "
    "follows its own velocities from noise, with Heun's method "
    "([Lipman et al. 2022](https://arxiv.org/abs/2210.02747)). *Guidance* pushes away from what it would do without a class "
    "([Ho & Salimans 2022](https://arxiv.org/abs/2207.12598)): clearer images, fewer kinds of them.\n\n"
    "**Distance.** The Fréchet distance between the features that our own Fast ResNet computes of generated and of real "
    "images ([Heusel et al. 2017](https://arxiv.org/abs/1706.08500)). It is not the published FID, which uses Inception. "
    "Its floor is the distance between two halves of the real images.\n\n"
    "**Copies.** The nearest training image of each generated one, mirrored or not, in pixels and in features. What counts is "
    "how much nearer it is than the next 50. New real images are the control: 1% of them set the limit. CIFAR-10 itself has "
    "near-duplicates between its training and test images "
    "([Barz & Denzler 2020](https://arxiv.org/abs/1902.00423)).\n\n"
    "**Worth.** A classifier that trains on generated images alone and is tested on real ones gives the classification "
    "accuracy score ([Ravuri & Vinyals 2019](https://arxiv.org/abs/1905.10887)). Adding as many *real* images instead is the "
    "control. The generator has seen all its training images with their labels, so with fewer real images than that, what it "
    "adds is not new: it is what it remembers."
)

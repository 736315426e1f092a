"""What "How this works" says."""

from __future__ import annotations

import streamlit as st


def augmentation_help() -> None:
    with st.expander("How this works", icon=":material/school:", key="augmentation-help"):
        st.markdown(f"{PIPELINE}\n\n{AFFINITY_HELP}\n\n{LOSS}\n\n{CLASSES}\n\n{FORECAST}")


PIPELINE = (
    "**A pipeline** is a list of torchvision's transforms. Each image is drawn anew in each epoch, from the seed and the epoch. "
    "The images here come from the trainer's own code. A strength of 0 changes nothing."
)
AFFINITY = "accuracy on changed test images minus that on plain ones; 0 = the network notices nothing."
ADDED_LOSS = (
    "how much more training images surprise the network once they are changed, in nats (surprise in natural logarithms). More "
    "means more diversity: images that are new to it."
)
AFFINITY_HELP = (
    "**Affinity** is the accuracy of a trained network on augmented test images, minus that on plain ones "
    "([Gontijo-Lopes et al. 2020](https://arxiv.org/abs/2002.08973)). It says how far the images left what the network knows."
)
LOSS = (
    "**Added loss** is the network's loss on augmented training images, minus that on plain ones. It stands in for diversity, "
    "which is the final loss of a network that was trained on them, and costs no training."
)
CLASSES = (
    "**A class is hidden** where its accuracy surely falls by more than 20 points. That is the network's view: a person may "
    "still see the class. The intervals hold for all classes, transforms and strengths at once."
)
FORECAST = (
    "**The forecast** is a ridge regression of measured gains on affinity, added loss and their product. Its error is measured "
    "on pipelines that share no transform with those it was fitted on. The control always says their mean gain."
)

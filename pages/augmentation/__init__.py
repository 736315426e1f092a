"""Augmentation: a pipeline on an image, its effect on a network, and a forecast that is scored."""

from pages.shared.registry import Page

PAGE = Page(
    name="augmentation",
    title="Augmentation",
    icon=":material/auto_awesome_motion:",
    section="Data",
    question="Which changes of the images help?",
    views={
        "Pipeline": "What does the network see of my image?",
        "Effect": "Which transforms confuse a network, and which class suffers?",
        "Forecast": "What will this pipeline bring, and what did it bring?",
        "New map": "What does each transform do to a checkpoint?",
        "Maps": "The maps of this machine.",
    },
)

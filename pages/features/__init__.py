"""What has a network learned, unit by unit?"""

from pages.shared.registry import Page

PAGE = Page(
    name="features",
    title="Features",
    icon=":material/neurology:",
    section="Trust",
    question="What has it learned?",
    views={
        "Unit": "What drives this unit, and how far can you believe its image?",
        "Layer": "What does each channel of a layer look for?",
        "Quiz": "Do you understand this unit? Predict which image excites it more.",
        "Surrogate": "Can a few simple rules imitate the network?",
        "New gallery": "What do many channels of a layer look for?",
        "Galleries": "The galleries of this machine.",
    },
)

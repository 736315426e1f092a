"""Images that a generator makes, whether they are copies, and what they are worth as training data."""

from pages.shared.registry import Page

PAGE = Page(
    name="synthesis",
    title="Synthesis",
    icon=":material/palette:",
    section="Data",
    question="Can a network make its own training images?",
    views={
        "Images": "What does a generator make of noise?",
        "From noise": "How does noise become an image, and is it a copy?",
        "Worth": "Do generated images help to train a classifier?",
        "Train": "How does a generator learn?",
        "Evidence": "How close are its images to real ones, and are they copies?",
        "New set": "Which images are to be made and measured?",
        "Sets": "Sets of images made here.",
    },
)

"""Classify an image, train a classifier, and see how good it is."""

from pages.shared.registry import Page

PAGE = Page(
    name="images",
    title="Images",
    icon=":material/image:",
    section="Learn",
    question="What is in this image?",
    views={
        "Classify": "What is in this image, and how sure is the model?",
        "Train": "Can a network learn this here, and does what it learns hold on images it has not seen?",
        "Evaluate": "How good is a checkpoint on images it never saw, and where does it fail?",
    },
)

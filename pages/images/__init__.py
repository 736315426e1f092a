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
        "Train": "Does what a network learns here hold on new images?",
        "Evaluate": "How good is a checkpoint on new images, and where does it fail?",
    },
)

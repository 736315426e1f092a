"""What a Transformer attends to, what its heads are worth, and whether that explains its answer."""

from pages.shared.registry import Page

PAGE = Page(
    name="attention",
    title="Attention",
    icon=":material/visibility:",
    section="Trust",
    question="What does it look at?",
    views={
        "Heads": "What does each head look at? Choose one, and point at a character.",
        "What heads do": "What does each head do, and what is lost without it?",
        "On an image": "Which parts of an image attend to which, and what reaches the answer?",
        "Is it an explanation?": "Would other attention give the same answer?",
        "New measurement": "What do the heads of your checkpoint do?",
        "Measurements": "The measurements of this machine.",
    },
)

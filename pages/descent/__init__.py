"""How does a network get down, and where does it break?"""

from pages.shared.registry import Page

PAGE = Page(
    name="descent",
    title="Gradient descent",
    icon=":material/downhill_skiing:",
    section="Foundations",
    question="How does it get down?",
    views={
        "Optimizers": "Which optimizer gets down, and what does it do in this step?",
        "Divergence": "At which learning rate does gradient descent break?",
        "Surface": "What does the loss look like around a trained network?",
        "New surface": "What does the loss look like around your checkpoint?",
        "Surfaces": "The surfaces of this machine.",
    },
)

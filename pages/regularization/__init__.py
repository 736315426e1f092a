"""Which technique helps, by how much, and is it more than luck?"""

from pages.shared.registry import Page

PAGE = Page(
    name="regularization",
    title="Regularization",
    icon=":material/balance:",
    section="Data",
    question="Which technique helps?",
    views=dict.fromkeys(("Example", "New study", "Studies"), "Which technique helps by more than luck?"),
)

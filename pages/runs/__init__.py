"""All that was trained here, side by side."""

from pages.shared.registry import Page

PAGE = Page(
    name="runs",
    title="Runs",
    icon=":material/list_alt:",
    section="Overview",
    question="What was tried here, what did it give, and what differed?",
)

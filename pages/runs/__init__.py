"""All that was trained here, side by side."""

from pages.shared.registry import Page

PAGE = Page(
    name="runs",
    title="Runs",
    icon=":material/list_alt:",
    section="Overview",
    question="Every run: settings, results, differences.",
)

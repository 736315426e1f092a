"""Networks that were trained elsewhere: what is here, and one of them."""

from pages.shared.registry import Page

PAGE = Page(
    name="networks",
    title="Networks",
    icon=":material/hub:",
    section="Data",
    question="What does the lab say of a network I trained elsewhere?",
    views={
        "All networks": "Bring an ONNX file or weights, and put them through every page.",
        "One network": "What is it made of, and which pages can it go through?",
    },
)

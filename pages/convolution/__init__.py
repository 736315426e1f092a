"""The sum behind a convolution, and what it makes a network see."""

from pages.shared.registry import Page

PAGE = Page(
    name="convolution",
    title="Convolution",
    icon=":material/grid_on:",
    section="Foundations",
    question="What does a convolution compute?",
    views={
        "One sum": "Which numbers make one output? Point at it.",
        "Through a network": "What does each layer see, and where?",
        "Change it": "What if this kernel, channel or pooling were another?",
        "Shift": "Does the answer stay when the image moves by a pixel?",
    },
)

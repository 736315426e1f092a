"""Where gradients come from: in a graph, through a network, and over micro-batches."""

from pages.shared.registry import Page

PAGE = Page(
    name="backprop",
    title="Backpropagation",
    icon=":material/undo:",
    section="Foundations",
    question="Where does each gradient come from?",
    views={
        "Graph": "How does the chain rule find a gradient? Click a node.",
        "Network": "How much gradient reaches each layer, and each weight?",
        "Depth": "Where does the gradient vanish, or explode?",
        "Accumulation": "Are k micro-batches the same as one batch?",
    },
)

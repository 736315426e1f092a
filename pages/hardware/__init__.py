"""Which settings make a checkpoint fast on this machine, and what does each cost?"""

from pages.shared.registry import Page

PAGE = Page(
    name="hardware",
    title="Hardware",
    icon=":material/memory:",
    section="Compute",
    question="Which settings make it fast on this machine?",
    views={
        "Example": "What did each setting bring on one machine?",
        "Roofline": "What limits each layer: arithmetic or memory?",
        "Compare": "How do two machines differ?",
        "Guide": "When is a GPU, a TPU or an FPGA worth it?",
        "New grid": "What does each setting bring here?",
        "Grids": "The grids of this machine.",
    },
)

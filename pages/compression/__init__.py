"""How small and how fast can a checkpoint get, and what does that cost?"""

from pages.shared.registry import Page

PAGE = Page(
    name="compression",
    title="Compression",
    icon=":material/compress:",
    section="Compute",
    question="How small can it get?",
    views=dict.fromkeys(("Example", "New recipe", "Results"), "How small can it get, and how fast?")
    | {"Export": "How does it run without this app?"},
)

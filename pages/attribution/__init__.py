"""Why did it say that, and does the map deserve belief?"""

from pages.shared.registry import Page

PAGE = Page(
    name="attribution",
    title="Attribution",
    icon=":material/center_focus_strong:",
    section="Trust",
    question="Why did it say that?",
    views={
        "Explain": "Why did it say that, and did it really use those pixels?",
        "Compare": "Does the reason change with the class, the network or the epoch?",
        "Cover by hand": "What if it could not see this part? Cover it, and watch the answer change.",
        "Scores": "Which methods beat the controls over many images?",
    },
)

"""Why did it say that, and does the map deserve belief?"""

from pages.shared.registry import Page

PAGE = Page(
    name="attribution",
    title="Attribution",
    icon=":material/center_focus_strong:",
    section="Trust",
    question="Why did it say that?",
    views={
        "Explain": "Why did it say that? Several methods answer, each beside a measure of whether the network really used "
        "those pixels.",
        "Compare": "Does the reason change with the class that is asked for, with the network, or while it learned?",
        "Cover by hand": "What if it could not see this part? Cover it, and watch the answer move.",
        "Scores": "Which methods deserve belief, measured over many images and against maps that know nothing of the "
        "network?",
    },
)

"""How far does a network fall on images that differ from those it learned from?"""

from pages.shared.registry import Page

PAGE = Page(
    name="shift",
    title="Shift",
    icon=":material/foggy:",
    section="Data",
    question="Does it generalize to other images?",
    views={
        "Checkpoints": "How far do the shipped networks fall when images are blurred or noisy?",
        "Compare": "What does int8, pruning or a technique cost in robustness?",
        "Your image": "At which corruption does the answer to your image change?",
        "Renditions": "Does it know the same things drawn, or in new photos?",
        "New measurement": "How far do checkpoints of yours fall?",
        "Measurements": "The measurements of this machine.",
    },
)

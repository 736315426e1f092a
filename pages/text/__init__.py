"""Let a language model write, compare two, train one, look inside, and ask why."""

from pages.shared.registry import Page

PAGE = Page(
    name="text",
    title="Text",
    icon=":material/edit_note:",
    section="Learn",
    question="What comes next?",
    views={
        "Write": "What does a model write that predicts one character at a time?",
        "Side by side": "How do two models, or two temperatures, continue the same prompt?",
        "Train": "Can a network learn here to spell, and to sound like Shakespeare?",
        "Inside the RNN": "What does the network remember while it reads, and how far back does learning reach?",
        "One step": "What does one unit compute as one character is read?",
        "Why this one": "Which characters of the prompt drove the next one?",
    },
)

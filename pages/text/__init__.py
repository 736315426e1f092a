"""Let a language model write, compare two, train one, look inside, and ask why."""

from pages.shared.registry import Page

PAGE = Page(
    name="text",
    title="Text",
    icon=":material/edit_note:",
    section="Learn",
    question="What comes next?",
    views={
        "Write": "What has a network learned that only ever guessed the next character?",
        "Side by side": "The same prompt and the same dice: what does another model, or another temperature, make of it?",
        "Train": "Can a network learn to spell, and then to sound like Shakespeare, here and now?",
        "Inside the RNN": "What does the network remember while it reads, and how far back does learning reach?",
        "Why this one": "Which characters of the prompt drove the next one?",
    },
)

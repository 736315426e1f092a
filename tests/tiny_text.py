"""A play made from a seed: speakers, verses and quotes with so little in them that a small network learns some in seconds."""

from __future__ import annotations

import random
from pathlib import Path

SPEAKERS = ("ANNA", "BRUNO", "CLARA", "THE MILLER")
NOUNS = ("river", "lantern", "apple", "winter", "kettle", "garden", "ladder")
ADJECTIVES = ("quiet", "golden", "crooked", "late", "small", "honest")
VERBS = ("follows", "remembers", "carries", "forgets", "mends")
OPENINGS = ("Well, ", "Listen: ", "And yet ", "", "", "")
ENDINGS = (".", ".", "!", "?", ";")


def play(characters: int, seed: int = 0) -> str:
    """Exactly `characters` characters of it, ASCII; the same on every machine and version of Python."""
    chance = random.Random(seed)

    def one_of(words: tuple[str, ...]) -> str:
        return words[int(chance.random() * len(words))]  # random() is the one stream that Python never changes

    def thing() -> str:
        return f"the {one_of(ADJECTIVES)} {one_of(NOUNS)}" if chance.random() < 0.6 else f"the {one_of(NOUNS)}"

    def verse() -> str:
        line = f"{one_of(OPENINGS)}{thing()} {one_of(VERBS)} {thing()}{one_of(ENDINGS)}"
        if chance.random() < 0.15:
            line = f"'{line[0].upper()}{line[1:]}' says {one_of(SPEAKERS).title()}."
        return line[0].upper() + line[1:]

    parts: list[str] = []
    length = 0
    while length < characters:
        verses = "\n".join(verse() for _ in range(1 + int(chance.random() * 4)))
        parts.append(f"{one_of(SPEAKERS)}:\n{verses}\n\n")
        length += len(parts[-1])
    return "".join(parts)[:characters]


def write_text(folder: Path, characters: int = 20_000, seed: int = 0) -> Path:
    """Write the play into `folder`; its dataset name is `text:<path>`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"play-{characters}-{seed}.txt"
    path.write_bytes(play(characters, seed).encode())
    return path

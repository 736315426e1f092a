"""From bytes to a text dataset: decoding files of unknown origin, the vocabulary, tokens, and the split."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from core.common.errors import LabError
from core.common.values import one_line
from core.data.dataset import UNKNOWN, TextCard, TextDataset
from core.data.encodings import EncodingError, decode, guess_encoding
from core.data.normalize import NormalizedText, normalize

TRAIN_SHARE = 0.9
"""Of the characters, from the beginning: the usual split of Tiny Shakespeare."""
MAX_TEXT_BYTES = 20_000_000
MIN_CHARACTERS = 1000
MAX_VOCABULARY = 10_000
MAX_CONTROL_SHARE = 0.01
"""A larger share (0..1) of control characters means that a file is no text. A few occur in texts: form feeds, bells."""
MAX_TITLE = 100


def encode(text: str, vocabulary: str) -> np.ndarray:
    """Tokens (N,) int64 of a text of N characters: each character's place in the vocabulary, or UNKNOWN."""
    known = code_points(vocabulary)
    table = np.full(int(known.max(initial=0)) + 2, UNKNOWN, dtype=np.int64)
    table[known] = np.arange(len(known))
    return table[np.minimum(code_points(text), len(table) - 1)]  # the last place stands for all that lies behind


def code_points(text: str) -> np.ndarray:
    """(N,) uint32. Lone surrogates are let through: a text made of bytes may hold some."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def digest(text: str) -> str:
    """SHA-256 of a text's UTF-8 bytes, in hex: what `TextCard.sha256["text"]` holds."""
    return hashlib.sha256(text.encode()).hexdigest()


def clean_title(title: str) -> str:
    """A title on one line: printable, at most 100 characters, whatever a person or a file gave."""
    return one_line(title, MAX_TITLE) or "Untitled text"


def decode_file(data: bytes, title: str, encoding: str | None = None) -> NormalizedText:
    """The text in a file of unknown origin, normalized. Raises LabError, and EncodingError for one that is not UTF-8.

    A caller needs to read no more than MAX_TEXT_BYTES + 1 bytes of it. encoding: what a person says it is in.
    """
    title = clean_title(title)
    if len(data) > MAX_TEXT_BYTES:
        raise LabError(f"{title} is larger than {MAX_TEXT_BYTES / 1e6:.0f} MB: give a part of it.")
    found = encoding or guess_encoding(data)
    wide = found is not None and found.startswith(("utf-16", "utf-32"))  # these are full of zero bytes
    if not wide and _looks_binary(data):
        raise LabError(
            f"{title} is not plain text (it holds bytes that only programs, images and documents have): export it as plain "
            "text in UTF-8 and try again."
        )
    text = decode(data, found, title) if found else ""
    if encoding is None and found != "utf-8":
        raise EncodingError(title, found)
    normalized = normalize(text)
    if not normalized.text.strip():
        what = "holds only characters that cannot be seen" if text.strip() else "is empty"
        raise LabError(f"{title} {what}: give a file with text in it.")
    return normalized


def train_characters(text: str) -> int:
    """How many of its characters are for training."""
    return int(TRAIN_SHARE * len(text))


def _looks_binary(data: bytes) -> bool:
    # UTF-8 and Latin-1 use these bytes for control characters only, so this needs no decoding.
    counts = np.bincount(np.frombuffer(data, dtype=np.uint8), minlength=256)
    control = counts[:32].sum() - counts[[*b"\t\n\v\f\r"]].sum() + counts[127]
    return bool(counts[0] or control > MAX_CONTROL_SHARE * len(data))


def build(
    text: str, *, name: str, title: str, source: str, sha256: str, changes: dict[str, int] | None = None
) -> TextDataset:
    """A text as a dataset: the first 90% of its characters for training, the rest for validation. Raises LabError.

    sha256: `digest(text)`, which callers have at hand. changes: what `normalize` did to the file.
    """
    title = clean_title(title)
    if len(text) < MIN_CHARACTERS:
        raise LabError(
            f"{title} has {len(text)} character{'' if len(text) == 1 else 's'} and at least {MIN_CHARACTERS:,} are needed: "
            "give a longer text."
        )
    n = train_characters(text)
    vocabulary = "".join(sorted(set(text[:n])))
    if len(vocabulary) < 2:
        raise LabError(
            f"{title} repeats one character and at least 2 different ones are needed to learn anything: give another text."
        )
    if len(vocabulary) > MAX_VOCABULARY:
        raise LabError(
            f"{title} has {len(vocabulary):,} different characters and at most {MAX_VOCABULARY:,} can be told apart: give a "
            "text in one language."
        )
    tokens = encode(text, vocabulary)
    train, validation = tokens[:n], tokens[n:]
    strange, counts = np.unique(code_points(text[n:])[validation == UNKNOWN], return_counts=True)
    unknown = {chr(code): int(count) for code, count in zip(strange, counts)}
    split = "The first 90% of the characters are for training, the rest for validation."
    if unknown:
        split += (
            f" Characters that training never saw ({sum(unknown.values()):,} of the {len(validation):,} of validation, "
            f"{len(unknown):,} different) are read as a space and are not scored."
        )
    card = TextCard(
        name=name,
        title=title,
        vocabulary=vocabulary,
        sizes={"train": len(train), "validation": len(validation)},
        split=split,
        source=source,
        sha256={"text": sha256},
    )
    return TextDataset(card=card, text=text, train=train, validation=validation, unknown=unknown, changes=changes or {})


def extend_vocabulary(dataset: TextDataset, vocabulary: str) -> TextDataset:
    """The same text in the tokens of a network that knows `vocabulary`: characters it does not know come behind that, in code
    point order, and the card says which."""
    added = "".join(sorted(set(dataset.card.vocabulary) - set(vocabulary)))
    whole = vocabulary + added
    split = dataset.card.split
    if added:
        split += f" The network that training started from did not know {len(added)} of its characters: {added!r}."
    validation = dataset.text[len(dataset.train) :]
    return replace(
        dataset,
        card=replace(dataset.card, vocabulary=whole, split=split),
        train=encode(dataset.train_text, whole),
        validation=encode(validation, whole),
        unknown={character: count for character, count in dataset.unknown.items() if character not in whole},
    )


def with_vocabulary(dataset: TextDataset, vocabulary: str) -> TextDataset | None:
    """The same text in the tokens of a network that knows `vocabulary`; None where it does not know all its characters."""
    if set(dataset.card.vocabulary) <= set(vocabulary):
        return extend_vocabulary(dataset, vocabulary)
    return None

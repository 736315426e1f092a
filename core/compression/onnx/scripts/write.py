"""Write as Bottleneck Lab does: a prompt in, characters out, each drawn with the model's own probabilities.

    pip install numpy onnxruntime
    python write.py "ROMEO:" --length 200 --temperature 0.8 --seed 0

The ONNX file lies beside this script, or is named by --model.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import unicodedata
from collections.abc import Collection, Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

MODEL = "net.onnx"
MAX_PROMPT = 20_000
TYPED_BREAK = "\\n"
LOOKALIKES = {
    character: plain
    for plain, characters in {
        "'": '‘’‚"‹›`',
        '"': "“”„'«»",
        "-": "–—−‐‑―",
        ".": "…",
        " ": "\t",
        "s": "ß",
        "a": "æ",
        "o": "œø",
        "A": "Æ",
        "O": "ŒØ",
    }.items()
    for character in characters
}
"""What a character is most like, for those that Unicode itself takes for something else."""
JOINING_SCRIPTS = (
    "\u0600-\u07ff\u0840-\u08ff\u0900-\u0dff\u0f00-\u109f\u1780-\u18af\ua840-\ua87f\ufb50-\ufdff\ufe70-\ufefe"
)
EMOJI = "\u2190-\u21ff\u2300-\u23ff\u2600-\u27bf\u2b00-\u2bff\ufe0f\U0001f000-\U0001faff"
CONTROLS = "".join(map(chr, (*range(0x09), *range(0x0E, 0x20), *range(0x7F, 0xA0))))
JOINER = rf"(?<![{JOINING_SCRIPTS}])(?:\u200c|(?<![{EMOJI}])\u200d|\u200d(?![{EMOJI}]))(?![{JOINING_SCRIPTS}])"
RULES = (
    ("\r", r"\r(?=\n)", ""),
    ("\r\v\f\x85\u2028\u2029", r"[\r\v\f\x85\u2028\u2029]", "\n"),
    ("\ufeff", "\ufeff", ""),
    ("\u200b\u2060", "[\u200b\u2060]", ""),
    ("\xad", "\xad", ""),
    (CONTROLS, f"[{re.escape(CONTROLS)}]", ""),
    ("\u200c\u200d", JOINER, ""),
)
"""One way to write a text, in this order: characters of which it has to have one, where it is changed, what stands there then."""


def read_prompt(text: str, vocabulary: str) -> tuple[str, dict[str, str]]:
    """The prompt as the model reads it, and what stands in for each character that the model does not know."""
    if len(text) > MAX_PROMPT:
        raise ValueError(f"the prompt has {len(text):,} characters: at most {MAX_PROMPT:,} are read")
    shown, replaced = read(text, vocabulary)
    return (shown, replaced) if shown else ("\n" if "\n" in vocabulary else vocabulary[0], {})


def read(text: str, vocabulary: str) -> tuple[str, dict[str, str]]:
    known, composed = set(vocabulary), normalize(text, vocabulary)
    # A model may have learned from a text whose letters and accents are characters of their own.
    forms = [composed] if known.issuperset(composed) else [composed, unicodedata.normalize("NFD", composed)]
    given = min(forms, key=lambda form: sum(character not in known for character in form))
    if "\n" in known and "\\" not in known:
        given = given.replace(TYPED_BREAK, "\n")
    unknown = (character for character in dict.fromkeys(given) if character not in known)
    replaced = {character: stand_in(character, vocabulary) for character in unknown}
    return "".join(replaced.get(character, character) for character in given), replaced


def normalize(text: str, keep: str) -> str:
    """Line feeds, no invisible characters, Unicode's composed form. keep: characters that stay, whatever they are."""
    there = set(text)
    for characters, pattern, replacement in RULES:
        if not there.isdisjoint(set(characters) - set(keep)):
            kept = "".join(set(characters) & set(keep))
            text = re.sub((f"(?![{re.escape(kept)}])" if kept else "") + pattern, replacement, text)
    return unicodedata.normalize("NFC", text)


def stand_in(character: str, vocabulary: str) -> str:
    """The same letter without its accent or in the other case, or a sign that looks alike; else a space, or the first one."""
    plain = unicodedata.normalize("NFKD", character)[:1]
    alike = LOOKALIKES.get(character, "")
    for candidate in (plain, alike, plain.swapcase(), alike.swapcase(), LOOKALIKES.get(alike, "")):
        if len(candidate) == 1 and candidate in vocabulary:
            return candidate
    return " " if " " in vocabulary else vocabulary[0]


def open_network(path: str | Path) -> tuple[Any, str, int | None]:
    """The session, the vocabulary and the context of a Transformer (None for a recurrent network)."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    return session, json.loads(about["vocabulary"]), json.loads(about.get("context", "null"))


def logits_after(session: Any, context: int | None, tokens: list[int]) -> Generator[np.ndarray, int, None]:
    """A generator: logits (V,) after the prompt, then after each token that is sent. tokens: of the prompt, at least one."""
    shapes = {item.name: item.shape for item in session.get_inputs() if item.name != "tokens"}
    state = {name: np.zeros((layers, 1, width), np.float32) for name, (layers, _, width) in shapes.items()}
    read = tokens if context is None else tokens[-context:]
    while True:
        logits, *after = session.run(None, {"tokens": np.array([read], np.int64)} | state)
        state = dict(zip(state, after, strict=True))
        token = yield logits[0, -1]
        if context is None:
            read = [token]  # the state holds what came before
        else:
            read = [*read, token]
            if len(read) > context:
                read = read[-max(1, context // 2) :]


def softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits.astype(np.float64) - logits.max())
    return shifted / shifted.sum()


def distribution(
    logits: np.ndarray, temperature: float, top_k: int, top_p: float, banned: Collection[int]
) -> np.ndarray:
    """Probabilities (V,) that the next character is drawn with."""
    scores = logits.astype(np.float64)
    if 0 < len(banned) < len(scores):
        scores[list(banned)] = -np.inf
    if temperature == 0:
        return np.eye(len(scores))[scores.argmax()]
    with np.errstate(over="ignore"):
        scores = (scores - scores.max()) / temperature
    if 0 < top_k < len(scores):
        scores[np.argsort(-scores, kind="stable")[top_k:]] = -np.inf
    probabilities = softmax(scores)
    if top_p < 1:
        order = np.argsort(-probabilities, kind="stable")
        before = np.cumsum(probabilities[order])[:-1]
        probabilities[order[1:][before >= top_p]] = 0.0
        probabilities /= probabilities.sum()
    return probabilities


def write(
    network: tuple[Any, str, int | None],
    prompt: str,
    length: int,
    temperature: float = 0.8,
    top_k: int = 0,
    top_p: float = 1.0,
    no_repeat: int = 0,
    seed: int = 0,
) -> Iterator[tuple[str, float]]:
    """A generator of (character, the model's own probability of it, 0..1). prompt: as `read_prompt` gives it."""
    session, vocabulary, context = network
    words = np.random.PCG64([seed, 0])  # the same numbers on every machine
    engine = logits_after(session, context, [vocabulary.index(character) for character in prompt])
    logits = next(engine)
    tail: tuple[int, ...] = ()
    followed: dict[tuple[int, ...], set[int]] = {}
    for index in range(length):
        banned = followed.get(tail, ()) if no_repeat and len(tail) == no_repeat - 1 else ()
        drawn = distribution(logits, temperature, top_k, top_p, banned)
        token = int(drawn.cumsum().searchsorted((int(words.random_raw()) >> 11) / 2**53, side="right"))
        if token >= len(drawn) or drawn[token] == 0:  # the sum fell short of 1 by rounding
            token = int(np.flatnonzero(drawn)[-1])
        if no_repeat:
            if len(tail) == no_repeat - 1:
                followed.setdefault(tail, set()).add(token)
            tail = (*tail, token)[1 - no_repeat :] if no_repeat > 1 else ()
        yield vocabulary[token], float(softmax(logits)[token])
        if index + 1 < length:
            logits = engine.send(token)


def main() -> None:
    parser = argparse.ArgumentParser(description="Go on from a prompt, one character at a time.")
    parser.add_argument("prompt", nargs="?", default="", help="what to go on from; without it, a new line")
    parser.add_argument("--model", default=Path(__file__).with_name(MODEL), help="the ONNX file")
    parser.add_argument("--length", type=int, default=500, help="characters to write")
    parser.add_argument("--temperature", type=float, default=0.8, help="0 always takes the likeliest character")
    parser.add_argument("--top-k", type=int, default=0, help="choose among so many; 0: all")
    parser.add_argument("--top-p", type=float, default=1.0, help="choose among those with this probability together")
    parser.add_argument("--no-repeat", type=int, default=0, help="never write so many characters twice; 0: off")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same text")
    parser.add_argument("--json", action="store_true", help="the text and each character's probability as JSON")
    given = parser.parse_args()
    for name in ("length", "temperature", "top_k", "no_repeat", "seed"):
        if getattr(given, name) < 0:
            parser.error(f"--{name.replace('_', '-')} must be at least 0")
    if not 0 < given.top_p <= 1:
        parser.error("--top-p must be above 0 and at most 1")
    try:
        network = open_network(given.model)
    except Exception as error:  # ONNX Runtime has an exception class for each of its codes
        parser.error(f"{given.model} cannot be opened: {error}")
    try:
        prompt, replaced = read_prompt(given.prompt, network[1])
    except ValueError as error:
        parser.error(str(error))
    settings = (given.length, given.temperature, given.top_k, given.top_p, given.no_repeat, given.seed)
    written = write(network, prompt, *settings)
    if given.json:
        pairs = list(written)
        text, probabilities = "".join(pair[0] for pair in pairs), [pair[1] for pair in pairs]
        print(json.dumps({"prompt": prompt, "replaced": replaced, "text": text, "probabilities": probabilities}))
        return
    for character, other in replaced.items():
        print(f"The model does not know {character!r}: it read {other!r}.", file=sys.stderr)
    print(prompt, end="")
    for character, _ in written:
        print(character, end="", flush=True)
    print()


if __name__ == "__main__":
    main()

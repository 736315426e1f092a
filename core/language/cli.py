"""`generate`: a language model goes on from a prompt, a character at a time as it comes."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from core.common.errors import LabError
from core.common.output import harmless, note, print_json
from core.common.settings import fields_of
from core.inference.sampling import PRECISIONS, SamplingConfig
from core.training.cli import add_flag

if TYPE_CHECKING:
    from core.checkpoints.store import CheckpointRef
    from core.inference.generate import Character
    from core.inference.text import Reading

SHOWN_REPLACED = 10


def add(subcommands: Any) -> None:
    parser = subcommands.add_parser(
        "generate",
        help="write text with a language model",
        description="Print a prompt, as the model reads it, and what the model writes after it, as it is written. With "
        "--json, when it is done: bits_per_character is the mean surprise of what was written, by the model's own "
        "probabilities; characters, and their rate, are those of all streams; times leave out loading the model.",
    )
    parser.add_argument(
        "--prompt", default="", metavar="TEXT", help="what to go on from; - is standard input, as it is"
    )
    parser.add_argument(
        "--checkpoint", metavar="NAME", help="as listed by: python -m core checkpoints (default: the first for text)"
    )
    for name, info in fields_of(SamplingConfig).items():
        add_flag(parser, name, info, f" (default: {info.default:g})")
    parser.add_argument("--streams", type=int, default=1, metavar="INT", help="texts to write at once (default: 1)")
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        help="of the weights; int8: recurrent models, CPU only (default: int8 if they are stored so, else float32)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    parser.add_argument("--json", action="store_true", help="print as JSON, once it is done")
    parser.set_defaults(command=generate)


def generate(options: argparse.Namespace) -> int:
    from core.checkpoints.store import load_checkpoint
    from core.common.devices import pick_device, prepare_server
    from core.compression.measuring.remarks import usual_precision
    from core.inference.text import read

    config = SamplingConfig(
        **{name: value for name in fields_of(SamplingConfig) if (value := getattr(options, name)) is not None}
    )
    reference = _find(options.checkpoint)
    vocabulary = reference.card.text_data.vocabulary  # an image classifier is told before torch is imported
    reading = read(_standard_input() if options.prompt == "-" else options.prompt, vocabulary)
    prepare_server(1)  # products of one row: a second thread costs more than it brings
    usual = usual_precision(reference.card) if options.device in ("auto", "cpu") else "float32"
    precision = options.precision or usual
    wanted = "cpu" if (precision, options.device) == ("int8", "auto") else options.device
    device = pick_device(wanted)
    checkpoint = load_checkpoint(reference, device)
    from core.inference.generate import write_many

    writer = write_many(checkpoint, reading.text, config, streams=options.streams, precision=precision)
    written = Written(streams=options.streams)
    interrupted = _collect(writer, written, None if options.json else reading.text)
    if options.json:
        settings = config.to_dict() | {"streams": options.streams, "precision": precision, "device": device}
        values = {"checkpoint": reference.name, "prompt": reading.text} | written.to_dict()
        replaced = [{"character": character, "stand_in": by} for character, by in reading.replaced]
        print_json(values | {"replaced": replaced, "settings": settings})
    else:
        print(flush=True)
        for index, text in enumerate(written.texts[1:], 2):
            note(f"--- {index} of {options.streams} ---")
            print(harmless(reading.text + text), flush=True)
        rate = f"{written.bits_per_character:.3f} bits per character, {written.rate:,.0f} characters/s"
        note(f"{reference.name}: {rate}.{_stand_ins(reading)}")
    if interrupted:
        raise KeyboardInterrupt
    return 0


class Written:
    """The texts so far, and what they cost."""

    def __init__(self, streams: int) -> None:
        self.streams: list[list[str]] = [[] for _ in range(streams)]
        self.bits, self.seconds, self.first_s = 0.0, 0.0, 0.0
        self._started = time.perf_counter()

    def add(self, characters: list[Character]) -> None:
        """One more character of each stream."""
        self.seconds = time.perf_counter() - self._started
        self.first_s = self.first_s or self.seconds
        for text, written in zip(self.streams, characters):
            text.append(written.character)
            self.bits += written.surprise_bits

    @property
    def texts(self) -> list[str]:
        return ["".join(text) for text in self.streams]

    @property
    def characters(self) -> int:
        return sum(map(len, self.streams))

    @property
    def bits_per_character(self) -> float:
        return self.bits / self.characters

    @property
    def rate(self) -> float:
        """Characters a second, the reading of the prompt included."""
        return self.characters / self.seconds

    def to_dict(self) -> dict[str, Any]:
        texts = self.texts
        return {
            "text": texts[0],
            **({"texts": texts} if len(texts) > 1 else {}),
            "bits_per_character": self.bits_per_character,
            "characters": self.characters,
            "seconds": round(self.seconds, 6),
            "characters_per_second": self.rate,
            "first_character_ms": round(self.first_s * 1e3, 3),
        }


def _collect(writer: Iterator[list[Character]], written: Written, shown_before: str | None) -> bool:
    """Collect what is written, and print the first text as it comes, after `shown_before`; None prints nothing.

    Returns whether it was interrupted. Raises KeyboardInterrupt where that was before the first character.
    """
    try:
        for characters in writer:
            written.add(characters)
            if shown_before is not None:
                # Nothing is printed before the first character is there: until then it may still turn out impossible.
                print(harmless(shown_before + characters[0].character), end="", flush=True)
                shown_before = ""
    except KeyboardInterrupt:
        if not written.characters:
            raise
        return True
    return False


def _find(name: str | None) -> CheckpointRef:
    """The checkpoint of that name, or the first language model there is. Raises LabError where there is none."""
    from core.checkpoints.store import find_checkpoint, list_checkpoints

    if name is not None:
        return find_checkpoint(name)
    found = list_checkpoints(task="text")
    if not found:
        raise LabError("There is no language model yet: train one with python -m core train --model char_lstm.")
    return found[0]


def _standard_input() -> str:
    """All of it, if it is no longer than a prompt may be. Raises LabError."""
    from core.inference.generate import MAX_PROMPT

    most_bytes = 4 * MAX_PROMPT  # of UTF-8; what is longer has too many characters
    data = sys.stdin.buffer.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise LabError(
            f"The prompt on standard input has more than {MAX_PROMPT:,} characters: shorten it, its end matters most."
        )
    try:
        return data.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise LabError("The prompt on standard input is not UTF-8: convert it, for example with iconv.") from error


def _stand_ins(reading: Reading) -> str:
    """Which characters of the prompt the model does not know, and how it read them; empty if there are none."""
    if not reading.replaced:
        return ""
    shown = ", ".join(f"{harmless(known)!r} as {by!r}" for known, by in reading.replaced[:SHOWN_REPLACED])
    more = len(reading.replaced) - SHOWN_REPLACED
    return f" Of the prompt it read {shown}{f' and {more} more' if more > 0 else ''}."

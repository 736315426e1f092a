"""`generate`: a language model goes on from a prompt, a character at a time as it comes."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from core.common.commands import Device, Json, Whole, between, takes_settings
from core.common.errors import LabError
from core.common.output import harmless, note, print_json, print_table
from core.inference.sampling import PRECISIONS, SamplingConfig

if TYPE_CHECKING:
    from core.checkpoints.store import CheckpointRef
    from core.inference.generate import Character
    from core.inference.text import Reading

SHOWN_REPLACED = 10


@takes_settings(SamplingConfig)
def generate(
    *,
    prompt: Annotated[str, Parameter(allow_leading_hyphen=True)] = "",
    checkpoint: str | None = None,
    streams: Whole = 1,
    precision: Annotated[str | None, Parameter(choices=PRECISIONS)] = None,
    device: Device = "auto",
    as_json: Json = False,
    settings: dict[str, Any] | None = None,
) -> None:
    """Write text with a language model.

    Prints a prompt, as the model reads it, and what the model writes after it, as it is written. With --json, when it is done:
    bits_per_character is the mean surprisal of what was written, by the model's own probabilities; characters, and their rate,
    are those of all streams; times leave out loading the model.

    Args:
        prompt: What to go on from, with \\n for a line break; - is standard input.
        checkpoint: As listed by: python -m core checkpoints. Without it, the first language model.
        streams: Texts to write at once.
        precision: Of the weights; int8: recurrent models, CPU only. Without it, int8 if they are stored so, else float32.
    """
    from core.checkpoints.store import load_checkpoint
    from core.common.devices import pick_device, prepare_server
    from core.inference.sampling import usual_precision
    from core.inference.text import read

    config = SamplingConfig(**(settings or {}))
    reference = _find(checkpoint)
    vocabulary = reference.card.text_data.vocabulary  # an image classifier is told before torch is imported
    reading = read(_standard_input() if prompt == "-" else prompt, vocabulary)
    prepare_server(1)  # products of one row: a second thread costs more than it brings
    from core.inference.decoding import NO_ENGINE, available_precision

    chosen = precision or (usual_precision(reference.card) if device in ("auto", "cpu") else "float32")
    asked, chosen = chosen, available_precision(chosen)
    device = pick_device("cpu" if (chosen, device) == ("int8", "auto") else device)
    if chosen != asked:
        note(NO_ENGINE)
    loaded = load_checkpoint(reference, device)
    from core.inference.generate import write_many

    writer = write_many(loaded, reading.text, config, streams=streams, precision=chosen)
    written = Written()
    interrupted = _collect(writer, written, None if as_json else reading.text)
    figures = written.to_dict()
    if as_json:
        used = config.to_dict() | {"streams": streams, "precision": chosen, "device": device}
        values = {"checkpoint": reference.name, "prompt": reading.text} | figures
        replaced = [{"character": character, "stand_in": by} for character, by in reading.replaced]
        print_json(values | {"replaced": replaced, "settings": used})
    else:
        print(flush=True)
        for index, text in enumerate(written.texts[1:], 2):
            note(f"--- {index} of {streams} ---")
            print(harmless(reading.text + text), flush=True)
        rate = f"{figures['bits_per_character']:.3f} bits per character, {figures['characters_per_second']:,.0f} characters/s"
        note(f"{reference.name}: {rate}.{_stand_ins(reading)}")
    if interrupted:
        raise KeyboardInterrupt


class Written:
    """The texts so far, and what they cost."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.bits = 0.0
        self.seconds = self.first_s = 0.0
        self._started = time.perf_counter()

    def add(self, characters: list[Character]) -> None:
        """One more character of each stream."""
        self.seconds = time.perf_counter() - self._started
        self.first_s = self.first_s or self.seconds
        before = self.texts or [""] * len(characters)
        self.texts = [text + written.character for text, written in zip(before, characters)]
        self.bits += sum(written.surprise_bits for written in characters)

    def to_dict(self) -> dict[str, Any]:
        """characters_per_second counts the reading of the prompt too."""
        characters = sum(map(len, self.texts))
        return {
            "text": self.texts[0],
            **({"texts": self.texts} if len(self.texts) > 1 else {}),
            "bits_per_character": self.bits / characters,
            "characters": characters,
            "seconds": round(self.seconds, 6),
            "characters_per_second": characters / self.seconds,
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
        if not written.texts:
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
        return data.decode()
    except UnicodeDecodeError as error:
        raise LabError("The prompt on standard input is not UTF-8: convert it, for example with iconv.") from error


def _stand_ins(reading: Reading) -> str:
    """What of the prompt the model read as something else; empty for nothing."""
    breaks = r" It read \n in the prompt as a line break." if reading.line_breaks else ""
    if not reading.replaced:
        return breaks
    shown = ", ".join(f"{harmless(known)!r} as {by!r}" for known, by in reading.replaced[:SHOWN_REPLACED])
    more = len(reading.replaced) - SHOWN_REPLACED
    return f" Of the prompt it read {shown}{f' and {more} more' if more > 0 else ''}.{breaks}"


def recurrence(
    text: str,
    /,
    *,
    checkpoint: str = "char_rnn",
    layer: Annotated[Whole, between(1, 8)] = 1,
    unit: Annotated[Whole, between(0, 4095)] = 0,
    as_json: Json = False,
) -> None:
    """Take the last step of a recurrent language model apart: the gates of one unit, and the next characters.

    Args:
        text: What it reads; the step is that of the last character.
        layer: From 1.
        unit: From 0.
    """
    import dataclasses

    from core.checkpoints.store import find_checkpoint, load_checkpoint
    from core.language.recurrence import recurrent_step

    found = recurrent_step(load_checkpoint(find_checkpoint(checkpoint)), text, layer - 1, unit)
    if as_json:
        print_json(dataclasses.asdict(found))
        return
    rows = [
        {name: getattr(gate, name) for name in ("name", "function", "from_input", "from_state", "bias", "value")}
        for gate in found.gates
    ]
    print_table(rows, list(rows[0]))
    print(f"h: {found.before:.6g} → {found.after:.6g}. Next: " + ", ".join(f"{c!r} {p:.1%}" for c, p in found.next[:5]))

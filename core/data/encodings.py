"""Which encoding a text file is in, by evidence: byte order marks, where zero bytes lie, valid UTF-8, plausible letters.

UTF-8 is read; anything else is only ever proposed, because a wrong guess gives a wrong text. charset-normalizer compares the
old encodings: of 21 samples in ten languages 20 are found and one, in Turkish, is left to the reader
(tests/unit/data/test_encodings.py).
"""

from __future__ import annotations

import codecs
import re
import unicodedata

import numpy as np

from core.common.errors import LabError

ENCODINGS = {
    "utf-8": "UTF-8",
    "utf-16": "UTF-16",
    "utf-16-le": "UTF-16, little-endian",
    "utf-16-be": "UTF-16, big-endian",
    "utf-32": "UTF-32",
    "cp1252": "Windows-1252 or Latin-1 (Western Europe)",
    "cp1250": "Windows-1250 (Central Europe)",
    "iso8859-2": "Latin-2 (Central Europe)",
    "cp1251": "Windows-1251 (Cyrillic)",
    "koi8-r": "KOI8-R (Cyrillic)",
    "cp866": "DOS 866 (Cyrillic)",
    "cp1253": "Windows-1253 (Greek)",
    "cp1254": "Windows-1254 (Turkish)",
    "cp1255": "Windows-1255 (Hebrew)",
    "cp1256": "Windows-1256 (Arabic)",
    "cp932": "Shift-JIS (Japanese)",
    "euc-jp": "EUC-JP (Japanese)",
    "gb18030": "GB 18030 (Chinese)",
    "big5": "Big5 (Chinese)",
    "cp949": "EUC-KR (Korean)",
    "mac-roman": "Mac Roman (Western Europe)",
    "cp850": "DOS 850 (Western Europe)",
}
"""What a file can be read as, with names for people; of those that give the same text, the first is proposed."""
MARKS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32"} | {
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
CUT = ("truncated data", "unexpected end of data", "incomplete multibyte sequence")
"""Reasons for which Python's decoders give up at the end of a file."""
SAMPLE_BYTES = 200_000
MIN_BYTES = 64
"""A shorter file says nothing of its letters."""
MAX_DAMAGE = 0.25
"""A UTF-8 file with more wrong sequences than this share of the right ones is taken for another encoding."""
OTHER_LETTERS = "\u0370-\u07ff\u3040-\u9fff\uac00-\ud7af"
MIXED = re.compile(rf"[A-Za-z][{OTHER_LETTERS}]|[{OTHER_LETTERS}][A-Za-z]")
MAX_MIXED = 0.2
"""Of the characters beyond ASCII, so large a share may touch Latin letters."""
WESTERN = set("àáâãäåæçèéêëìíîïñòóôõöøœùúûüÿßÀÁÂÄÅÆÇÈÉÊËÍÎÏÑÓÔÖØŒÚÛÜ¿¡«»“”„‘’–—…°£€§©·ªº\N{NO-BREAK SPACE}")
MIN_WESTERN = 0.95
MAX_CHAOS = 0.1
"""Of charset-normalizer: more of its measure of unlikely characters, 0..1, is no text in that encoding."""
CHAOS_MARGIN, COHERENCE_MARGIN = 0.005, 0.05
"""By so much a guess has to lead the next: less unlikely characters, or letters more as in some language."""


class EncodingError(LabError):
    """A text file that is not UTF-8."""

    def __init__(self, title: str, guess: str | None) -> None:
        """guess: a name in ENCODINGS; None where the bytes fit several as well."""
        what = f"looks like {ENCODINGS[guess]}" if guess else "is not UTF-8, and its encoding is not certain"
        super().__init__(f"{title} {what}: save it as UTF-8 and try again.")
        self.title, self.guess, self.what = title, guess, what


def decode(data: bytes, encoding: str, title: str) -> str:
    """The text in bytes of a known encoding. Raises LabError where they are not in it, or are cut inside a character."""
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        name = ENCODINGS[encoding]
        if "surrogate" in error.reason or (encoding == "utf-8" and _has_surrogate(data)):
            raise LabError(
                f"{title} has half a character (a lone surrogate) at byte {error.start + 1:,}: save it as UTF-8 again."
            ) from error
        if error.reason in CUT and error.end == len(data):
            raise LabError(f"{title} ends inside a character of {name}: copy the whole file again.") from error
        if encoding == "utf-8":
            raise LabError(
                f"{title} has damaged characters (the first at byte {error.start + 1:,}): save it as UTF-8 again."
            ) from error
        raise LabError(
            f"{title} is not {name} (byte {error.start + 1:,} is {data[error.start]:#04x}): choose another encoding."
        ) from error
    return text


def preview(data: bytes, encoding: str, lines: int = 4) -> str:
    """The first lines as an encoding reads them, at most 120 characters of each; what it cannot read is U+FFFD."""
    text = data[:8000].decode(encoding, "replace")
    return "\n".join([line[:120] for line in text.splitlines() if line.strip()][:lines])


def guess_encoding(data: bytes) -> str | None:
    """`utf-8`, another name in ENCODINGS, or None where the bytes fit none, or several as well."""
    for mark, name in MARKS.items():
        if data.startswith(mark):
            return name
    if b"\0" in data:
        return _utf16(data)
    try:
        data.decode()
    except UnicodeDecodeError:
        return "utf-8" if _damaged_utf8(data) else _by_letters(data)
    return "utf-8"


def _utf16(data: bytes) -> str | None:
    """UTF-16 without a mark: zero bytes lie on one side of the pairs, for spaces and line ends are among its characters."""
    pairs = np.frombuffer(data[: len(data) // 2 * 2], dtype=np.uint8).reshape(-1, 2)
    first, second = (pairs == 0).sum(axis=0).tolist()
    name = "utf-16-le" if second > first else "utf-16-be"
    # U+3000 and the like have a zero on the other side.
    if 10 * min(first, second) > max(first, second):
        return None
    text = data[: min(SAMPLE_BYTES, len(data) // 2 * 2)].decode(name, "replace")
    strange = sum(
        unicodedata.category(character) in ("Cc", "Cn", "Co", "Cs") for character in text if character not in "\t\n\r"
    )
    return name if strange + text.count("\ufffd") <= 0.01 * len(text) else None


def _damaged_utf8(data: bytes) -> bool:
    """Whether few characters are wrong and many right, which chance does not give in another encoding."""
    wrong = data.decode(errors="replace").count("\ufffd")
    sequences = np.bincount(np.frombuffer(data, dtype=np.uint8), minlength=256)[0xC2:0xF5].sum()
    return bool(wrong <= MAX_DAMAGE * (sequences - wrong)) or _has_surrogate(data)


def _has_surrogate(data: bytes) -> bool:
    """Whether it is UTF-8 but for lone surrogates."""
    try:
        data.decode(errors="surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


def _by_letters(data: bytes) -> str | None:
    """The encoding whose letters are plausible, where it leads clearly."""
    from charset_normalizer import from_bytes

    if len(data) < MIN_BYTES:
        return None
    tried = [name for name in ENCODINGS if name != "utf-8"]
    found = [match for match in from_bytes(data, cp_isolation=tried) if not _mixes_scripts(str(match))]
    if not found or found[0].chaos > MAX_CHAOS:
        return None
    best = found[0]
    close = {
        str(other)
        for other in found
        if other.chaos - best.chaos < CHAOS_MARGIN and best.coherence - other.coherence < COHERENCE_MARGIN
    }
    if len(close) > 1:
        close = {text for text in close if _is_western(text)}
    if len(close) != 1:
        return None
    (text,) = close
    return next((name for name in ENCODINGS if _reads_as(data, name, text)), None)


def _is_western(text: str) -> bool:
    """Whether all that is not ASCII, but for a few characters, is usual in Western Europe."""
    others = [character for character in text[:SAMPLE_BYTES] if not character.isascii()]
    return sum(character in WESTERN for character in others) >= MIN_WESTERN * len(others)


def _mixes_scripts(text: str) -> bool:
    """Whether Latin letters often touch those of another script: `Grזחe` is no word."""
    sample = text[:SAMPLE_BYTES]
    return len(MIXED.findall(sample)) > MAX_MIXED * sum(not character.isascii() for character in sample)


def _reads_as(data: bytes, encoding: str, text: str) -> bool:
    try:
        return data.decode(encoding) == text
    except UnicodeDecodeError:
        return False

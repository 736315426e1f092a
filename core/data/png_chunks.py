"""PNG files without what no viewer shows: text of any size, and side notes with a wrong checksum."""

from __future__ import annotations

import struct
import zlib

from core.common.errors import LabError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
SHOWN = frozenset((b"tRNS", b"iCCP", b"eXIf", b"acTL", b"fcTL", b"fdAT"))
"""Chunks that an image could do without, and that change what is seen: transparency, colours, rotation, animation."""
LARGEST_PROFILE = 1_000_000
"""Bytes of a colour profile once unpacked: Pillow refuses the image of a larger one."""


def without_side_notes(data: bytes) -> bytes:
    """The same PNG with its critical chunks and those in `SHOWN`. Raises LabError for a critical chunk with a wrong checksum.

    Left out are a chunk of `SHOWN` whose checksum is wrong, as libpng does, and colour profiles behind the first, as each
    would be unpacked. Text chunks are never unpacked. What is no list of chunks comes back as it is. Source: PNG
    specification (W3C 2025), sections 5.3 and 13.2.
    """
    view, at, kept = memoryview(data), len(SIGNATURE), [memoryview(SIGNATURE)]
    profiles = 0
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data) or not kind.isalpha():
            break
        critical = not kind[0] & 0x20
        if critical or kind in SHOWN:
            content = view[at + 4 : end - 4]  # the checksum is of the name too
            sound = zlib.crc32(content) == int.from_bytes(view[end - 4 : end], "big")
            if critical and not sound:
                raise LabError("The image is damaged: save or download it again.")
            profiles += sound and kind == b"iCCP"
            if sound and (kind != b"iCCP" or (profiles == 1 and _unpacks(bytes(content[4:])))):
                kept.append(view[at:end])
        at = end
        if kind == b"IEND":
            return b"".join(kept)
    return b"".join((*kept, view[at:]))


def _unpacks(profile: bytes) -> bool:
    """Whether a profile is small once unpacked: its name, a zero, the method, and the packed bytes."""
    _, _, packed = profile.partition(b"\0")
    try:
        unpacker = zlib.decompressobj()
        unpacker.decompress(packed[1:], LARGEST_PROFILE)
    except zlib.error:
        return False
    return not unpacker.unconsumed_tail

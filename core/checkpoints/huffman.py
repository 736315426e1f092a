"""Canonical Huffman codes for arrays of small whole numbers: frequent ones take few bits.

Source: Huffman, A Method for the Construction of Minimum-Redundancy Codes, Proc. IRE 1952; used for pruned and clustered
weights by Han et al., Deep Compression, arXiv:1510.00149, section 4. No code is longer than 15 bits (package-merge: Larmore
& Hirschberg, Journal of the ACM 1990), so that decoding is one look into a table.

Layout, little-endian: number of symbols (uint32); largest symbol (uint8); code length of each symbol up to it, 4 bits each,
0 for one that does not occur; length in bits of each block of 1,024 symbols (uint16); the codes. Nothing follows the count
of an empty array; a symbol that is alone takes no bits, and has neither blocks nor codes.
"""

from __future__ import annotations

import numpy as np

MOST_BITS = 15
"""Of a code: a length fits half a byte."""
BLOCK = 1024
"""Symbols whose codes begin at a stored place: blocks are decoded side by side."""
MOST_SYMBOL = 255


def encode(symbols: np.ndarray) -> np.ndarray:
    """Symbols (N,), whole numbers from 0 to 255, to bytes (M,) uint8. Raises ValueError for others."""
    if symbols.ndim != 1 or symbols.dtype.kind not in "iu" or len(symbols) >= 2**32:
        raise ValueError("symbols must be one row of whole numbers")
    count = np.array([len(symbols)], "<u4").view(np.uint8)
    if not len(symbols):
        return count
    if symbols.min() < 0 or symbols.max() > MOST_SYMBOL:
        raise ValueError(f"symbols must be from 0 to {MOST_SYMBOL}")
    lengths = code_lengths(np.bincount(symbols))
    head = [count, np.array([len(lengths) - 1], np.uint8), _halves(lengths)]
    if np.count_nonzero(lengths) == 1:
        return np.concatenate(head)
    taken = lengths[symbols]
    ends = np.cumsum(taken, dtype=np.int64)
    starts = ends - taken
    blocks = np.diff(starts[::BLOCK], append=ends[-1]).astype("<u2").view(np.uint8)
    # A code spans three bytes at most, and shares a byte's bits with others, never a bit: their sum is their union.
    place = starts >> 3
    shifted = canonical_codes(lengths)[symbols] << (24 - taken - (starts & 7))
    size = (int(ends[-1]) + 7) >> 3
    data = np.zeros(size + 2)
    for index in range(3):
        data[index : index + size] += np.bincount(place, (shifted >> (16 - 8 * index)) & 255, minlength=size)
    return np.concatenate([*head, blocks, data[:size].astype(np.uint8)])


def decode(data: np.ndarray, most: int) -> np.ndarray:
    """Bytes (M,) uint8 of `encode` to symbols (N,) uint8. Raises ValueError for bytes that are none, and for more than
    `most` symbols before memory is taken for them."""
    if data.ndim != 1 or data.dtype != np.uint8 or len(data) < 4:
        raise ValueError("a Huffman code is cut short")
    count = int(np.ascontiguousarray(data[:4]).view("<u4")[0])
    if count > most:
        raise ValueError(f"a Huffman code holds {count:,} symbols where {most:,} have a place")
    if count == 0:
        return _all_read(data[4:], np.empty(0, np.uint8))
    used = int(data[4]) + 1 if len(data) > 4 else 0
    table_end = 5 + (used + 1) // 2
    if not used or len(data) < table_end:
        raise ValueError("a Huffman code is cut short")
    halves = data[5:table_end]
    lengths = np.stack([halves >> 4, halves & 15], axis=1).ravel()[:used]
    if np.count_nonzero(lengths) == 1:
        return _all_read(data[table_end:], np.full(count, np.argmax(lengths), np.uint8))
    # A complete code (Kraft's sum is one) gives every pattern of bits a meaning, so no look into the table can miss.
    if (np.int64(1) << (MOST_BITS - lengths[lengths > 0].astype(np.int64))).sum() != 1 << MOST_BITS:
        raise ValueError("a Huffman code has code lengths that cannot be")
    blocks = -(-count // BLOCK)
    codes = data[table_end + 2 * blocks :]
    if len(data) < table_end + 2 * blocks:
        raise ValueError("a Huffman code is cut short")
    sizes = np.ascontiguousarray(data[table_end : table_end + 2 * blocks]).view("<u2")
    return _decoded(codes, np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]), lengths, count)


def code_lengths(counts: np.ndarray) -> np.ndarray:
    """How often each symbol occurs, (S,), to the length of its code in bits, (S,) uint8: as short a text as codes of at
    most MOST_BITS bits allow. 0 for a symbol that does not occur; 1 for one that is alone."""
    lengths = np.zeros(len(counts), np.uint8)
    leaves: list[tuple[int, tuple[int, ...]]] = sorted((int(counts[at]), (int(at),)) for at in np.flatnonzero(counts))
    if len(leaves) == 1:
        lengths[leaves[0][1][0]] = 1
        return lengths
    items = leaves
    for _ in range(MOST_BITS - 1):
        pairs = zip(items[::2], items[1::2])
        items = sorted(leaves + [(first[0] + second[0], first[1] + second[1]) for first, second in pairs])
    for _, symbols in items[: 2 * len(leaves) - 2]:
        np.add.at(lengths, list(symbols), 1)
    return lengths


def canonical_codes(lengths: np.ndarray) -> np.ndarray:
    """The code of each symbol, (S,) int64, from the lengths alone: counted up by length, then by symbol."""
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    spans = np.int64(1) << (MOST_BITS - lengths[order].astype(np.int64))
    codes = np.zeros(len(lengths), np.int64)
    codes[order] = (np.cumsum(spans) - spans) >> (MOST_BITS - lengths[order].astype(np.int64))
    return codes


def _halves(lengths: np.ndarray) -> np.ndarray:
    even = np.append(lengths, np.uint8(0)) if len(lengths) % 2 else lengths
    return even[::2] << 4 | even[1::2]


def _all_read(rest: np.ndarray, symbols: np.ndarray) -> np.ndarray:
    if len(rest):
        raise ValueError("a Huffman code has more bytes than it needs")
    return symbols


def _decoded(codes: np.ndarray, bounds: np.ndarray, lengths: np.ndarray, count: int) -> np.ndarray:
    """bounds: (blocks + 1,), bit at which each block begins and the last one ends."""
    blocks = len(bounds) - 1
    if len(codes) != (int(bounds[-1]) + 7) >> 3:
        raise ValueError("a Huffman code has another length than it says")
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    spans = 1 << (MOST_BITS - lengths[order].astype(np.int64))
    symbol_of = np.repeat(order.astype(np.uint8), spans)  # (2^15,): what every 15 bits begin with
    length_of = np.repeat(lengths[order], spans)
    # However wrong the bits are, a block reads no further than its longest codes reach: zeros stand there.
    padded = np.zeros(len(codes) + BLOCK * MOST_BITS // 8 + 4, np.uint32)
    padded[: len(codes)] = codes
    windows = padded[:-2] << 16 | padded[1:-1] << 8 | padded[2:]  # 24 bits from every byte on
    out = np.empty((BLOCK, blocks), np.uint8)
    at = bounds[:-1].copy()
    last = count - (blocks - 1) * BLOCK
    for step in range(BLOCK if blocks > 1 else last):
        active = at if step < last else at[:-1]
        ahead = (windows[active >> 3] >> (9 - (active & 7)).astype(np.uint32)) & 0x7FFF
        out[step, : len(active)] = symbol_of[ahead]
        active += length_of[ahead]
    if not np.array_equal(at, bounds[1:]):
        raise ValueError("a Huffman code does not end where its blocks do")
    return out.T.reshape(-1)[:count]

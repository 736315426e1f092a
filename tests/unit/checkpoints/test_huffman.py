"""Huffman codes: what comes out is what went in, as short as it can be, and bytes that are none are refused."""

from __future__ import annotations

import heapq

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.checkpoints.huffman import BLOCK, MOST_BITS, canonical_codes, code_lengths, decode, encode

SYMBOLS = st.one_of(
    st.lists(st.integers(0, 255), max_size=3000),
    st.lists(st.integers(0, 3), max_size=3000),
    st.builds(lambda rare, common: [*common * [9], *rare], st.lists(st.integers(0, 255)), st.integers(0, 5000)),
)


def huffman_bits(counts: list[int]) -> int:
    """Bits of a text by Huffman's own procedure: the two rarest are joined until one is left."""
    heap = [count for count in counts if count]
    heapq.heapify(heap)
    total = 0
    while len(heap) > 1:
        joined = heapq.heappop(heap) + heapq.heappop(heap)
        total += joined
        heapq.heappush(heap, joined)
    return total


@settings(max_examples=60, deadline=None)
@given(symbols=SYMBOLS)
@example(symbols=[])
@example(symbols=[0])
@example(symbols=[255])
@example(symbols=[0, 255])
@example(symbols=[7] * (3 * BLOCK))
@example(symbols=[1, 2] * (BLOCK // 2))
@example(symbols=[1, 2] * BLOCK + [3])
def test_what_is_decoded_is_what_was_encoded(symbols: list[int]) -> None:
    data = encode(np.array(symbols, np.int64))
    assert data.dtype == np.uint8
    assert decode(data, len(symbols)).tolist() == symbols


def test_millions_of_symbols_take_what_their_frequencies_call_for() -> None:
    random = np.random.default_rng(0)
    symbols = np.minimum(random.geometric(0.2, 2_000_000) - 1, 255)
    data = encode(symbols)
    assert np.array_equal(decode(data, len(symbols)), symbols)
    share = np.bincount(symbols) / len(symbols)
    entropy = -(share[share > 0] * np.log2(share[share > 0])).sum()
    assert entropy <= 8 * len(data) / len(symbols) < entropy + 0.1


@settings(max_examples=60, deadline=None)
@given(counts=st.lists(st.integers(0, 40), min_size=2, max_size=256))
def test_no_code_of_whole_bits_is_shorter(counts: list[int]) -> None:
    lengths = code_lengths(np.array(counts)).astype(int)
    if np.count_nonzero(counts) < 2:
        assert lengths.sum() == np.count_nonzero(counts)
        return
    assert (lengths * counts).sum() == huffman_bits(counts)  # so few symbols never need a code that is cut


def test_very_skewed_frequencies_keep_to_the_longest_code_allowed() -> None:
    counts = [1, 1]
    while len(counts) < 40:
        counts.append(counts[-1] + counts[-2])  # Fibonacci's: Huffman's own codes would be 39 bits long
    lengths = code_lengths(np.array(counts)).astype(int)
    assert lengths.max() == MOST_BITS
    assert (0.5**lengths).sum() == 1
    assert huffman_bits(counts) < (lengths * counts).sum() < 1.001 * huffman_bits(counts)
    symbols = np.repeat(np.arange(24), counts[:24])
    np.random.default_rng(0).shuffle(symbols)
    assert np.array_equal(decode(encode(symbols), len(symbols)), symbols)


def test_canonical_codes_are_counted_up() -> None:
    assert canonical_codes(np.array([2, 1, 3, 0, 3], np.uint8)).tolist() == [0b10, 0b0, 0b110, 0, 0b111]


@pytest.mark.parametrize("symbols", [[-1], [256], [[1, 2]], [0.5], [10**12]])
def test_what_cannot_be_encoded_is_refused(symbols: list) -> None:
    with pytest.raises(ValueError, match="symbols must be"):
        encode(np.array(symbols))


def sample() -> np.ndarray:
    return np.minimum(np.random.default_rng(1).geometric(0.3, 3 * BLOCK + 5) - 1, 255)


def test_bytes_that_are_cut_short_or_too_many_are_refused() -> None:
    for symbols in (sample(), np.full(9, 4), np.zeros(0, int)):
        data = encode(symbols)
        for length in {*range(min(len(data), 200)), len(data) - 1}:
            with pytest.raises(ValueError):
                decode(data[:length], len(symbols))
        with pytest.raises(ValueError):
            decode(np.append(data, np.uint8(0)), len(symbols))


def test_more_symbols_than_have_a_place_are_refused_before_memory_is_taken() -> None:
    with pytest.raises(ValueError, match="4,294,967,295 symbols where 1,000"):
        decode(np.array([255, 255, 255, 255, 0, 0x10], np.uint8), 1000)
    with pytest.raises(ValueError, match="have a place"):
        decode(encode(sample()), 3 * BLOCK)
    # Two billion symbols with a place would need their blocks' lengths, which are not there.
    with pytest.raises(ValueError, match="cut short"):
        decode(np.array([0, 0, 0, 128, 1, 0x11], np.uint8), 2**32)


@settings(max_examples=100, deadline=None)
@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_flipped_bit_is_refused_or_changes_symbols_only(place: int, bit: int) -> None:
    data = encode(sample())
    data[place % len(data)] ^= 1 << bit
    try:
        assert len(decode(data, len(sample()))) <= len(sample())
    except ValueError:
        pass


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=300), count=st.integers(0, 5000))
def test_bytes_from_anyone_end_in_symbols_or_a_refusal(data: bytes, count: int) -> None:
    hostile = np.frombuffer(count.to_bytes(4, "little") + data, np.uint8)
    try:
        assert len(decode(hostile, 5000)) == count
    except ValueError:
        pass


@pytest.mark.parametrize("lengths", [[0, 0], [1, 2], [1, 1, 1], [15, 15], [2, 2, 2]])
def test_code_lengths_that_are_no_complete_code_are_refused(lengths: list[int]) -> None:
    halves = [*lengths, 0][: len(lengths) + len(lengths) % 2]
    table = [high << 4 | low for high, low in zip(halves[::2], halves[1::2])]
    with pytest.raises(ValueError, match="lengths that cannot be"):
        decode(np.array([2, 0, 0, 0, len(lengths) - 1, *table, 8, 0, 0], np.uint8), 100)


def test_a_block_that_claims_another_length_is_refused() -> None:
    symbols = np.arange(2 * BLOCK) % 2
    data = encode(symbols)
    at = 4 + 1 + 1
    blocks = data[at : at + 4].view("<u2")
    assert blocks.tolist() == [BLOCK, BLOCK]
    blocks += np.array([1, -1]).astype("<u2")
    with pytest.raises(ValueError, match="does not end where"):
        decode(data, len(symbols))

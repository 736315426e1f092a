"""How a weights file holds its tensors: as they are, in fewer bits, or as Deep Compression does (Han et al.,
arXiv:1510.00149): shared values, and Huffman codes (DEFLATE's, RFC 1951, without its search for repeats) for which one
and for the gaps between those that are not zero.

What a file holds is told by the names in it: `head.weight` is the tensor itself, `head.weight:coded_gaps` a part of how it is
held. No module's name has a colon. torch is imported only where tensors are at hand.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from core.common.errors import LabError

if TYPE_CHECKING:
    import torch

Tensors: TypeAlias = "dict[str, torch.Tensor]"

STORAGES = ("float32", "float16", "int8", "clustered", "coded")
"""All but float16 and int8 give back what was put in, but for the sign of zeros in the last two."""
MOST_VALUES = 256
"""Different values that a tensor's weights may share."""
WEIGHT_LIMIT = 127
"""Whole numbers of an int8 weight are from minus this to this: the grid is symmetric."""
SKIP = 255
"""Gap that says: as many zeros, and no value after them."""
PIECE = 2**17
"""Gaps that are turned into places at once."""
ALWAYS = 2**25
"""Weights that a coded file may stand for however small it is: a network that is all but zero takes a few bytes a layer."""
MOST_PER_BYTE = 1000
"""Weights for each byte of a file that stands for more than ALWAYS; at 99.9% zeros it is about 600."""
PARTS = {
    ("int8", "scale"): "rows in 8 bits, a float32 step for each",
    ("indices", "values"): "which of the values, in as many bits as that takes",
    ("coded_indices", "values"): "which of the values, Huffman coded",
    (
        "coded_gaps",
        "coded_indices",
        "values",
    ): "gaps between what is not zero, and which of the values, both Huffman coded",
    ("coded_gaps", "kept"): "gaps between what is not zero, Huffman coded, and the values themselves",
}
OLD_PARTS = {"codes", "gaps"}
"""Parts in an older Huffman code, which is no longer read."""
HEADER_BYTES = 80
"""What another part costs a safetensors file beside its own bytes, about."""


def pack(tensors: Tensors, storage: str) -> Tensors:
    """The tensors of a weights file. storage: one of STORAGES:

    `float32`, `float16`: floating-point ones so (float32 where float16 is too small for a value).
    `int8`: those of two or more dimensions in 8 bits with a step for each row of the first; others as float32. Weights
      that are on such a grid stay as they are, others move by half a step at most.
    `clustered`: those of two or more dimensions with 256 values at most by their values; others as float16 where nothing
      is lost by it, else float32.
    `coded`: likewise, each held in whichever of PARTS is smallest; many zeros are enough, shared values or not.

    A huge network that these two would make smaller than `unpack` believes is held as float32.

    Raises LabError for another storage and for weights that it cannot hold.
    """

    if storage not in STORAGES:
        raise LabError(
            f"There is no way to hold weights named {str(storage)[:40]!r}: choose one of {', '.join(STORAGES)}."
        )
    packed: Tensors = {}
    for name, tensor in tensors.items():
        value = tensor.detach().cpu().contiguous()
        if ":" in name:
            raise LabError(f"The tensor {name[:60]!r} cannot be stored: rename its module, without a colon.")
        if not value.is_floating_point():
            packed[name] = value
            continue
        value = value.float()
        if storage == "float32" or (storage == "int8" and (value.ndim < 2 or not value.numel())):
            packed[name] = value
        elif storage == "float16":
            half = value.half()
            packed[name] = value if (half.isinf() & value.isfinite()).any() else half
        elif storage == "int8":
            packed |= _named(name, _rows_in_8_bits(name, value))
        else:
            packed |= _named(name, _smallest(value, coded=storage == "coded"))
    coded = {key.partition(":")[0] for key in packed if key.endswith((":indices", ":coded_indices", ":coded_gaps"))}
    too_small = _too_small(packed, sum(tensors[name].numel() for name in coded))
    return pack(tensors, "float32") if too_small else packed


def unpack(stored: Tensors, wanted: Mapping[str, tuple[torch.Size, torch.dtype]]) -> Tensors:
    """The tensors that `pack` was given, in the shapes and types that the network wants, on memory of their own.

    Raises LabError for a file in the older code of OLD_PARTS, ValueError for whatever contradicts the network: a name too
    many or too few, another shape, codes that are damaged. A file that is tiny beside the network that it codes is refused,
    whatever it says; otherwise this takes no more memory than a small multiple of what is wanted and what is stored.
    """
    found: dict[str, Tensors] = {}
    for key, tensor in stored.items():
        name, _, part = key.partition(":")
        found.setdefault(name, {})[part] = tensor
    if any(OLD_PARTS & set(parts) for parts in found.values()):
        raise LabError("The weights are Huffman coded in a format that is no longer read: run their recipe again.")
    if set(found) != set(wanted):
        raise ValueError(f"it holds {len(found)} tensors for a network of {len(wanted)}, or others")
    coded = sum(wanted[name][0].numel() for name, parts in found.items() if not {"", "int8"} & set(parts))
    if _too_small(stored, coded):
        raise ValueError(f"it codes {coded:,} weights in fewer bytes than any network here takes")
    return {name: _unpacked(found[name], shape, dtype) for name, (shape, dtype) in wanted.items()}


def _named(name: str, parts: Tensors) -> Tensors:
    return {f"{name}:{part}" if part else name: value for part, value in parts.items()}


def _too_small(stored: Tensors, coded: int) -> bool:
    """coded: weights that the tensors of a file stand for in shared values or codes."""
    return coded > max(ALWAYS, MOST_PER_BYTE * sum(part.nbytes for part in stored.values()))


def quantize_per_channel(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights (rows, ...) float32 as int8 of the same shape and steps (rows,) float32: each at the nearest multiple of the step
    of its row, of which the largest is 127. Rows that are on such a grid stay exactly as they are."""
    rows = weight.reshape(len(weight), -1)
    steps = np.abs(rows).max(axis=1, keepdims=True) / np.float32(WEIGHT_LIMIT)
    steps[steps == 0] = 1
    # The largest value over 127, rounded, may be a neighbour of the step that a row on the grid was made with.
    for end in (0, np.inf):
        other = np.nextafter(steps, np.float32(end))
        steps = np.where(~_fits(rows, steps) & _fits(rows, other), other, steps)
    return _rounded(rows, steps).astype(np.int8).reshape(weight.shape), steps[:, 0].copy()


def dequantize(whole: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Whole numbers (rows, ...) times the step (rows,) of their row, float32."""
    return whole.astype(np.float32) * steps.reshape(len(whole), *[1] * (whole.ndim - 1))


def _rounded(rows: np.ndarray, steps: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(rows / steps), -WEIGHT_LIMIT, WEIGHT_LIMIT)


def _fits(rows: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """(R, 1) bool: whether all weights of a row are on its grid."""
    with np.errstate(divide="ignore", invalid="ignore"):  # the neighbour of the smallest step is none
        return (_rounded(rows, steps) * steps == rows).all(axis=1, keepdims=True)


def _rows_in_8_bits(name: str, value: torch.Tensor) -> Tensors:
    if not value.isfinite().all():
        raise LabError(f"{name[:60]} has weights that are not finite numbers: it cannot be stored in int8.")
    whole, steps = quantize_per_channel(value.numpy())
    return {"int8": _tensor(whole), "scale": _tensor(steps)}


def _smallest(value: torch.Tensor, *, coded: bool) -> Tensors:
    plain = {"": _half_where_lossless(value)}
    if value.ndim < 2 or not value.numel():
        return plain
    weights = value.numpy().ravel() + np.float32(0)  # no negative zeros: they would be a value of their own
    forms = [plain]
    shared = _shared(weights)
    if shared is not None:
        forms.append({"values": _values(shared[0]), "indices": _tensor(_bits(shared[1], len(shared[0])))})
        if coded:
            forms.append({"values": _values(shared[0]), "coded_indices": _encode(shared[1])})
    filled = np.flatnonzero(weights) if coded else weights
    if len(filled) < len(weights) / 2:
        gaps = _encode(_gaps(filled))
        forms.append({"coded_gaps": gaps, "kept": _values(weights[filled])})
        shared = _shared(weights[filled])
        if shared is not None:
            forms.append({"coded_gaps": gaps, "values": _values(shared[0]), "coded_indices": _encode(shared[1])})
    return min(forms, key=lambda parts: sum(part.nbytes + HEADER_BYTES for part in parts.values()))


def _half_where_lossless(value: torch.Tensor) -> torch.Tensor:
    half = value.half()
    return half if bool((half.float() == value).all()) else value


def _values(values: np.ndarray) -> torch.Tensor:
    return _half_where_lossless(_tensor(values.astype(np.float32)))


def _tensor(array: np.ndarray) -> torch.Tensor:
    import torch

    return torch.from_numpy(np.ascontiguousarray(array))


def _encode(symbols: np.ndarray) -> torch.Tensor:
    """Symbols (N,) uint8, Huffman coded: a raw DEFLATE stream, (M,) uint8."""
    stream = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, 9, zlib.Z_HUFFMAN_ONLY)
    return _tensor(np.frombuffer(stream.compress(symbols.tobytes()) + stream.flush(), np.uint8).copy())


def _decode(part: torch.Tensor, most: int) -> np.ndarray:
    """The symbols of `_encode`, (N,) uint8. Raises ValueError for damaged bytes, and for more than `most` symbols before
    memory is taken for them."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        symbols = stream.decompress(_bytes(part).tobytes(), most + 1)
    except zlib.error as error:
        raise ValueError(f"a Huffman code is damaged: {error}") from error
    if len(symbols) > most or not stream.eof or stream.unused_data:
        raise ValueError(f"a Huffman code does not end after {most:,} symbols at most")
    return np.frombuffer(symbols, np.uint8)


def _shared(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The different values (V,) and which of them each weight is (N,) uint8; None for more than 256. By their bits, so
    that a weight that is no number is one of them."""
    bits = weights.view(np.uint32)
    if not len(bits) or len(np.unique(bits[: 16 * MOST_VALUES])) > MOST_VALUES:  # most tensors show it at once
        return None
    values, indices = np.unique(bits, return_inverse=True)
    return (values.view(np.float32), indices.astype(np.uint8)) if len(values) <= MOST_VALUES else None


def _width(values: int) -> int:
    return (values - 1).bit_length()


def _bits(indices: np.ndarray, values: int) -> np.ndarray:
    return np.packbits(np.unpackbits(indices[:, None], axis=1)[:, 8 - _width(values) :])


def _gaps(filled: np.ndarray) -> np.ndarray:
    """Places of what is not zero, (K,) rising, to gap symbols uint8: a value after so many zeros, or SKIP zeros alone."""
    zeros = np.diff(filled, prepend=-1) - 1
    skips = zeros // SKIP
    symbols = np.full(len(filled) + int(skips.sum()), SKIP, np.uint8)
    symbols[np.cumsum(skips + 1) - 1] = zeros % SKIP
    return symbols


def _unpacked(parts: Tensors, shape: torch.Size, dtype: torch.dtype) -> torch.Tensor:
    import torch

    form = tuple(sorted(parts))
    if form == ("",):
        value = parts[""]
        if value.shape != shape or value.is_complex():
            raise ValueError(f"a tensor of {tuple(value.shape)} stands for one of {tuple(shape)}")
        return value.to(dtype, copy=True)
    if form not in PARTS or not dtype.is_floating_point or not len(shape):
        raise ValueError(f"the parts {', '.join(form)[:80]} are no way to hold a tensor of {dtype}")
    if form == ("int8", "scale"):
        whole, steps = parts["int8"], parts["scale"]
        if whole.shape != shape or whole.dtype != torch.int8:
            raise ValueError(f"a tensor of {tuple(whole.shape)} stands for one of {tuple(shape)}")
        if steps.shape != shape[:1] or steps.dtype != torch.float32:
            raise ValueError(f"{tuple(steps.shape)} steps stand for {shape[0]} rows")
        return torch.from_numpy(dequantize(whole.numpy(), steps.numpy())).to(dtype)
    count = shape.numel()
    if "coded_gaps" not in parts:
        weights = _looked_up(parts, count)
    else:
        symbols = _decode(parts["coded_gaps"], count)
        filled = len(symbols) - int(np.count_nonzero(symbols == SKIP))
        values = _row(parts["kept"], filled) if "kept" in parts else _looked_up(parts, filled)
        weights = np.zeros(count, np.float32)
        begun = 0
        for places in _places(symbols, count):
            weights[places] = values[begun : begun + len(places)]
            begun += len(places)
    return torch.from_numpy(weights).reshape(shape).to(dtype)


def _looked_up(parts: Tensors, count: int) -> np.ndarray:
    """The values of `count` weights, float32."""
    values = _row(parts["values"])
    if "coded_indices" in parts:
        indices = _decode(parts["coded_indices"], count)
    else:
        width, data = _width(len(values)), _bytes(parts["indices"])
        if len(data) != (count * width + 7) // 8:
            raise ValueError(f"{len(data):,} bytes stand for {count:,} indices of {width} bits")
        bits = np.unpackbits(data, count=count * width).reshape(count, width)
        indices = np.packbits(bits, axis=1)[:, 0] >> (8 - width) if width else np.zeros(count, np.uint8)
    if len(indices) != count or (count and int(indices.max()) >= len(values)):
        raise ValueError(f"{len(indices):,} indices of {len(values)} values stand for {count:,} weights")
    return values[indices]


def _places(symbols: np.ndarray, count: int) -> Iterator[np.ndarray]:
    """Places of what is not zero, rising, piece by piece: they take eight times the memory of symbols."""
    begin = 0
    for start in range(0, len(symbols), PIECE):
        piece = symbols[start : start + PIECE]
        ends = np.cumsum(np.where(piece == SKIP, SKIP, piece.astype(np.int32) + 1), dtype=np.int64) + begin
        begin = int(ends[-1])
        places = ends[piece != SKIP] - 1
        if len(places) and places[-1] >= count:
            raise ValueError(f"a weight stands at {places[-1]:,} of {count:,}")
        yield places


def _bytes(part: torch.Tensor) -> np.ndarray:
    import torch

    if part.dtype != torch.uint8 or part.ndim != 1:
        raise ValueError(f"{tuple(part.shape)} of {part.dtype} stand where bytes belong")
    return part.numpy()


def _row(part: torch.Tensor, count: int | None = None) -> np.ndarray:
    """A row of values as float32: `count` of them, or from 1 to 256."""
    import torch

    if part.ndim != 1 or part.dtype not in (torch.float16, torch.float32):
        raise ValueError(f"{tuple(part.shape)} of {part.dtype} stand where values belong")
    if len(part) != count if count is not None else not 1 <= len(part) <= MOST_VALUES:
        raise ValueError(f"{len(part):,} values stand where {count or MOST_VALUES} belong")
    return part.float().numpy()

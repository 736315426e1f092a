"""Weights files in fewer bits: what comes back is what was put in, or as near as was promised; damage is refused."""

from __future__ import annotations

import tracemalloc
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from core.checkpoints import packing
from core.checkpoints.packing import STORAGES, Tensors, pack, unpack
from core.common.errors import LabError

EXACT = ("float32", "clustered", "coded")
SHAPES = st.lists(st.integers(1, 40), min_size=0, max_size=4).map(tuple)


def wanted(tensors: Tensors) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (value.shape, value.dtype) for name, value in tensors.items()}


def back(tensors: Tensors, storage: str) -> Tensors:
    """Packed, through the bytes of a file, and unpacked."""
    return unpack(load(save(pack(tensors, storage))), wanted(tensors))


def weights(shape: tuple[int, ...], values: int, zeros: float, seed: int) -> torch.Tensor:
    """Normal weights, or so many different ones (0: any), a share of them zero."""
    random = np.random.default_rng(seed)
    drawn = random.normal(0, 0.1, values)[random.integers(0, values, shape)] if values else random.normal(0, 0.1, shape)
    return torch.from_numpy(np.where(random.random(shape) < zeros, 0, drawn).astype(np.float32))


def same(first: Tensors, second: Tensors) -> bool:
    return all(
        second[name].dtype == value.dtype
        and second[name].shape == value.shape
        and torch.equal(second[name].nan_to_num(nan=9e9), value.nan_to_num(nan=9e9))
        for name, value in first.items()
    ) and set(first) == set(second)


def size(tensors: Tensors, storage: str) -> int:
    return len(save(pack(tensors, storage)))


SPARSE = weights((60, 50, 3, 3), 15, 0.9, 0)
MIXED = {
    "conv.weight": SPARSE,
    "conv.bias": torch.linspace(-1, 1, 60) / 3,
    "norm.num_batches_tracked": torch.tensor(7),
    "mask": torch.ones(5, 5, dtype=torch.bool).tril(),
    "pruned": weights((80, 90), 0, 0.95, 1),
    "clustered": weights((80, 90), 16, 0, 2),
    "dense": weights((20, 90), 0, 0, 3),
}


@pytest.mark.parametrize("storage", STORAGES)
def test_every_way_of_holding_a_network_gives_it_back(storage: str) -> None:
    given_ = {name: value.clone() for name, value in MIXED.items()}
    loaded = back(MIXED, storage)
    assert same(given_, MIXED)
    if storage in EXACT:
        assert same(MIXED, loaded)
    for name, value in MIXED.items():
        assert (loaded[name].shape, loaded[name].dtype) == (value.shape, value.dtype)
        assert torch.allclose(loaded[name].float(), value.float(), atol=0.004)


@settings(max_examples=60, deadline=None)
@given(
    shape=SHAPES,
    values=st.sampled_from([0, 1, 2, 3, 16, 17, 256, 257]),
    zeros=st.sampled_from([0, 0.5, 0.9, 0.999, 1]),
    seed=st.integers(0, 100),
)
def test_nothing_is_lost_by_sharing_values_and_coding_them(shape: tuple, values: int, zeros: float, seed: int) -> None:
    tensors = {"w": weights(shape, values, zeros, seed)}
    for storage in EXACT:
        assert same(tensors, back(tensors, storage))


@pytest.mark.parametrize(
    "rows",
    [
        [[]],
        [[0.0, -0.0]],
        [[float("nan"), float("inf"), -float("inf"), 1e-45, 3e38]],
        [[1e-45] * 700],
        [[0.0] * 5000 + [1.5]],
        [[1.5] + [0.0] * 5000],
        [[0.0] * 254 + [1.0] + [0.0] * 255 + [2.0] + [0.0] * 256 + [3.0] + [0.0] * 510 + [4.0]],
    ],
)
def test_odd_weights_come_back(rows: list[list[float]]) -> None:
    tensors = {"w": torch.tensor(rows)}
    for storage in EXACT:
        assert same(tensors, back(tensors, storage))


@pytest.mark.parametrize("zeros", [0.5, 0.9, 0.99])
def test_coding_is_as_small_as_gaps_and_values_allow(zeros: float) -> None:
    tensors = {"w": weights((500, 400), 15, zeros, 0)}
    share = np.array([zeros, *[(1 - zeros) / 15] * 15])
    entropy = -(share * np.log2(share)).sum() / 8 * 500 * 400
    assert entropy < size(tensors, "coded") < 1.1 * entropy + 600
    assert size(tensors, "clustered") < 500 * 400 / 2 + 600


def test_the_smallest_form_is_chosen_and_told_by_names() -> None:
    forms = {
        "dense": {"w": ["w"]},
        "clustered": {"w": ["w:coded_indices", "w:values"]},
        "pruned": {"w": ["w:coded_gaps", "w:kept"]},
        "conv.weight": {"w": ["w:coded_gaps", "w:coded_indices", "w:values"]},
        "conv.bias": {"w": ["w"]},
    }
    skewed = MIXED | {"clustered": MIXED["clustered"] ** 2 * (MIXED["clustered"] > 0) + 0.25}
    for name, expected in forms.items():
        assert sorted(pack({"w": skewed[name]}, "coded")) == expected["w"], name
    assert sorted(pack({"w": MIXED["clustered"]}, "clustered")) == ["w:indices", "w:values"]
    assert pack({"w": MIXED["dense"].half().float()}, "coded")["w"].dtype == torch.float16
    for tensors in ({"w": value} for value in MIXED.values()):
        assert size(tensors, "coded") <= size(tensors, "clustered") <= size(tensors, "float32")


def test_int8_moves_a_weight_by_half_a_step_at_most_and_the_second_time_by_nothing() -> None:
    tensors = {"w": weights((300, 40, 3), 0, 0.1, 0) * torch.logspace(-30, 3, 300).reshape(-1, 1, 1)}
    tensors["w"][5] = 0
    once = back(tensors, "int8")
    step = tensors["w"].abs().amax(dim=(1, 2), keepdim=True) / 127
    assert ((once["w"] - tensors["w"]).abs() <= 0.5001 * step).all()
    assert pack(tensors, "int8")["w:scale"][5] == 1
    assert same(once, back(once, "int8"))
    assert size({"w": torch.randn(100, 1000)}, "int8") < 0.26 * size({"w": torch.randn(100, 1000)}, "float32")


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_any_grid_of_127_steps_stays_as_it_is_in_int8(seed: int) -> None:
    random = np.random.default_rng(seed)
    whole = random.integers(-127, 128, (2000, 6))
    whole[:, 0] = 127
    grid = {"w": torch.from_numpy((whole * random.lognormal(-5, 2, (2000, 1)).astype(np.float32)).astype(np.float32))}
    assert same(grid, back(grid, "int8"))


def test_what_cannot_be_held_is_refused_or_held_in_full() -> None:
    with pytest.raises(LabError, match="no way to hold weights named 'zip'"):
        pack({}, "zip")
    with pytest.raises(LabError, match="not finite numbers"):
        pack({"w": torch.tensor([[float("nan"), 1.0]])}, "int8")
    with pytest.raises(LabError, match="without a colon"):
        pack({"a:codes": torch.zeros(2)}, "float32")
    with pytest.raises(ValueError, match="no way to hold"):  # parts do not stand for whole numbers
        unpack(pack({"w": SPARSE}, "coded"), {"w": (SPARSE.shape, torch.int64)})
    large = {"w": torch.tensor([[1e6, 1.0]])}
    assert same(large, back(large, "float16"))


def damaged(change: dict[str, torch.Tensor | None], name: str = "conv.weight", storage: str = "coded") -> None:
    """Unpack MIXED[name] with parts replaced (None: taken away)."""
    tensors = {"w": MIXED[name]}
    stored = pack(tensors, storage) | change
    unpack({key: value for key, value in stored.items() if value is not None}, wanted(tensors))


def coded(symbol: int, count: int) -> torch.Tensor:
    """So often the same symbol, in as few bytes as any DEFLATE stream takes: 1,032 times fewer."""
    stream = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    data = stream.compress(bytes([symbol]) * count) + stream.flush()
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


BOMB = coded(0, 10**8)


@pytest.mark.parametrize(
    ("change", "name", "storage"),
    [
        ({"w:coded_gaps": None}, "conv.weight", "coded"),
        ({"w:values": None}, "conv.weight", "coded"),
        ({"w": torch.zeros(60, 50, 3, 3)}, "conv.weight", "coded"),
        ({"x": torch.zeros(1)}, "conv.weight", "coded"),
        ({"w:more": torch.zeros(1)}, "conv.weight", "coded"),
        ({"w:coded_gaps": BOMB}, "conv.weight", "coded"),
        ({"w:coded_indices": BOMB}, "conv.weight", "coded"),
        ({"w:coded_gaps": torch.zeros(0, dtype=torch.uint8)}, "conv.weight", "coded"),
        ({"w:coded_gaps": torch.full((4,), 255, dtype=torch.uint8)}, "conv.weight", "coded"),
        ({"w:coded_gaps": torch.cat([coded(0, 9), torch.zeros(1, dtype=torch.uint8)])}, "conv.weight", "coded"),
        ({"w:coded_gaps": torch.zeros(9)}, "conv.weight", "coded"),
        ({"w:coded_indices": coded(0, 27_000)}, "conv.weight", "coded"),
        ({"w:values": torch.zeros(3)}, "conv.weight", "coded"),
        ({"w:values": torch.zeros(0)}, "conv.weight", "coded"),
        ({"w:values": torch.zeros(257)}, "conv.weight", "coded"),
        ({"w:values": torch.zeros(15, 1)}, "conv.weight", "coded"),
        ({"w:values": torch.zeros(15, dtype=torch.float64)}, "conv.weight", "coded"),
        ({"w:kept": torch.zeros(3)}, "pruned", "coded"),
        ({"w:kept": torch.zeros(7200)}, "pruned", "coded"),
        ({"w:coded_gaps": coded(200, 7000)}, "pruned", "coded"),
        ({"w:coded_gaps": coded(255, 7200)}, "pruned", "coded"),
        ({"w:values": torch.zeros(15)}, "clustered", "clustered"),
        ({"w:values": torch.zeros(2)}, "clustered", "clustered"),
        ({"w:indices": torch.zeros(8, dtype=torch.uint8)}, "clustered", "clustered"),
        ({"w:indices": torch.zeros(3600, dtype=torch.int8)}, "clustered", "clustered"),
        ({"w:scale": torch.zeros(3)}, "dense", "int8"),
        ({"w:scale": torch.zeros(20, 1)}, "dense", "int8"),
        ({"w:scale": torch.zeros(20, dtype=torch.float16)}, "dense", "int8"),
        ({"w:int8": torch.zeros(90, 20, dtype=torch.int8)}, "dense", "int8"),
        ({"w:int8": torch.zeros(20, 90)}, "dense", "int8"),
        ({"w": torch.zeros(90, 20)}, "dense", "float32"),
        ({"w": torch.zeros(20, 90, dtype=torch.complex64)}, "dense", "float32"),
        ({"w": torch.zeros(0)}, "dense", "float32"),
        ({"w": None}, "dense", "float32"),
        ({"w": None, ":w": torch.zeros(20, 90)}, "dense", "float32"),
    ],
)
def test_parts_that_contradict_the_network_are_refused(change: dict, name: str, storage: str) -> None:
    damaged({}, name, storage)
    with pytest.raises(ValueError):
        damaged(change, name, storage)


@settings(max_examples=60, deadline=None)
@given(
    storage=st.sampled_from(["clustered", "coded", "int8"]),
    place=st.integers(0, 10**6),
    bit=st.integers(0, 7),
    cut=st.booleans(),
)
def test_flipped_and_lost_bytes_end_in_other_weights_or_a_refusal(
    storage: str, place: int, bit: int, cut: bool
) -> None:
    stored = {key: value.clone() for key, value in pack(MIXED, storage).items()}
    parts = sorted(key for key in stored if ":" in key)
    key = parts[place % len(parts)]
    flat = stored[key].reshape(-1).view(torch.uint8)
    flat[place // len(parts) % len(flat)] ^= 1 << bit
    if cut:
        stored[key] = stored[key][: len(stored[key]) // 2]
    try:
        assert wanted(unpack(stored, wanted(MIXED))) == wanted(MIXED)
        assert not cut
    except ValueError:
        pass


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=300))
def test_bytes_from_anyone_end_in_weights_or_a_refusal(data: bytes) -> None:
    stored = {"w:kept": torch.ones(2), "w:coded_gaps": torch.frombuffer(bytearray(b"\x00" + data), dtype=torch.uint8)}
    try:
        assert (unpack(stored, {"w": (torch.Size([40, 50]), torch.float32)})["w"] != 0).sum() == 2
    except ValueError:
        pass


@pytest.mark.parametrize("part", ["w:codes", "w:gaps"])
def test_the_older_huffman_code_is_refused_by_name(part: str) -> None:
    with pytest.raises(LabError, match="no longer read: run their recipe again"):
        unpack({"w:values": torch.ones(2), part: torch.zeros(9, dtype=torch.uint8)}, wanted({"w": SPARSE}))


def test_gaps_are_turned_into_places_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "PIECE", 7)
    for name in ("conv.weight", "pruned"):
        assert "w:coded_gaps" in pack({"w": MIXED[name]}, "coded")
        assert same({"w": MIXED[name]}, back({"w": MIXED[name]}, "coded"))
    long = {"w": torch.zeros(3, 4000)}  # pieces that hold no weight, and a weight after them
    long["w"][2, 3990] = 1.5
    assert same(long, back(long, "coded"))
    with pytest.raises(ValueError, match="stands at"):
        unpack({"w:kept": torch.ones(40), "w:coded_gaps": coded(200, 40)}, {"w": (torch.Size([40, 50]), torch.float32)})


@pytest.mark.parametrize(
    "parts",
    [
        {"w:values": torch.ones(1), "w:coded_indices": coded(0, 2**20)},
        {"w:values": torch.ones(1), "w:indices": torch.zeros(0, dtype=torch.uint8)},
        {"w:values": torch.ones(1), "w:coded_indices": coded(0, 2**20), "w:coded_gaps": coded(0, 2**20)},
        {"w:kept": torch.zeros(0), "w:coded_gaps": coded(0, 0)},
    ],
)
def test_a_tiny_file_stands_for_no_huge_network(parts: Tensors, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = {"w": (torch.Size([2**10, 2**10]), torch.float32)}
    assert unpack(parts, shape)["w"].shape == (2**10, 2**10)
    monkeypatch.setattr(packing, "ALWAYS", 2**20 - 1)
    monkeypatch.setattr(packing, "MOST_PER_BYTE", 500)
    with pytest.raises(ValueError, match="fewer bytes than any network"):
        unpack(parts, shape)


def test_what_is_pruned_the_most_loads_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert packing.ALWAYS > 2 * 11_173_962  # of ResNet-18, however many of them are zero
    monkeypatch.setattr(packing, "ALWAYS", 0)
    pruned = {"w": weights((1000, 1000), 0, 0.999, 0)}
    assert "w:coded_gaps" in pack(pruned, "coded")
    assert same(pruned, back(pruned, "coded"))
    for storage in ("clustered", "coded"):  # so small that it would not be believed: held in full instead
        nothing = {"w": torch.zeros(1000, 1000)}
        assert list(pack(nothing, storage)) == ["w"]
        assert same(nothing, back(nothing, storage))


def test_memory_is_bounded_by_what_is_wanted() -> None:
    many = {"w": torch.zeros(1000, 2000)}
    many["w"][:, ::50] = torch.linspace(1, 2, 40)
    for tensors, stored in (
        (many, pack(many, "coded")),
        (many, pack(many, "clustered")),
        ({"w": torch.zeros(4, 4)}, pack(many, "coded")),
        ({"w": torch.zeros(4, 4)}, {"w:values": torch.zeros(1), "w:coded_indices": BOMB}),
        (
            many,
            {"w:values": torch.ones(1), "w:coded_indices": coded(0, 2_000_000), "w:coded_gaps": coded(0, 2_000_000)},
        ),
    ):
        tracemalloc.start()
        try:
            unpack(stored, wanted(tensors))
        except ValueError:
            assert tensors is not many
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4 * tensors["w"].nbytes + 500_000

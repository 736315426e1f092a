"""Machines as files say they are, and what follows for each setting."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from core.common.errors import LabError
from core.common.processor import read_flags
from core.hardware import energy
from core.hardware.config import MOST_CELLS, HardwareConfig
from core.hardware.expect import expect, is_slow, slow_warning
from core.hardware.machine import Gpu, Machine, features_of, read_machine
from core.hardware.measure import time_limit
from core.hardware.setups import Setup, changes, is_possible
from tests.unit.hardware.planted import CONFIG, MACHINE, cell

ZEN3 = "processor\t: 0\nflags\t\t: fpu sse2 avx avx2 fma\n\nprocessor\t: 1\nflags\t\t: fpu sse2 avx avx2 fma\n"
SAPPHIRE = "flags\t\t: avx2 avx512f avx512_vnni avx512_bf16 avx512_fp16 amx_tile amx_bf16 amx_int8\n"
GRAVITON = "Features\t: fp asimd asimdhp asimddp sve i8mm bf16\n"


def of_file(cpuinfo: str) -> tuple[str, ...]:
    return features_of(read_flags(cpuinfo))


def with_flags(cpuinfo: str) -> Machine:
    return dataclasses.replace(MACHINE, features=of_file(cpuinfo))


def test_flags_are_read_on_x86_and_arm() -> None:
    assert of_file(ZEN3) == ("avx2",)
    assert {"avx512_vnni", "amx_bf16", "avx512_fp16"} <= set(of_file(SAPPHIRE))
    assert {"asimd", "bf16", "i8mm"} <= set(of_file(GRAVITON))
    assert of_file(ZEN3 + SAPPHIRE) == ("avx2",), "what only some processors have cannot be relied on"
    assert of_file("") == ()
    assert "no AVX-512, VNNI, bfloat16 or AMX" in with_flags(ZEN3).feature_words
    assert "; no" not in with_flags(SAPPHIRE).feature_words
    assert "; no" not in with_flags(GRAVITON).feature_words


def test_this_machine_can_be_read_and_written() -> None:
    found = read_machine()
    assert found.cores >= 1
    assert found.memory_bytes > 10**8
    assert "torch" in found.versions
    assert Machine.from_dict(dataclasses.asdict(found)) == found


@pytest.mark.parametrize(
    ("cpuinfo", "precision", "slow"),
    [
        (ZEN3, "bfloat16", True),
        (ZEN3, "float16", True),
        (ZEN3, "float32", False),
        (ZEN3, "int8", False),
        (SAPPHIRE, "bfloat16", False),
        (SAPPHIRE, "float16", False),
        (GRAVITON, "bfloat16", False),
        ("flags : avx2 avx512f\n", "bfloat16", False),
        ("flags : avx2 avx512f\n", "float16", True),
    ],
)
def test_precisions_that_the_processor_must_imitate_are_slow(cpuinfo: str, precision: str, slow: bool) -> None:
    machine = with_flags(cpuinfo)
    runtime = "onnx" if precision == "int8" else "eager"
    setup = cell(precision=precision, runtime=runtime)
    assert is_slow(setup, machine) is slow
    assert bool(slow_warning(setup, machine)) is slow
    expected = expect(setup, cell(), machine)
    assert expected.slow is slow
    assert (expected.high < 1) is slow
    assert time_limit(setup, CONFIG, machine) == (20 if slow else CONFIG.limit_s)
    assert not is_slow(dataclasses.replace(setup, device="cuda:0"), machine)


def test_better_instructions_promise_more() -> None:
    def most(cpuinfo: str, **setting: object) -> float:
        return expect(cell(**setting), cell(), with_flags(cpuinfo)).high

    int8 = {"precision": "int8", "runtime": "onnx"}
    assert most(SAPPHIRE, **int8) > most(ZEN3, **int8)
    assert most(SAPPHIRE, precision="bfloat16") > most(GRAVITON, precision="bfloat16") > 1
    assert most(ZEN3, threads=1) == pytest.approx(1.1 * 1.1)
    same = expect(cell(), cell(), MACHINE)
    assert same.holds(1.0)
    assert not same.why
    assert not same.holds(1.3)


def test_a_gpu_is_judged_by_its_compute_capability() -> None:
    def with_gpu(capability: tuple[int, int]) -> Machine:
        gpu = Gpu(name="GPU", device="cuda:0", capability=capability, memory_bytes=10**10)
        return dataclasses.replace(MACHINE, gpus=(gpu,))

    setup, base = cell(device="cuda", precision="bfloat16"), cell(device="cuda")
    assert expect(setup, base, with_gpu((9, 0))).high > 2
    assert expect(setup, base, with_gpu((7, 5))).high < 2
    assert expect(base, cell(), with_gpu((7, 5))).low > 1
    assert "GPU" in with_gpu((9, 0)).title


def test_a_grid_has_each_possible_cell_once_and_references_first() -> None:
    setups = CONFIG.setups
    assert len(set(setups)) == len(setups)
    assert setups[0] == CONFIG.reference(setups[0])
    assert all(map(is_possible, setups))
    # Inference: eager and compile in two layouts and threads, ONNX Runtime in two precisions; training: eager and compile.
    assert len(setups) == 2 * 2 * 2 + 2 * 2 + 2 * 2
    assert {setup.memory_format for setup in setups if setup.work == "training"} == {"channels_last"}
    without = CONFIG.replace(precisions=("bfloat16",), runtimes=("compile",), formats=("channels_last",), threads=(2,))
    assert [changes(setup, without.reference(setup)) for setup in without.setups] == [0, 3, 0, 2]
    assert HardwareConfig.from_dict(CONFIG.to_dict()) == CONFIG
    many = CONFIG.replace(batch_sizes=(1, 8), devices=("cpu", "cuda:0"), works=("inference",))
    gpu = [setup for setup in many.setups if not setup.on_cpu]
    assert {setup.threads for setup in gpu} == {2}, "threads are of the processor"
    assert "onnx" not in {setup.runtime for setup in gpu}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"threads": (2, 2)}, "each once"),
        ({"works": ()}, "at least one"),
        ({"devices": ("auto",)}, "name the devices"),
        ({"devices": ("tpu",)}, "must be auto, cpu"),
        ({"rounds": 2}, "from 3 to 50"),
        ({"batch_sizes": (0,)}, "batch_sizes"),
        ({"threads": tuple(range(1, 60)), "batch_sizes": (1, 2)}, f"{MOST_CELLS} at most"),
    ],
)
def test_a_bad_choice_is_one_sentence(changed: dict[str, object], words: str) -> None:
    with pytest.raises(LabError, match=words):
        CONFIG.replace(**changed)


@pytest.mark.parametrize(
    "changed", [{"runtime": "keras"}, {"threads": 0}, {"threads": True}, {"batch_size": 10**9}, {"device": "../x"}]
)
def test_no_cell_comes_out_of_a_hostile_file(changed: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError)):
        Setup.from_dict(dataclasses.asdict(cell()) | changed)


def test_energy_is_read_where_there_is_a_counter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)
    assert energy.counter("cpu")() is None
    for name, joules in (("intel-rapl:0", 5), ("intel-rapl:1", 7), ("intel-rapl:0:0", 3)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "energy_uj").write_text(f"{joules}000000\n")
    read = energy.counter("cpu")
    before = read()
    assert before == 12, "a package holds its parts"
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("6500000\n")
    assert energy.spent(before, read()) == pytest.approx(1.5)
    assert energy.spent(13.0, before) is None, "the counter began anew"
    assert energy.counter("mps")() is None

"""Deleting a set takes its dataset and its run, frees what it says, and leaves all else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.common.errors import LabError
from core.data import list_generated
from core.data.generated import GeneratedCard, write_generated
from core.data.storage import folder_bytes
from core.jobs import RunStore
from core.synthesis.config import SynthesisConfig
from core.synthesis.kind import SYNTHESIS
from core.synthesis.removal import delete_set
from tests.unit.terminal import run_main


def write(set_id: str) -> None:
    images = np.zeros((20, 32, 32, 3), np.uint8)
    card = GeneratedCard(title="Mine", base="cifar10", checkpoint="flow_unet", trained_on=40, count=20)
    write_generated(set_id, images, np.arange(20) % 10, card)


def test_it_frees_what_it_says_and_leaves_others(lab_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = RunStore()
    mine, other = (store.create(SynthesisConfig(), kind=SYNTHESIS.name) for _ in range(2))
    for set_id in (mine, other, "without-a-run"):
        write(set_id)
    (store.folder(mine) / "images.bin").write_bytes(bytes(5000))
    parts = (lab_home / "generated", store.root)
    before = sum(map(folder_bytes, parts))
    freed = delete_set(store, mine)
    assert freed > 20 * 32 * 32 * 3 + 5000
    assert before - sum(map(folder_bytes, parts)) == pytest.approx(freed, abs=4000)  # the list of runs is kept, too
    assert [run.id for run in store.list()] == [other]
    assert {source.name for source in list_generated()} == {f"generated:{other}", "generated:without-a-run"}
    delete_set(store, "without-a-run")
    assert run_main(capsys, "synthesize", "delete", other)[0] == 0
    assert not list_generated()
    assert not store.list()
    with pytest.raises(LabError, match="There are no generated images"):
        delete_set(store, mine)

"""What all tests share: a LAB_HOME of their own, one thread, and a data set that is learned in seconds."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# Set while pytest collects, before any test module can import torch or read LAB_HOME: threads are fixed when torch is
# imported, and no test may touch the datasets and runs of the person who runs it.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"
os.environ["GOMP_SPINCOUNT"] = "0"
_HOME = Path(tempfile.mkdtemp(prefix="bottleneck-lab-tests-"))
os.environ["LAB_HOME"] = str(_HOME)
# Bytecode is kept, whatever the shell says: pytest rewrites 300 test modules otherwise, and each process that a test
# starts compiles the lab anew.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_unconfigure() -> None:
    gc.unfreeze()
    shutil.rmtree(_HOME, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Quick tests first, those in a browser last."""
    order = ("unit", "app", "browser")
    items.sort(key=lambda item: next((place for place, part in enumerate(order) if part in item.path.parts), 0))


def pytest_collection_finish() -> None:
    """What all test modules have imported is there to stay: no garbage collection looks through it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def lab_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty LAB_HOME for this test alone (not created yet, as on a first start)."""
    home = tmp_path / "lab"
    monkeypatch.setenv("LAB_HOME", str(home))
    return home


@pytest.fixture(scope="session")
def tiny_dataset_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of class folders with 3 × 60 training and 3 × 20 test images; its dataset name is `folder:<path>`."""
    from tests.tiny import write_class_folders

    return write_class_folders(tmp_path_factory.mktemp("shapes"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A LAB_HOME for a whole module, whose runs go one at a time."""
    folder = tmp_path_factory.mktemp("lab")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAB_HOME", str(folder))
        patch.setenv("LAB_SLOTS", "1")
        yield folder


@pytest.fixture
def queue_only(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs are queued and never started; those that the test made are removed."""
    from core.jobs import LocalEngine, RunStore

    before = {run.id for run in RunStore().list()}
    monkeypatch.setattr(LocalEngine, "tick", lambda self: None)
    yield
    for run in RunStore().list():
        if run.id not in before:
            RunStore().delete(run.id)

"""What every page shares: the run store, the engine, loaded checkpoints and datasets. Live objects stay in here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import streamlit as st

from core.checkpoints.store import Checkpoint, CheckpointRef, load_checkpoint
from core.data import dataset_state, load_images, load_text
from core.data.dataset import ImageDataset, TextDataset
from core.jobs import LocalEngine, Run, RunStore, open_engine
from core.jobs.quota import Quota
from pages.shared.user import user

if TYPE_CHECKING:
    from core.attribution.explainer import Explainer


def store() -> RunStore:
    """The runs on disk; holds no state of its own."""
    return RunStore()


def engine() -> LocalEngine:
    """What starts and stops workers; the truth is in the run folders, so any number of these agree."""
    return open_engine(store())


def forget_runs() -> None:
    """After a change: the next look reads the disk again."""
    _runs_now.clear()


def runs_now() -> list[Run]:
    """All runs, newest first, after a push to the queue; at most a blink old. Raises LabError."""
    return _runs_now(str(store().root))


@st.cache_resource(ttl=0.7, show_spinner=False)
def _runs_now(root: str) -> list[Run]:
    engine().tick()
    return store().list()


def act(verb: str, run_id: str) -> None:
    """`submit` or `stop` a run, and see the effect at once. Raises LabError."""
    if verb == "submit":
        engine().submit(run_id, user=user())
    else:
        engine().stop(run_id)
    forget_runs()


def start_new(make: Callable[[], str]) -> Run:
    """Hand what `make` makes, or changes, to the engine; it returns the run's id. Raises LabError, with nothing made for a user
    who has as much as they may."""
    Quota.from_environment().check(store(), user())
    run_id = make()
    act("submit", run_id)
    return store().get(run_id)


def may_store(size_bytes: int = 0) -> str:
    """Who keeps so many bytes more on this server. Raises LabError for a user who has as much as they may."""
    Quota.from_environment().check_disk(store(), user(), size_bytes)
    return user()


def loaded(reference: CheckpointRef) -> Checkpoint:
    """The checkpoint with its model, from memory if it was loaded before and its card still says the same."""
    return _loaded(str(reference.folder), reference.card.fingerprint, reference)


@st.cache_resource(max_entries=6, show_spinner=False)
def _loaded(folder: str, fingerprint: str, _reference: CheckpointRef) -> Checkpoint:
    return load_checkpoint(_reference)


def explainer_of(reference: CheckpointRef) -> Explainer:
    """What answers for a checkpoint. Raises LabError where that cannot be read."""
    return _explainer(reference.card.fingerprint, reference)


@st.cache_resource(max_entries=6, show_spinner=False)
def _explainer(fingerprint: str, _reference: CheckpointRef) -> Explainer:
    from core.attribution.explainer import Explainer

    return Explainer(loaded(_reference))


def dataset(name: str) -> ImageDataset:
    """Images that are on disk already, in memory once per server, and read again when they have changed there.

    Raises LabError where the name is of a text.
    """
    return _dataset(name, dataset_state(name))


@st.cache_resource(max_entries=2, show_spinner=False)
def _dataset(name: str, state: str) -> ImageDataset:
    return load_images(name)


def text_dataset(name: str) -> TextDataset:
    """The same for a text. Raises LabError where the name is of images."""
    return _text_dataset(name, dataset_state(name))


@st.cache_resource(max_entries=3, show_spinner=False)
def _text_dataset(name: str, state: str) -> TextDataset:
    return load_text(name)


def dark() -> bool:
    """Whether the page is shown on a dark background."""
    return st.context.theme.type == "dark"

"""A button that fetches a dataset, with percent, rate and time left."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from core.common.errors import LabError
from core.common.progress import Progress
from core.data import DATASETS, dataset_status, load_dataset
from pages.shared import tasks
from pages.shared.text import show_error, size


def dataset_or_offer(name: str, purpose: str, key: str) -> bool:
    """True if the dataset is on disk. Otherwise offers to fetch it (or shows how far that is) and returns False.

    purpose: ends the sentence "CIFAR-10 is not on this machine yet; it is needed to …".
    """
    try:
        if dataset_status(name).ready:
            return True
    except LabError as error:
        show_error(error)
        return False
    task_key = f"fetch-{name}"
    if tasks.watch(task_key):
        return False
    task = tasks.find(task_key)
    if task and task.error:
        show_error(task.error)
    source = DATASETS[name]
    st.info(f"{source.title} is not on this machine yet; it is needed to {purpose}.", icon=":material/download:")
    if st.button(f"Fetch {source.title} ({size(source.download_bytes)})", key=f"fetch-{key}", type="primary"):
        tasks.start(task_key, lambda report: load_dataset(name, on_progress=_forward(report)) and True)
        st.rerun()
    return False


def _forward(report: Callable[..., None]) -> Progress:
    def on_progress(fraction: float, words: str) -> None:
        stage, _, detail = words.partition(" (")
        report(stage, fraction or None, detail.removesuffix(")"))

    return on_progress

"""A button that fetches a dataset, with percent, rate and time left."""

from __future__ import annotations

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
    task_key = fetch_key(name)
    if tasks.watch(task_key, quiet=True):
        return False
    source = DATASETS[name]
    st.info(f"{source.title} is not on this machine yet; it is needed to {purpose}.", icon=":material/download:")
    label = f"Fetch {source.title} ({size(source.download_bytes)})"
    tasks.start_button(label, task_key, lambda report: _fetch(name, report), button=f"fetch-{key}", type="primary")
    return False


def fetch_key(name: str) -> str:
    """Of the task that fetches a dataset."""
    return f"fetch-{name}"


def _fetch(name: str, report: Progress) -> None:
    load_dataset(name, report)  # what it returns is large, and a task keeps its result

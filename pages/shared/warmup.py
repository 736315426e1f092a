"""Loads what the first answer needs while nobody waits for it: never on the way to the first paint.

Importing torch takes 5-7 s on 2 cores and torchvision as long again. A thread started after the first page was sent
imports them one after the other; a page that needs torch sooner waits for that same thread and says so.
"""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections.abc import Iterator

import streamlit as st

from core.checkpoints.store import list_checkpoints

THREAD = "warm-up"
PAUSE_S = 1.0
"""Between the first page and the first import: the browser fetches its scripts in that time."""
IDLE_S = 3.0
"""What no answer waits for is loaded when nobody has asked for a page for so long."""
EXPECTED_S = 12.0
"""Import of torch and the first checkpoint on a slow machine, for the progress bar."""


class Warmup:
    """Started once per server. `stage` is for people; `ready` is set once a checkpoint can answer."""

    def __init__(self) -> None:
        self.stage = "Starting"
        self.ready = threading.Event()
        self.done = threading.Event()
        self.devices: list[str] = []
        self.error: str | None = None
        self.seen = time.monotonic()
        """When a page was last drawn."""
        self._hurry = threading.Event()
        self._hurry_all = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self, pause_s: float = PAUSE_S) -> None:
        """Begin in the background; a second call does nothing."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, args=(pause_s,), name=THREAD, daemon=True)
                self._thread.start()

    def wait(self, *, everything: bool = False) -> Iterator[float]:
        """Start if needed, and yield the fraction done (0..1, estimated) a few times a second until ready.

        everything: until the rest is loaded too.
        """
        self._hurry.set()
        if everything:
            self._hurry_all.set()
        self.start(0)
        begun = time.monotonic()
        while not (self.done if everything else self.ready).wait(0.2):
            yield min(0.97, (time.monotonic() - begun) / EXPECTED_S)

    def hold(self) -> None:
        """Wait for it, in a thread that will import torch itself: two threads that import it and what it needs at once may
        each find half of the other's, and a torch that failed once cannot be imported again."""
        for _ in self.wait():
            pass

    def _run(self, pause_s: float) -> None:
        from pages.shared.resources import loaded

        self._hurry.wait(pause_s)
        try:
            self.stage = "Loading PyTorch"
            import torch  # noqa: F401

            from core.common.devices import describe_devices

            self.devices = [device.title for device in describe_devices()]
            self.stage = "Loading the first checkpoint"
            for reference in list_checkpoints(task="images")[:1]:
                _answer_once(loaded(reference))
        except Exception as error:  # The page that needs it meets the same error with a user there to read it.
            self.error = f"{error}"
            traceback.print_exc()
        finally:
            self.ready.set()
        while time.monotonic() - self.seen < IDLE_S and not self._hurry_all.wait(0.2):
            pass
        try:
            self.stage = "Loading the rest"
            import pandas  # noqa: F401
            import plotly.graph_objects  # noqa: F401
            import pyarrow  # noqa: F401
            import scipy.special  # noqa: F401
            import torchvision  # noqa: F401

            for reference in list_checkpoints(task="images")[:1]:
                _explain_once(loaded(reference))
            for reference in list_checkpoints(task="text")[:1]:
                _write_once(loaded(reference))
        except Exception as error:
            self.error = self.error or f"{error}"
        finally:
            self.stage = "Ready"
            self.done.set()


def _answer_once(checkpoint: object) -> None:
    """The first forward pass builds kernels and memory pools: let it be a blank image's."""
    import numpy as np

    from core.checkpoints.store import Checkpoint
    from core.inference.images import classify

    assert isinstance(checkpoint, Checkpoint)
    side = checkpoint.card.image_data.image_size
    classify(checkpoint, np.full((1, side, side, 3), 128, np.uint8))


def _explain_once(checkpoint: object) -> None:
    """Captum, and what it and the measures of its maps import."""
    import numpy as np
    import sklearn.linear_model  # noqa: F401

    from core.attribution.evidence.controls import edges
    from core.attribution.explainer import Explainer
    from core.attribution.methods.registry import get_method
    from core.checkpoints.store import Checkpoint

    assert isinstance(checkpoint, Checkpoint)
    side = checkpoint.card.image_data.image_size
    pixels = np.full((side, side, 3), 128, np.uint8)
    edges(pixels)
    Explainer(checkpoint).attribute(get_method("saliency"), pixels, 0)


def _write_once(checkpoint: object) -> None:
    """The same for a language model: two characters."""
    from core.checkpoints.store import Checkpoint
    from core.inference.generate import write
    from core.inference.sampling import SamplingConfig

    assert isinstance(checkpoint, Checkpoint)
    list(write(checkpoint, "", SamplingConfig(length=2)))


@st.cache_resource(show_spinner=False)
def warmup() -> Warmup:
    """The one of this server."""
    return Warmup()


def warm_up_in_background() -> None:
    """Called after each page; starts once per server, unless LAB_WARM=0 (tests that need no torch)."""
    warmup().seen = time.monotonic()
    if os.environ.get("LAB_WARM") != "0":
        warmup().start()


def until_ready(*, everything: bool = False) -> None:
    """Hold the page until torch is there, showing how far it is. Returns at once when warm.

    everything: until what explains an answer is there too; a second thread must not import it meanwhile.
    """
    warm = warmup()
    if (warm.done if everything else warm.ready).is_set():
        return
    place = st.empty()
    place.progress(0.0, text="Getting ready for the first answer")
    for fraction in warm.wait(everything=everything):
        place.progress(fraction, text=f"{warm.stage}. Only the first answer of a fresh server waits for this.")
    place.empty()

"""A child process whose networks are fakes: the number of threads says what it does."""

from __future__ import annotations

import os
import signal
import time

import numpy as np

from core.hardware import child, networks
from core.hardware.networks import Loaded, Spec

KILLED, NO_MEMORY, HANGS, DIES_LATER, EXITS = 3, 4, 5, 6, 7


def load(spec: Spec) -> Loaded:
    threads, calls = spec.setup.threads, [0]
    with np.load(spec.sample) as file:
        labels = file["labels"]

    def start() -> None:
        if threads == KILLED:
            os.kill(os.getpid(), signal.SIGKILL)
        if threads == NO_MEMORY:
            raise MemoryError
        if threads == HANGS:
            time.sleep(1000)
        if threads == EXITS:
            print("what it says last", flush=True)
            os._exit(5)

    def call() -> None:
        calls[0] += 1
        if threads == DIES_LATER and calls[0] > 5:  # three before the rounds, at least one in each
            os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(0.02)

    def logits() -> np.ndarray:
        return np.eye(10, dtype=np.float32)[labels] * threads

    return Loaded(start=start, call=call, logits=logits, calls_for_logits=1)


if __name__ == "__main__":
    networks.load = load
    networks.import_libraries = lambda setup: None
    child.ROUND_S = 0.05
    child.main()

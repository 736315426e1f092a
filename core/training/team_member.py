"""A process that helps to train: `python -m core.training.team_member RUN_FOLDER MEETING RANK SIZE`.

Started by core.training.team. It takes step after step, each of which needs all processes, until the first one ends it; it
writes nothing.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from core.common.parent import end_with_parent
from core.data import load_dataset
from core.jobs.store import STATE, RunStore
from core.training.session import TrainSession
from core.training.team import Team, device_of, ready
from core.training.trainer import train_step


def main(folder: str, meeting: str, rank: str, size: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the first process ends us
    end_with_parent(lambda: os._exit(1))
    run = Path(folder)
    config = RunStore(run.parent).config(run.name)
    ready(Path(meeting), int(rank)).touch()
    team = Team.join(Path(meeting), int(rank), int(size))
    dataset = load_dataset(config.dataset)
    session = TrainSession.start(config, dataset, device_of(config, team.rank), team=team)
    if (run / STATE).exists():
        session.load_state(run / STATE)
    for inputs, targets in session.batches():
        train_step(session, inputs, targets)


if __name__ == "__main__":
    main(*sys.argv[1:])

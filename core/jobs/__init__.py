"""Runs: jobs on disk, and the engine that starts and stops their workers. Nothing here imports torch at module level."""

from core.jobs.engine import LocalEngine, open_engine
from core.jobs.run import Run
from core.jobs.store import RunStore

__all__ = ["LocalEngine", "Run", "RunStore", "open_engine"]

"""Runs: jobs on disk, and the engine that starts and stops their workers. Nothing here imports torch at module level."""

from core.runs.engine import Engine, LocalEngine
from core.runs.run import Run
from core.runs.store import RunStore

__all__ = ["Engine", "LocalEngine", "Run", "RunStore"]

"""Many users at one server: how much each may have, and whose turn it is.

A user is a text that the server tells apart, such as a name or a browser's token; what a terminal starts has the empty one,
which no limit holds for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.common.environment import number_from
from core.common.errors import LabError
from core.common.values import plural
from core.data.storage import folder_bytes

if TYPE_CHECKING:
    from core.jobs.run import Run
    from core.jobs.store import RunStore

MOST_RUNS, MOST_GB = 1024, 100_000.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Quota:
    """What one user may have at this server; None is no limit."""

    runs: int | None = None
    """Queued or running at once."""
    disk_gb: float | None = None
    """All their runs together, 10⁹ bytes."""

    @classmethod
    def from_environment(cls) -> Quota:
        """LAB_QUOTA_RUNS and LAB_QUOTA_GB. Raises LabError for what is not a number in range."""
        runs, disk = number_from("LAB_QUOTA_RUNS", 0, MOST_RUNS, whole=True), number_from("LAB_QUOTA_GB", 0, MOST_GB)
        return cls(runs=None if runs is None else int(runs), disk_gb=disk)

    def check(self, store: RunStore, user: str) -> None:
        """Raises LabError where the user may not start another run now."""
        if not user or (self.runs is None and self.disk_gb is None):
            return
        own = [run for run in store.list() if run.user == user]
        active = sum(run.active for run in own)
        if self.runs is not None and active >= self.runs:
            if not self.runs:
                raise LabError("Users cannot start runs on this server: ask its administrator.")
            have = plural(active, "run")
            raise LabError(
                f"You have {have} under way, as many as this server allows each user: wait for one to end, or stop one."
            )
        if self.disk_gb is not None:
            used_gb = sum(folder_bytes(store.root / run.id) for run in own) / 1e9
            if used_gb >= self.disk_gb:
                raise LabError(
                    f"Your runs take {used_gb:.3g} GB, and this server allows each user {self.disk_gb:g} GB: delete some "
                    "under Runs."
                )


def fair_order(queued: Sequence[Run], working: Iterable[Run]) -> list[Run]:
    """Who is next: a user's n-th run counts as one of round n, those that run already first; rounds go one after the other.

    queued: those that came first are first, and stay so within a round and for one user.
    """
    rounds = Counter(run.user for run in working)
    turns = []
    for run in queued:
        turns.append(rounds[run.user])
        rounds[run.user] += 1
    return [queued[place] for place in sorted(range(len(queued)), key=turns.__getitem__)]  # stable

"""Many users at one server: how much each may have, and whose turn it is.

A user is a text that the server tells apart, such as a name or a browser's token; what a terminal starts has the empty one,
which no limit holds for.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.checkpoints.store import NETWORKS
from core.common.environment import number_from
from core.common.errors import LabError
from core.common.paths import lab_home
from core.common.values import plural
from core.data import generated, image_uploads, texts
from core.data.storage import folder_bytes, owned_bytes, remove_leftovers

if TYPE_CHECKING:
    from core.jobs.run import Run
    from core.jobs.store import RunStore

MOST_RUNS, MOST_GB = 1024, 100_000.0
PLACES = {"runs": "Runs", "datasets": "Datasets", "networks": "Networks"}
"""What a user keeps -> the page that deletes it."""
UNFINISHED = "unfinished uploads"
"""Files of networks that were given and neither kept nor put away."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Quota:
    """What one user may have at this server; None is no limit."""

    runs: int | None = None
    """Queued or running at once."""
    disk_gb: float | None = None
    """All that they keep together, 10⁹ bytes: see `stored_bytes`."""

    @classmethod
    def from_environment(cls) -> Quota:
        """LAB_QUOTA_RUNS and LAB_QUOTA_GB. Raises LabError for what is not a number in range."""
        runs, disk = number_from("LAB_QUOTA_RUNS", 0, MOST_RUNS, whole=True), number_from("LAB_QUOTA_GB", 0, MOST_GB)
        return cls(runs=None if runs is None else int(runs), disk_gb=disk)

    def check(self, store: RunStore, user: str) -> None:
        """Raises LabError where the user may not start another run now."""
        if not user:
            return
        if self.runs is not None:
            active = sum(run.active for run in store.list() if run.user == user)
            if not self.runs:
                raise LabError("Users cannot start runs on this server: ask its administrator.")
            if active >= self.runs:
                raise LabError(
                    f"You have {plural(active, 'run')} under way, as many as this server allows each user: wait for one to end, "
                    "or stop one."
                )
        self.check_disk(store, user)

    def check_disk(self, store: RunStore, user: str, adding: int = 0) -> None:
        """Raises LabError where the user may not keep so many bytes more, or has as much as they may."""
        if not user or self.disk_gb is None:
            return
        used = {what: count for what, count in stored_bytes(store, user).items() if count}
        limit = 1e9 * self.disk_gb
        if sum(used.values()) + max(adding, 1) <= limit:
            return
        takes = [f"your {name} take {_megabytes(count)}" for name, count in used.items()]
        takes += [f"this upload takes {_megabytes(adding)}"] * bool(adding)
        pages = " or ".join(PLACES[what] for what in used if what in PLACES)
        advice = f"delete some under {pages}" if pages else "give less"
        if UNFINISHED in used:
            advice += f", or wait a day for {UNFINISHED} to go"
        words = f"{', '.join(takes)}, and this" if takes else "This"
        raise LabError(f"{words[0].upper()}{words[1:]} server allows each user {_megabytes(limit)}: {advice}.")


def stored_bytes(store: RunStore, user: str) -> dict[str, int]:
    """What a user keeps here -> its bytes, the most first. What has no owner, such as all that a terminal made, is nobody's."""
    networks = lab_home() / NETWORKS
    remove_leftovers(networks)
    found = {
        "runs": sum(folder_bytes(store.root / run.id) for run in store.list() if run.user == user),
        "datasets": owned_bytes(image_uploads.folder(), "*.json", user)
        + owned_bytes(texts.folder(), "*.json", user)
        + owned_bytes(generated.home(), f"*/{generated.CARD}", user),
        "networks": owned_bytes(networks, "[!.]*/facts.json", user),
        UNFINISHED: owned_bytes(networks, ".*/facts.json", user),
    }
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))


def _megabytes(count: float) -> str:
    return f"{math.ceil(count / 1e6):,} MB"


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

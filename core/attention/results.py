"""What was measured of a language model's heads. Nothing here imports torch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.attention.config import HeadsConfig
from core.attention.roles import ROLES
from core.common.errors import LabError
from core.common.results import ResultStore, check_format
from core.common.values import finite
from core.jobs import RunStore

FORMAT = 1
CHEAP_BITS = 0.01
"""Bits per character below which a head can be removed without much loss."""
MOST_REMOVED = 10
LOSSES, REPORT = "losses.json", "heads.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadWorth:
    """One head."""

    layer: int
    head: int
    cost_bits: float
    """Rise in bits per character without it."""
    half_width: float
    """Half of its 95% interval, over windows of text."""
    shares: dict[str, float]
    """Role -> share of its attention that goes where the rule points, 0..1."""
    role: str
    """Name of its role in `core.attention.roles`; empty where none is clear."""

    @property
    def name(self) -> str:
        return f"{self.layer}.{self.head}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Joint:
    """The heads that cost least, taken out together."""

    heads: tuple[str, ...]
    cost_bits: float
    half_width: float


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadReport:
    checkpoint: str
    fingerprint: str
    """Of its weights."""
    title: str
    dataset: str
    characters: int
    """Scored."""
    bits_per_character: float
    """Of the whole network, on the same characters."""
    heads: tuple[HeadWorth, ...]
    untrained: dict[str, float]
    """Role -> mean share that heads of the same network with random weights give it."""
    joint: tuple[Joint, ...]
    """One, two, … of the cheapest heads at once: chosen on half of the windows, priced on the others."""
    role_characters: int = 0
    """On which roles were measured; 0 in a result from before that was kept."""
    made: dict[str, str] = field(default_factory=dict)

    @property
    def removable(self) -> Joint | None:
        """The most heads that together cost less than CHEAP_BITS, the end of the interval included; None for not one."""
        fits = [joint for joint in self.joint if joint.cost_bits + joint.half_width < CHEAP_BITS]
        return max(fits, key=lambda joint: len(joint.heads), default=None)

    @property
    def answer(self) -> str:
        """What was found, in a sentence."""
        dearest = max(self.heads, key=lambda head: head.cost_bits)
        few = self.removable
        cheap = f"{len(few.heads)} of {len(self.heads)}" if few else f"not one of {len(self.heads)}"
        cheap = f"at least {cheap}" if few and len(few.heads) == MOST_REMOVED else cheap
        cost = f"Head {dearest.name} is worth {dearest.cost_bits:.2f} bits per character"
        if few is None:
            return f"{cost}; {cheap} heads can go for less than {CHEAP_BITS:g} bits."
        return f"{cost}; {cheap} heads can go together for less than {CHEAP_BITS:g} bits."

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"format": FORMAT}

    @classmethod
    def from_dict(cls, values: Any) -> HeadReport:
        """Raises LabError or what a damaged file raises."""
        values = dict(check_format(values, FORMAT, "measurement of heads"))
        values.pop("format", None)
        heads = tuple(HeadWorth(**item) for item in values.pop("heads"))
        joint = tuple(Joint(**item | {"heads": tuple(item["heads"])}) for item in values.pop("joint"))
        costs: list[HeadWorth | Joint] = [*heads, *joint]
        numbers = [number for item in costs for number in (item.cost_bits, item.half_width)]
        shares = [share for head in heads for share in head.shares.values()]
        if not heads or not all(map(finite, [*numbers, *shares, *values["untrained"].values()])):
            raise LabError("This measurement of heads is damaged: make it again.")
        if any(head.role not in ("", *head.shares) or not set(head.shares) <= set(ROLES) for head in heads):
            raise LabError("This measurement of heads names a role that is not known: make it again with this version.")
        return cls(**values, heads=heads, joint=joint)


REPORTS: ResultStore[HeadReport, HeadReport] = ResultStore(
    "measurement of heads",
    Path(__file__).parent / "shipped",
    HeadReport.from_dict,
    part_file=REPORT,
    parse_part=HeadReport.from_dict,
)


def find_report(fingerprint: str, store: RunStore) -> HeadReport | None:
    """What was measured of a network, by a run or by what ships: on the most characters. None where nothing was."""
    found = [REPORTS.read_part(store.folder(run.id)) for run in store.list() if isinstance(run.config, HeadsConfig)]
    found += [REPORTS.load_shipped(name) for name in REPORTS.shipped_names()]
    fits = [report for report in found if report is not None and report.fingerprint == fingerprint]
    return max(fits, key=lambda report: report.characters, default=None)


def read_report(folder: Path, config: Any) -> HeadReport:
    """The result of a run. Raises LabError for a run of another kind, or one that is not done."""
    if not isinstance(config, HeadsConfig):
        raise LabError("This run did not measure heads: pick one from the list of measurements.")
    found = REPORTS.read_part(folder)
    if found is None:
        raise LabError("The heads are not measured yet: wait for the run to end.")
    return dataclasses.replace(found, made=REPORTS.read_facts(folder)["made"])

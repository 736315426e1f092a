"""What was found of a network's loss: descents at several rates, and planes through its surface. Nothing here imports torch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.common.errors import LabError
from core.common.results import ResultStore, check_format
from core.descent.config import SurfaceConfig

FORMAT = 1
RATE_MULTIPLES = (0.25, 0.5, 0.9, 1.1, 1.5, 2.5)
"""Of 2/λ."""
Grid = tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Descent:
    """Full-batch gradient descent on a network at one rate."""

    rate: float
    loss_nats: tuple[float, ...]
    """From the start, one a step."""
    sharpness: tuple[tuple[int, float], ...]
    """(step, largest curvature)."""
    diverged: bool
    """Whether the loss became no number."""

    @property
    def outcome(self) -> str:
        """`diverges`, `rises` where it ends above its start, `spikes` where it was above it on the way, else `falls`."""
        first, last = self.loss_nats[0], self.loss_nats[-1]
        if self.diverged:
            return "diverges"
        if last > first:
            return "rises"
        return "spikes" if max(self.loss_nats) > 1.02 * first else "falls"


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkSweep:
    """Descents of one network from one point."""

    checkpoint: str
    title: str
    images: int
    weights: int
    curvature: float
    """Largest curvature at the start, λ."""
    products: int
    """Hessian-vector products that it took."""
    descents: tuple[Descent, ...]

    @property
    def limit(self) -> float:
        """2/λ."""
        return 2 / self.curvature

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"format": FORMAT, "limit": self.limit}

    @classmethod
    def from_dict(cls, values: Any) -> NetworkSweep:
        """Raises LabError or what a damaged file raises."""
        values = {key: value for key, value in check_format(values, FORMAT, "sweep").items() if key != "format"}
        values.pop("limit")
        descents = tuple(
            Descent(
                rate=float(item["rate"]),
                loss_nats=tuple(map(float, item["loss_nats"])),
                sharpness=tuple((int(step), float(value)) for step, value in item["sharpness"]),
                diverged=bool(item["diverged"]),
            )
            for item in values.pop("descents")
        )
        return cls(**values, descents=descents)


@dataclass(frozen=True, kw_only=True, slots=True)
class PathPoint:
    """A snapshot of the run, projected into the plane."""

    epoch: float
    a: float
    b: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Plane:
    """The loss on a plane through one checkpoint, finished or not."""

    checkpoint: str
    title: str
    a: tuple[float, ...]
    """Coordinates along the first direction; 0 is the checkpoint."""
    b: tuple[float, ...]
    loss_nats: Grid = ()
    """A row for each b that is done, a value for each a; None where it is no number."""
    accuracy: Grid = ()
    centre_loss_nats: float
    """At the checkpoint."""
    curvature: float | None = None
    """Largest curvature at the checkpoint; None while it is not measured."""
    path: tuple[PathPoint, ...] = ()
    share: float | None = None
    """Of the squared movement of the run that lies in the plane, 0..1; None without a path."""
    fingerprint: str = ""
    """Of the checkpoint; empty in files from before it was kept."""

    @property
    def rim(self) -> float | None:
        """Mean loss at the rim of the plane, nats. None until the plane is done, or where the loss is no number there."""
        if not self.done:
            return None
        rows = self.loss_nats
        rim = [*rows[0], *rows[-1], *(row[place] for row in rows for place in (0, -1))]
        known = [value for value in rim if value is not None]
        return sum(known) / len(known) if known else None

    @property
    def done(self) -> bool:
        return len(self.loss_nats) == len(self.b) and self.curvature is not None

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Plane:
        """Raises what a damaged file raises."""
        grids = {name: tuple(map(tuple, values[name])) for name in ("loss_nats", "accuracy")}
        axes = {name: tuple(map(float, values[name])) for name in ("a", "b")}
        return cls(**values | grids | axes | {"path": tuple(PathPoint(**point) for point in values["path"])})


@dataclass(frozen=True, kw_only=True, slots=True)
class Surface:
    """Planes of one job, the checkpoints side by side."""

    config: SurfaceConfig
    planes: tuple[Plane, ...]
    made: dict[str, str] = field(default_factory=dict)

    @property
    def answer(self) -> str:
        """What it shows, in a sentence."""
        done = [plane for plane in self.planes if plane.done]
        if len(self.planes) < len(self.config.checkpoints) or len(done) < len(self.planes):
            return "The surface is not whole yet."
        if len(done) == 2:
            flat, sharp = sorted(done, key=lambda plane: plane.curvature or 0.0)
            return f"{sharp.title} is sharper: λ = {sharp.curvature:.3g} against {flat.curvature:.3g}."
        plane = done[0]
        if self.config.directions == "path" and plane.share is not None:
            return f"One plane holds {100 * plane.share:.0f}% of the way that training took."
        if plane.rim is None:
            return f"The loss is {plane.centre_loss_nats:.2g} nats, and not a number at the rim."
        return f"The loss rises from {plane.centre_loss_nats:.2g} to {plane.rim:.2g} nats at the rim."

    @property
    def sentences(self) -> list[str]:
        """What is known of each checkpoint."""
        found = []
        for plane in self.planes:
            words = [f"{plane.title}: loss {plane.centre_loss_nats:.3g} nats"]
            if plane.rim is not None:
                words.append(f"{plane.rim:.3g} at the rim")
            if plane.curvature:
                words.append(f"largest curvature λ = {plane.curvature:.3g}, so 2/λ = {2 / plane.curvature:.2g}")
            if plane.share is not None:
                words.append(f"the plane holds {100 * plane.share:.2g}% of the movement of its run")
            found.append(", ".join(words) + ".")
        return found

    def to_dict(self) -> dict[str, Any]:
        planes = [dataclasses.asdict(plane) for plane in self.planes]
        return {"format": FORMAT, "config": self.config.to_dict(), "planes": planes, "made": self.made}

    @classmethod
    def from_dict(cls, values: Any) -> Surface:
        """Raises LabError or what a damaged file raises."""
        values = check_format(values, FORMAT, "surface")
        return cls(
            config=SurfaceConfig.from_dict(values["config"]),
            planes=tuple(map(Plane.from_dict, values["planes"])),
            made=dict(values["made"]),
        )


SHIPPED = Path(__file__).parent / "shipped"
SURFACES: ResultStore[Surface, Plane] = ResultStore(
    "surface", SHIPPED / "surfaces", Surface.from_dict, part_file="plane.json", parse_part=Plane.from_dict
)
SWEEPS: ResultStore[NetworkSweep, None] = ResultStore("sweep", SHIPPED / "sweeps", NetworkSweep.from_dict)


def plane_folder(folder: Path, place: int) -> Path:
    """Where a run's folder has the plane of its checkpoint number `place`."""
    return folder / f"plane-{place}"


def read_surface(folder: Path, config: Any) -> Surface:
    """What there is of a surface by now. Raises LabError for a run of another kind."""
    if not isinstance(config, SurfaceConfig):
        raise LabError("This run is not a surface: pick one from the list of surfaces.")
    found = [SURFACES.read_part(plane_folder(folder, place)) for place in range(len(config.checkpoints))]
    planes = tuple(plane for plane in found if plane is not None)
    return Surface(config=config, planes=planes, made=SURFACES.read_facts(folder)["made"])

"""`foundations descent` and `foundations surface`: the numbers of the page, for scripts."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import App, Parameter

from core.common.commands import Detach, Json, Pairs, RunId, RunName, Whole, between, takes_settings
from core.common.errors import LabError
from core.common.output import Bar, print_json, print_table
from core.common.values import finite
from core.data.cli import load_with_bar
from core.descent.config import SurfaceConfig
from core.descent.descent import STEPS, descend, gradient_noise, ranking
from core.descent.functions import FUNCTIONS, OWN, find_minimum, landscape
from core.descent.kind import SURFACE
from core.descent.optimizers import OPTIMIZERS, Hyper
from core.descent.results import SURFACES, SWEEPS, NetworkSweep, Surface, read_surface
from core.jobs import open_engine
from core.jobs.foreground import start_run

surface = App(name="surface", help="The loss on a plane through the weights of one or two checkpoints.")


def descent(
    *,
    function: Annotated[str, Parameter(choices=(*FUNCTIONS, OWN))] = "quadratic",
    formula: str = "",
    condition: Annotated[float, between(1, 1e6)] = 10.0,
    start: str = "",
    rate: Annotated[Pairs | None, Parameter(name="--rate")] = None,
    steps: Annotated[Whole, between(1, 10_000)] = STEPS,
    momentum: Annotated[float, between(0, 0.999)] = 0.9,
    weight_decay: Annotated[float, between(0, 10)] = 0.01,
    schedule: str = "constant",
    batch: Annotated[Whole, between(0, 1_000_000)] = 0,
    seed: Annotated[Whole, between(0, 2**32 - 1)] = 0,
    checkpoint: str = "",
    images: Annotated[Whole, between(10, 50_000)] = 200,
    as_json: Json = False,
) -> None:
    """Descend on a function with seven optimizers, or on a network's loss at rates around 2/λ.

    Prints trajectories, the largest curvature λ at the minimum, and the learning rate 2/λ above which plain gradient descent
    cannot settle there.

    Args:
        function: Or own, with --formula.
        formula: In x and y, as in "x**2 + 3*y**2".
        condition: Of the quadratic.
        start: Two numbers, as in -1.2,1.
        rate: OPTIMIZER=RATE; may be given several times. Only these optimizers run then.
        steps: At most; fewer where it diverges.
        momentum: Of momentum, Nesterov and Muon; beta1 of Adam.
        weight_decay: Of AdamW.
        schedule: constant, linear or cosine.
        batch: Batch size: the noise is the map's median gradient over its square root; 0 for the exact gradient.
        seed: Of the noise.
        checkpoint: Descend on its loss instead, with plain full-batch gradient descent; or trained, untrained: what ships.
        images: Training images of the loss of a checkpoint.
    """
    if checkpoint:
        _print_sweep(_sweep(checkpoint, images), as_json)
        return
    land = landscape(OWN if formula else function, condition=condition, formula=formula)
    point = _point(start) if start else land.start
    chosen = {str(name): _number(name, value) for name, value in rate or []}
    rates = land.rates | chosen
    runs = [(name, rates[name]) for name in (chosen or OPTIMIZERS)]
    noise = gradient_noise(land, batch, seed, steps)
    hyper = Hyper(momentum=momentum, weight_decay=weight_decay)
    paths = descend(land, point, runs, steps=steps, hyper=hyper, schedule=schedule, noise=noise)
    least = find_minimum(land.formula, point, land.width)
    if as_json:
        print_json(
            {
                "formula": land.formula.text,
                "start": list(point),
                "minimum": list(least.point) if least.found else None,
                "curvature": least.curvature,
                "limit": least.limit,
                "paths": [path.to_dict() | {"rate": rate} for path, (_, rate) in zip(paths, runs, strict=True)],
            }
        )
        return
    where = f"({least.point[0]:.4g}, {least.point[1]:.4g})"
    print(f"f(x, y) = {land.formula.text}, largest curvature {least.curvature:.6g} at {where}")
    if not least.found:
        print("No minimum lies downhill of the start.")
    elif least.limit is None:
        print("The curvature there is 0, so 2/λ says nothing.")
    else:
        print(f"Plain gradient descent cannot settle there above 2/λ = {least.limit:.6g}.")
    rows = [
        {
            "optimizer": path.optimizer,
            "rate": rates[path.optimizer],
            "steps": len(path.rates),
            "f": float(path.values[-1]),
            "diverged": "yes" if path.diverged else "no",
        }
        for path in ranking(paths)
    ]
    print_table(rows, list(rows[0]))


@surface.command
@takes_settings(SurfaceConfig)
def start(
    *, name: RunName = None, detach: Detach = False, as_json: Json = False, settings: dict[str, Any] | None = None
) -> int:
    """Compute the loss on a plane through one or two checkpoints."""
    config = SurfaceConfig(**dict(settings or {}))
    engine = open_engine()
    run_id = engine.store.create(config, name, kind=SURFACE.name)
    return start_run(engine, run_id, detach=detach, as_json=as_json)


@surface.command
def show(surface_id: RunId, /, *, as_json: Json = False) -> None:
    """Print what there is of a surface; or of one that ships: path, sharpness."""
    if surface_id in SURFACES.shipped_names():
        found: Surface = SURFACES.load_shipped(surface_id)
    else:
        store = open_engine().store
        found = read_surface(store.folder(surface_id), store.config(surface_id))
    if as_json:
        print_json(found.to_dict())
        return
    print(found.answer)
    for sentence in found.sentences:
        print(sentence)


def _sweep(name: str, images: int) -> NetworkSweep:
    if name in SWEEPS.shipped_names():
        found: NetworkSweep = SWEEPS.load_shipped(name)
        return found
    from core.checkpoints.store import find_checkpoint, load_checkpoint
    from core.data.splits import subset
    from core.descent.network import network_loss, sweep_network

    reference = find_checkpoint(name)
    dataset = load_with_bar(reference.card.image_data.name)
    loss = network_loss(load_checkpoint(reference), subset(dataset.train, images, 0))
    with Bar() as bar:
        return sweep_network(loss, name=name, title=reference.label, on_progress=bar.show)


def _print_sweep(found: NetworkSweep, as_json: bool) -> None:
    if as_json:
        print_json(found.to_dict())
        return
    print(f"{found.title}, {found.images:,} images: largest curvature {found.curvature:.5g}, 2/λ = {found.limit:.5g}")
    rows = [
        {
            "rate": each.rate,
            "of 2/λ": each.rate / found.limit,
            "loss": each.loss_nats[-1],
            "λ at the end": each.sharpness[-1][1] if each.sharpness else None,
            "outcome": each.outcome,
        }
        for each in found.descents
    ]
    print_table(rows, list(rows[0]))


def _number(name: str, value: Any) -> float:
    if not finite(value):
        raise LabError(f"The rate of {name[:40]} is not a number: write it as in --rate sgd=0.1.")
    return float(value)


def _point(text: str) -> tuple[float, float]:
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError:
        raise LabError(f"{text[:40]!r} is not a start: give two numbers, as in -1.2,1.") from None
    return x, y

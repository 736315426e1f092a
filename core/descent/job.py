"""A surface in its worker: plane after plane, row after row, each kept as soon as it is there."""

from __future__ import annotations

import dataclasses
import math
import time

import numpy as np
import torch

from core.checkpoints.store import find_checkpoint, load_checkpoint
from core.common.devices import pick_device
from core.common.errors import LabError
from core.common.paths import ensure_folder
from core.common.values import plural
from core.data import load_images
from core.data.splits import subset
from core.descent.config import SurfaceConfig
from core.descent.network import NetworkLoss, network_loss
from core.descent.results import SURFACES, PathPoint, Plane, plane_folder
from core.descent.surface import axes_around, mean_loss, path_directions, plane_rows, project, random_directions
from core.jobs.job import Job, Outcome
from core.jobs.store import RunStore
from core.training.snapshots import names_of

SHARPNESS_IMAGES = 250
"""Of the sample, for the largest curvature: a Hessian-vector product costs several forward passes."""


def run_surface(config: SurfaceConfig, job: Job) -> Outcome:
    """Do what is missing of a surface. Raises Stopped with every finished row kept, LabError where it cannot be done."""
    device = pick_device(config.device)
    total = len(config.checkpoints) * config.points**2
    job.update(now=True, total_steps=total, device=device, threads=torch.get_num_threads())
    began, before = time.monotonic(), job.run.seconds
    for place, name in enumerate(config.checkpoints):
        folder = ensure_folder(plane_folder(job.folder, place))
        found = SURFACES.read_part(folder)
        if found is not None and found.done:
            job.update(now=True, parts_done=place + 1)
            continue
        loss, directions, empty = _prepare(config, name, device, job)
        if found is None or not _continues(found, empty):
            found = empty
        job.interruptible = False
        job.stage("")
        done_before = place * config.points**2
        fresh = time.monotonic()
        begun_with = len(found.loss_nats)
        for row, losses, accuracies in plane_rows(loss, directions, np.array(found.a), np.array(found.b), begun_with):
            found = dataclasses.replace(
                found,
                loss_nats=(*found.loss_nats, tuple(v if math.isfinite(v) else None for v in losses)),
                accuracy=(*found.accuracy, tuple(accuracies)),
            )
            SURFACES.write_part(folder, found)
            step = done_before + (row + 1) * config.points
            each = (time.monotonic() - fresh) / ((row + 1 - begun_with) * config.points)
            job.update(
                now=True,
                step=step,
                saved_step=step,
                parts_done=place,
                seconds=round(before + time.monotonic() - began, 3),
                seconds_left=(total - step) * each,
                examples_per_s=config.images / each,
            )
            job.stop_if_wanted()
        if found.curvature is None:
            job.stage("measuring the largest curvature")
            some = slice(SHARPNESS_IMAGES)
            measured = NetworkLoss(loss.model, loss.inputs[some], loss.labels[some], loss.chunk)
            top = measured.curvature(check=lambda done: job.stop_if_wanted())
            if not math.isfinite(top.value):
                raise LabError(f"The curvature at {name[:100]} is not a number: choose another checkpoint.")
            found = dataclasses.replace(found, curvature=top.value)
            SURFACES.write_part(folder, found)
        job.update(now=True, parts_done=place + 1)
    SURFACES.write_facts(job.folder, made=job.provenance(plural(torch.get_num_threads(), "thread")))
    seconds = round(before + time.monotonic() - began, 3)
    job.update(now=True, step=total, seconds=seconds)
    return Outcome(status="finished", message=f"{total:,} points of {config.images:,} images each.")


def _continues(found: Plane, empty: Plane) -> bool:
    """Whether the rows there are belong to this network. A plane from before fingerprints were kept is trusted."""
    same = found.fingerprint in ("", empty.fingerprint)
    return same and (found.a, found.b) == (empty.a, empty.b)


def _prepare(config: SurfaceConfig, name: str, device: str, job: Job) -> tuple[NetworkLoss, torch.Tensor, Plane]:
    """The loss at a checkpoint, the directions (2, n), and the plane with its path, still without heights."""
    job.stage("reading the dataset")
    reference = find_checkpoint(name)
    checkpoint = load_checkpoint(reference)
    dataset = load_images(reference.card.image_data.name, job.downloading)
    job.stage("preparing")
    loss = network_loss(checkpoint, subset(getattr(dataset, config.split), config.images, config.seed), device)
    epochs, moves = _moves(name, loss, device)
    if config.directions == "path":
        directions = path_directions(moves)
    else:
        directions = random_directions(loss, config.seed)
    places, share = project(moves, directions)
    if config.directions == "path":
        a, b = axes_around(places.cpu().numpy(), config.points)
    else:
        a = b = torch.linspace(-config.extent, config.extent, config.points, dtype=torch.float64).numpy()
    points = zip(epochs, places.tolist(), strict=True)
    centre_loss = mean_loss(loss)[0]
    if not math.isfinite(centre_loss):
        raise LabError(f"The loss of {name[:100]} is not a number: choose another checkpoint.")
    empty = Plane(
        checkpoint=name,
        title=reference.label,
        a=tuple(map(float, a)),
        b=tuple(map(float, b)),
        centre_loss_nats=centre_loss,
        path=tuple(PathPoint(epoch=epoch, a=place[0], b=place[1]) for epoch, place in points),
        share=share if len(moves) else None,
        fingerprint=reference.card.fingerprint,
    )
    return loss, directions, empty


def _moves(name: str, loss: NetworkLoss, device: str) -> tuple[list[float], torch.Tensor]:
    """Epochs of a run's snapshots and the way (m, n) from the checkpoint to each; none for what keeps no snapshots."""
    run_id = name.partition("/")[0]
    centre = loss.point()
    folder = RunStore().root / run_id
    snapshots = names_of(run_id, folder) if folder.is_dir() else {}
    moves = [network_weights(item, device) - centre for item in snapshots]
    return list(snapshots.values()), torch.stack(moves) if moves else centre.new_zeros((0, len(centre)))


def network_weights(name: str, device: str) -> torch.Tensor:
    """(n,) all weights of a checkpoint, in the order of `NetworkLoss`."""
    model = load_checkpoint(name, device).model
    return torch.cat([weight.detach().reshape(-1) for weight in model.parameters() if weight.is_floating_point()])

"""The loss of a network as a function of its weights, its curvature against SciPy, and planes through it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import nn

from core.app import main
from core.checkpoints.store import load_checkpoint
from core.common.errors import LabError
from core.common.paths import ensure_folder
from core.data import load_images
from core.descent.config import SurfaceConfig
from core.descent.curvature import largest_curvature
from core.descent.figures import on_grid, surface_3d_figure, surface_figure
from core.descent.job import _continues, _moves
from core.descent.kind import SURFACE
from core.descent.network import NetworkLoss, descend_network, network_loss, sweep_network
from core.descent.results import SURFACES, SWEEPS, NetworkSweep, Plane, Surface, plane_folder, read_surface
from core.descent.surface import (
    axes_around,
    mean_loss,
    path_directions,
    plane_rows,
    project,
    random_directions,
)
from core.jobs import RunStore
from core.jobs.job import Job
from core.training.config import TrainConfig
from tests.unit.in_process import finish


@pytest.fixture
def loss() -> NetworkLoss:
    """Of a small network with every kind of layer, in float64."""
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 5))
    model = nn.Sequential(*layers).double()
    return NetworkLoss(model, torch.randn(20, 3, 8, 8).double(), torch.arange(20) % 5)


def test_gradient_and_curvature_equal_autograd_and_eigsh(loss: NetworkLoss) -> None:
    value, gradient = loss.gradient()
    expected = F.cross_entropy(loss.model(loss.inputs), loss.labels)
    assert float(value.detach()) == float(expected.detach())
    parts = torch.autograd.grad(expected, list(loss.model.parameters()))
    torch.testing.assert_close(gradient, torch.cat([part.reshape(-1) for part in parts]))
    product = loss.product()
    operator = LinearOperator(
        (loss.size, loss.size), matvec=lambda v: product(torch.tensor(v.reshape(-1))).numpy(), dtype=np.float64
    )
    top = float(eigsh(operator, k=1, which="LA")[0][0])
    start = torch.randn(loss.size, generator=torch.Generator().manual_seed(0)).double()
    found = largest_curvature(product, start, iterations=3000, tolerance=1e-5)
    assert found.value == pytest.approx(top, rel=1e-6)
    assert loss.curvature().value == pytest.approx(top, rel=5e-3)
    again = loss.curvature(found.vector)
    assert again.value == pytest.approx(top, rel=1e-6)
    assert again.products < found.products


def test_chunks_sum_to_the_whole(loss: NetworkLoss) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 6), nn.Tanh(), nn.Linear(6, 5)).double()
    whole, parts = (NetworkLoss(model, loss.inputs, loss.labels, chunk) for chunk in (0, 6))
    assert [len(labels) for _, labels in parts.chunks()] == [5, 5, 5, 5]
    for one, other in zip(whole.gradient(), parts.gradient(), strict=True):
        torch.testing.assert_close(one, other)
    vector = torch.randn(whole.size, generator=torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(whole.product()(vector), parts.product()(vector))
    assert mean_loss(whole) == pytest.approx(mean_loss(parts))


@pytest.mark.parametrize("count", [2, 3, 4, 7, 20])
def test_batch_norm_never_meets_a_single_image(loss: NetworkLoss, count: int) -> None:
    for chunk in (1, 3, 6, 19):
        parts = NetworkLoss(loss.model, loss.inputs[:count], loss.labels[:count], chunk).chunks()
        assert min(len(labels) for _, labels in parts) >= 2
        assert sum(len(labels) for _, labels in parts) == count


def test_weights_that_are_not_numbers_are_refused(loss: NetworkLoss) -> None:
    loss.move_to(torch.full_like(loss.point(), torch.nan))
    with pytest.raises(LabError, match="not a number"):
        sweep_network(loss, name="tiny", title="Tiny")


def test_full_batch_descent_equals_a_plain_loop(loss: NetworkLoss) -> None:
    copy = NetworkLoss(loss.model, loss.inputs, loss.labels)
    optimizer = torch.optim.SGD(copy.weights, lr=0.05)
    expected = []
    for _ in range(7):
        value, _ = copy.gradient()
        expected.append(float(value))
        optimizer.zero_grad()
        F.cross_entropy(copy.model(copy.inputs), copy.labels).backward()
        optimizer.step()
    found = descend_network(loss, 0.05, 6, every=3)
    np.testing.assert_allclose(found.loss_nats, expected, rtol=1e-10)
    assert [step for step, _ in found.sharpness] == [0, 3, 6]
    assert found.outcome == "falls"


def test_a_sweep_predicts_comes_back_and_survives_json(loss: NetworkLoss) -> None:
    start, seen = loss.point(), []
    found = sweep_network(
        loss, name="tiny", title="Tiny", steps=4, multiples=(0.5, 1e9), on_progress=lambda share, _: seen.append(share)
    )
    torch.testing.assert_close(loss.point(), start, rtol=0, atol=0)
    assert found.descents[0].rate == pytest.approx(0.5 * found.limit)
    assert found.descents[0].outcome == "falls"
    assert found.descents[1].outcome in ("rises", "diverges")
    assert seen == sorted(seen)
    assert NetworkSweep.from_dict(json.loads(json.dumps(found.to_dict()))) == found


# Planes


def test_random_directions_are_as_long_as_the_network_filter_by_filter(loss: NetworkLoss) -> None:
    directions = random_directions(loss, seed=1)
    pieces = directions[0].split([weight.numel() for weight in loss.weights])
    for weight, piece in zip(loss.weights, pieces, strict=True):
        if weight.ndim < 2:
            assert not piece.any()
        else:
            rows = piece.reshape(len(weight), -1)
            torch.testing.assert_close(rows.norm(dim=1), weight.detach().reshape(len(weight), -1).norm(dim=1))
    torch.testing.assert_close(random_directions(loss, seed=1), directions)
    assert not torch.equal(random_directions(loss, seed=2), directions)


def test_a_path_in_a_plane_is_found_again() -> None:
    basis = torch.linalg.qr(torch.randn(50, 2, generator=torch.Generator().manual_seed(0)).double())[0].T
    places = torch.tensor([[3.0, 1], [2, -1], [1, 0.2], [0, 0]]).double()
    directions = path_directions(places @ basis)
    found, share = project(places @ basis, directions)
    assert share == pytest.approx(1)
    torch.testing.assert_close(found @ directions, places @ basis)
    assert float(found.abs().max()) == pytest.approx(1)
    _, part = project(torch.cat([places @ basis, torch.eye(50).double()[:1] * 4]), directions)
    assert 0.4 < part < 0.9
    a, b = axes_around(found.numpy(), 9)
    assert a[0] < min(0, found[:, 0].min()) < max(0, found[:, 0].max()) < a[-1]
    assert a[1] - a[0] == pytest.approx(b[1] - b[0])
    for wrong, says in ((places[:1] @ basis, "no snapshots"), (places[:, :1] @ basis[:1], "one line")):
        with pytest.raises(LabError, match=says):
            path_directions(wrong)


def test_a_plane_is_the_loss_at_the_moved_weights(loss: NetworkLoss) -> None:
    directions, start = random_directions(loss, 0), loss.point()
    axis = np.array([-0.5, 0.0, 0.5])
    rows = list(plane_rows(loss, directions, axis, axis, first=1))
    torch.testing.assert_close(loss.point(), start, rtol=0, atol=0)
    assert [row for row, _, _ in rows] == [1, 2]
    assert rows[0][1][1] == pytest.approx(mean_loss(loss)[0])
    loss.move_to(start + 0.5 * directions[0] + 0.5 * directions[1])
    assert rows[1][1][2] == pytest.approx(float(loss.gradient()[0]))


def test_config_says_what_is_wrong() -> None:
    for wrong, says in (
        ({"checkpoints": ()}, "one or two"),
        ({"checkpoints": ("a", "b"), "directions": "path"}, "one run"),
        ({"points": 3}, "from 5 to 51"),
        ({"extent": 0.0}, "above 0"),
    ):
        with pytest.raises(LabError, match=says):
            SurfaceConfig(**wrong)  # type: ignore[arg-type]
    assert SurfaceConfig.from_dict(SurfaceConfig().to_dict()) == SurfaceConfig()


# The job


@pytest.fixture(scope="module")
def trained(home: Path, tiny_dataset_folder: Path) -> str:
    """The id of a run with snapshots, of a network with batch-norm."""
    config = TrainConfig(
        model="simple_cnn",
        model_config={"widths": (4, 6), "batch_norm": True},
        dataset=f"folder:{tiny_dataset_folder}",
        epochs=3,
        batch_size=30,
        snapshots=2,
        device="cpu",
    )
    run_id = RunStore().create(config)
    assert finish(RunStore(), run_id).status == "finished"
    return run_id


def test_a_surface_stopped_after_a_row_and_resumed_is_the_same(
    trained: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = RunStore()
    config = SurfaceConfig(checkpoints=(f"{trained}/last",), directions="path", points=5, images=30, device="cpu")
    whole, stopped = (store.create(config, kind=SURFACE.name) for _ in range(2))
    assert finish(store, whole).status == "finished"
    with monkeypatch.context() as patch:
        patch.setattr(Job, "stop_wanted", lambda job: "Stopped as asked" if job.value("step") else "")
        run = finish(store, stopped)
    assert (run.status, run.keeps_work) == ("stopped", True)
    part = read_surface(store.folder(stopped), config)
    assert len(part.planes[0].loss_nats) == 1
    assert "not whole yet" in part.answer
    assert finish(store, stopped).status == "finished"
    first, second = (read_surface(store.folder(run_id), config) for run_id in (whole, stopped))
    assert first.planes == second.planes
    with monkeypatch.context() as patch:
        patch.delattr("core.descent.job._prepare")
        again = store.create(config, kind=SURFACE.name)
        SURFACES.write_part(ensure_folder(plane_folder(store.folder(again), 0)), first.planes[0])
        assert finish(store, again).parts_done == 1  # a finished plane needs no network
    assert first.planes[0].fingerprint == load_checkpoint(f"{trained}/last").card.fingerprint
    other = dataclasses.replace(part.planes[0], fingerprint="of another network")
    assert not _continues(other, part.planes[0])
    assert _continues(dataclasses.replace(other, fingerprint=""), part.planes[0])
    plane = first.planes[0]
    assert plane.done
    assert plane.share is not None
    assert plane.share > 0.5
    assert len(plane.path) == 4
    assert plane.path[-1].a == pytest.approx(0, abs=1e-6)
    assert plane.rim == pytest.approx(np.mean(_rim(plane.loss_nats)))
    assert dataclasses.replace(plane, curvature=None).rim is None
    assert len(surface_figure(first, 0, dark=True).data) == 4
    capsys.readouterr()
    assert main(["foundations", "surface", "show", whole, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(first.to_dict()))


def _rim(rows: tuple[tuple[float | None, ...], ...]) -> list[float | None]:
    return [*rows[0], *rows[-1], *(row[0] for row in rows), *(row[-1] for row in rows)]


def test_a_map_without_a_single_loss_can_be_drawn() -> None:
    axis = (-1.0, 0.0, 1.0)
    none, zero = ((None,) * 3,) * 3, ((0.0, 1.0, 2.0),) * 3
    facts = {"checkpoint": "a", "title": "A", "a": axis, "b": axis, "centre_loss_nats": 1.0, "curvature": 1.0}
    for rows, lowest, rim in ((none, 0.0, None), (zero, 0.0, pytest.approx(1))):
        plane = Plane(**facts, loss_nats=rows)  # type: ignore[arg-type]
        found = Surface(config=SurfaceConfig(), planes=(plane,))
        assert plane.rim == rim
        assert "at the rim" in found.answer
        heights = surface_figure(found, 0, dark=False).data[0]
        assert heights.zmin == lowest
        assert not np.isinf(heights.z).any()
        assert not np.isinf(surface_3d_figure(found, 0, dark=False).data[0].z).any()


def test_a_path_lies_on_its_surface_on_one_scale() -> None:
    a, b = np.linspace(-1, 1, 5), np.linspace(0, 2, 9)
    random = np.random.default_rng(0)
    x, y = random.uniform(-1, 1, 20), random.uniform(0, 2, 20)
    product = (1 + 2 * a) * (3 - b[:, None])  # bilinear, so exact
    np.testing.assert_allclose(on_grid(product, a, b, x, y), (1 + 2 * x) * (3 - y))
    assert np.isnan(on_grid(product, a, b, np.array([-1.1, 0.0]), np.array([1.0, 2.1]))).all()
    path, sharpness = (SURFACES.load_shipped(name) for name in ("path", "sharpness"))
    surface, line = surface_3d_figure(path, 0, dark=True).data
    assert len(line.z) == len(path.planes[0].path)
    assert np.isfinite(line.z).all()
    assert surface.cmin <= min(line.z)
    maps = [surface_3d_figure(sharpness, place, dark=False) for place in (0, 1)]
    assert maps[0].layout.scene.zaxis.range == maps[1].layout.scene.zaxis.range
    assert (maps[0].data[0].cmin, maps[0].data[0].cmax) == (maps[1].data[0].cmin, maps[1].data[0].cmax)


def test_two_checkpoints_share_directions_and_a_scale(trained: str) -> None:
    store = RunStore()
    names = (f"{trained}/epoch-0", f"{trained}/last")
    config = SurfaceConfig(checkpoints=names, points=5, images=20, extent=0.5, device="cpu")
    run_id = store.create(config, kind=SURFACE.name)
    assert finish(store, run_id).parts_done == 2
    found = read_surface(store.folder(run_id), config)
    assert "is sharper" in found.answer
    one, two = found.planes
    assert one.a == two.a == tuple(np.linspace(-0.5, 0.5, 5))
    assert one.loss_nats[2][2] == pytest.approx(one.centre_loss_nats, rel=1e-4)
    maps = [surface_figure(found, place, dark=False).data[0] for place in (0, 1)]
    assert (maps[0].zmin, maps[0].zmax) == (maps[1].zmin, maps[1].zmax)


def test_a_checkpoint_without_snapshots_has_no_path(trained: str) -> None:
    store = RunStore()
    config = SurfaceConfig(checkpoints=("simple_cnn",), directions="path", points=5, images=10)
    loss = network_loss(load_checkpoint(trained), load_images(load_checkpoint(trained).card.image_data.name).train)
    assert loss.batch_norm
    assert _moves("simple_cnn", loss, "cpu")[0] == []
    with pytest.raises(LabError, match="not a surface"):
        read_surface(store.folder(trained), store.config(trained))
    images = load_images(load_checkpoint(trained).card.image_data.name).train
    small = dataclasses.replace(images, images=images.images[:, :16, :16])
    with pytest.raises(LabError, match="images of 32 pixels"):
        network_loss(load_checkpoint(trained), small)
    assert config.directions == "path"


def test_what_ships_can_be_read_and_says_something() -> None:
    assert SURFACES.shipped_names() == ("path", "sharpness")
    for name in SURFACES.shipped_names():
        found = SURFACES.load_shipped(name)
        assert all(plane.done for plane in found.planes)
        assert len(found.planes[0].loss_nats) == len(found.planes[0].loss_nats[0]) == 25
    assert SWEEPS.shipped_names() == ("trained", "untrained")
    trained = SWEEPS.load_shipped("trained")
    assert min(each.rate for each in trained.descents) < trained.limit < max(each.rate for each in trained.descents)

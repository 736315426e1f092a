"""The same runs on a Ray cluster of 1, 2 and 4 nodes of one core each, all on this machine."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.benchmark import Figure, figure, ratio
from core.benchmark.processes import empty_home
from core.common.devices import cores
from core.common.errors import LabError
from core.jobs import RunStore
from core.jobs.ray_engine import RayEngine
from core.training.recipes import get_recipe

PART = "cluster"
NODES = (1, 2, 4)
RUNS = 8
MOST_ROUNDS = 3
LIMIT_S = 900.0
MEMORY_BYTES = 80_000_000


def measure(rounds: int) -> Iterator[Figure]:
    """Raises LabError without CIFAR-10 or Ray."""
    taken: dict[int, list[float]] = {count: [] for count in NODES}
    with tempfile.TemporaryDirectory() as folder:
        token = Path(folder) / "token"
        for _ in range(min(rounds, MOST_ROUNDS)):
            for count in NODES:
                taken[count].append(_seconds(count, token))
    note = f"{cores()} cores in all"
    for count in NODES:
        yield figure(PART, f"{RUNS} short runs of simple_cnn, nodes: {count}", taken[count], "s", note)
    for count in NODES[1:]:
        yield ratio(PART, f"{count} nodes / 1 node, runs an hour", taken[1], taken[count], note)


@contextlib.contextmanager
def local_cluster(nodes: int, cpus: int, token: Path) -> Iterator[tuple[Any, str]]:
    """A Ray cluster on this machine and the address of its dashboard: a head without cores, so that runs land on `nodes` nodes of
    `cpus` cores each. token: a file, the same for all clusters of a process; who does not know it is refused. Raises LabError
    without Ray."""
    before = dict(os.environ)
    if not token.exists():
        token.write_text(secrets.token_hex(32))
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    made: Any = None
    try:
        try:  # only now: Ray reads these variables once, when it is imported
            from ray.cluster_utils import Cluster  # type: ignore[import-not-found,unused-ignore]
        except ImportError as error:
            raise LabError("Ray is not installed: pip install -r requirements-ray.txt") from error
        head = {"num_cpus": 0, "include_dashboard": True, "object_store_memory": MEMORY_BYTES}
        made = Cluster(initialize_head=True, head_node_args=head)
        for _ in range(nodes):
            made.add_node(num_cpus=cpus, object_store_memory=MEMORY_BYTES)
        yield made, f"http://{made.head_node.address_info['webui_url']}"
    finally:
        if made is not None:
            made.shutdown()
        os.environ.clear()
        os.environ.update(before)


def _seconds(nodes: int, token: Path) -> float:
    """From the first run's submission to the last one's end."""
    with empty_home() as home, local_cluster(nodes, 1, token) as (_, address):
        os.environ |= {"LAB_HOME": str(home), "LAB_ENGINE": "ray"}
        return _together(RayEngine(RunStore(), address=address))


def _together(engine: RayEngine) -> float:
    config = get_recipe("simple_cnn", "quick").replace(epochs=5, train_images=5000, eval_every=5, device="cpu")
    ids = [engine.store.create(config.replace(seed=seed)) for seed in range(RUNS)]
    started = time.perf_counter()
    for run_id in ids:
        engine.submit(run_id)
    while any(run.active for run in engine.store.list()):
        if time.perf_counter() - started > LIMIT_S:
            raise LabError(f"The cluster has not done {RUNS} short runs in {LIMIT_S:g} s: see its logs.")
        engine.tick()
        time.sleep(0.3)
    taken = time.perf_counter() - started
    if failed := [run.message for run in engine.store.list() if run.status != "finished"]:
        raise LabError(f"A run on the cluster did not finish: {failed[0]}")
    return taken

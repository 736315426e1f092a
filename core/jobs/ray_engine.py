"""Runs on a Ray cluster, behind the same verbs: each is a Ray job that runs the same worker command on one of the nodes.

The run folder, on a path that all nodes share, stays the only truth: who waits, how far a run is, its log and its result
stand there and not in Ray, so that a head that is lost takes nothing with it. Queue and turns are those of LocalEngine; Ray
chooses the node, by the processors, memory and GPUs that a run asks for.

`ray[default]` is installed by whoever wants this (`requirements-ray.txt`). It was tried with nodes on one machine only.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shlex
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from core.common import devices
from core.common.access import check_writable
from core.common.environment import number_from
from core.common.errors import LabError
from core.common.paths import lab_home
from core.jobs.engine import GRACE_S, ROOT, LocalEngine, slots_from_environment
from core.jobs.pool import OWN_JOB
from core.jobs.run import Run
from core.jobs.store import JOB, LOG, RunStore
from core.jobs.worker import SERVER_CODE, code_version

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient  # type: ignore[import-not-found,unused-ignore]

T = TypeVar("T")
ADDRESS = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
"""Where the address may stand, as for Ray's own command line."""
LOOKED, REFUSED = ".ray-look", ".ray-refused"
"""In the store's folder; their times say when somebody last asked Ray about all runs, and when it last did not do as asked."""
LOOK_EVERY_S = 2.0
AGAIN_AFTER_S = 15.0
"""After a refusal."""
ANSWER_S = 10.0
"""How long Ray may take over one request. Others who wait for the store's lock wait for at most 20 seconds."""
HANDED_OVER = "Waiting for a free node of the cluster."
MOST_AT_ONCE = 8
"""Runs that Ray has in hand at once where LAB_SLOTS does not say otherwise: what it has no room for yet, it holds back. Users
take turns with those that it does not have yet."""
PASSED_ON = ("LAB_", "RAY_AUTH_")
"""Environment variables that a worker gets from here, by how their names begin."""
SETTINGS_OF_THE_SERVER = ("LAB_READ_ONLY", "LAB_QUOTA_RUNS", "LAB_QUOTA_GB", "LAB_USER_HEADER", "LAB_GPUS", OWN_JOB)


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What a run asks of its node."""

    cpus: int = 1
    """Processor cores, and threads of the worker. Sums depend on it: a resumed run keeps its own."""
    gpus: float = 0.0
    """For runs that do not name the CPU."""
    memory_gb: float = 0.0
    """10⁹ bytes; 0 asks for none."""
    runtime_env: dict[str, Any] = field(default_factory=dict)
    """Of Ray, such as {"uv": "/shared/lab/requirements.txt"}; the worker then takes its Python from there."""

    @classmethod
    def from_environment(cls) -> Request:
        """LAB_RAY_CPUS, LAB_RAY_GPUS, LAB_RAY_MEMORY_GB, LAB_RAY_RUNTIME_ENV. Raises LabError for what is not valid."""
        text = os.environ.get("LAB_RAY_RUNTIME_ENV", "").strip()
        try:
            runtime_env = json.loads(text or "{}")
        except ValueError:
            runtime_env = None
        if not isinstance(runtime_env, dict):
            raise LabError("LAB_RAY_RUNTIME_ENV is not valid: set it to a JSON object, as Ray's runtime_env.")
        return cls(
            cpus=int(number_from("LAB_RAY_CPUS", 1, 1024, whole=True) or 1),
            gpus=number_from("LAB_RAY_GPUS", 0, 64) or 0.0,
            memory_gb=number_from("LAB_RAY_MEMORY_GB", 0, 100_000) or 0.0,
            runtime_env=runtime_env,
        )


class RayEngine(LocalEngine):
    """See the module. address: of the cluster's dashboard, http://host:8265; None takes it from the environment."""

    def __init__(
        self,
        store: RunStore | None = None,
        slots: int | None = None,
        grace_s: float = GRACE_S,
        address: str | None = None,
    ) -> None:
        given = slots_from_environment() if os.environ.get("LAB_SLOTS", "").strip() else MOST_AT_ONCE
        super().__init__(store, slots=given if slots is None else slots, grace_s=grace_s)
        self.address = address or next((os.environ[name] for name in ADDRESS if os.environ.get(name)), "")
        if not self.address.startswith(("http://", "https://")):
            raise LabError(
                f"LAB_ENGINE=ray needs the address of the cluster's dashboard, not {self.address[:60]!r}: set RAY_ADDRESS to "
                "http://host:8265."
            )

    def submit(self, run_id: str, *, attached: bool = False, user: str = "") -> Run:
        """As LocalEngine. Raises LabError also where no cluster answers."""
        check_writable()
        Request.from_environment()
        self._ask(lambda client: client.get_version())
        with contextlib.suppress(OSError):
            (self.store.root / REFUSED).unlink()
        return super().submit(run_id, attached=attached, user=user)

    def stop(self, run_id: str, *, now: bool = False) -> Run:
        """As LocalEngine: the worker finds the stop file. `now`, and past the grace period, Ray ends it: SIGTERM, then
        SIGKILL."""
        job = self.store.status(run_id).get(JOB)
        run = super().stop(run_id, now=now)
        if job and (now or not run.active):
            self._end_job(str(job))
        return run

    def tick(self) -> None:
        """As LocalEngine; and now and then Ray is asked what became of the jobs that say nothing. A refusal is said where a run
        waits for it, and all is tried again after a while."""
        with contextlib.suppress(LabError):
            if self._look_due():
                self._look()
            super().tick()

    def _ask(self, request: Callable[[JobSubmissionClient], T]) -> T:
        """What Ray answers. Raises LabError where no cluster answers in time, or one that refuses."""
        try:
            from ray.job_submission import JobSubmissionClient
        except ImportError as error:
            raise LabError("Ray is not installed: pip install -r requirements-ray.txt") from error
        answers: list[T] = []
        errors: list[Exception] = []

        def ask() -> None:
            try:
                answers.append(request(JobSubmissionClient(self.address)))
            except Exception as error:  # of several libraries
                errors.append(error)

        # Ray's client waits for ever for a head that hangs.
        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        asking.join(ANSWER_S)
        if answers:
            return answers[0]
        why = errors[0] if errors else ConnectionError()
        if isinstance(why, OSError):  # those of requests are, too
            self._wait_a_while()
            raise LabError(
                f"No Ray cluster answers at {self.address}: start it (ray start --head), or set RAY_ADDRESS to where it is."
            ) from why
        said = " ".join(str(why).split())[:200].rstrip(".")
        raise LabError(
            f"The Ray cluster at {self.address} refused ({said}): check that Ray's version and token match those here."
        ) from why

    def _wait_a_while(self) -> None:
        with contextlib.suppress(OSError):
            (self.store.root / REFUSED).touch()

    def _start(self, run: Run, working: list[Run]) -> bool:
        """Hand the run over to Ray; it stays queued until its worker begins. Raises LabError where Ray refuses."""
        if _newer(self.store.root / REFUSED, AGAIN_AFTER_S):
            return False
        job = f"{run.id}-{secrets.token_hex(3)}"
        try:
            request = Request.from_environment()
            self._ask(lambda client: client.submit_job(submission_id=job, **self._job(run, job, request)))
        except LabError as error:
            self._wait_a_while()
            if run.message != str(error):
                self.store.write_status(run.id, message=str(error))
            raise
        self.store.write_status(run.id, message=HANDED_OVER, **{JOB: job})
        return True

    def _job(self, run: Run, job: str, request: Request) -> dict[str, Any]:
        """What Ray is asked to do, as arguments of its client."""
        devices = run.facts.devices
        gpus = request.gpus if run.facts.device != "cpu" else 0
        # Each of several processes has the threads that the first one had.
        cpus = run.threads * devices if run.threads else max(request.cpus, devices)
        own_python = bool({"uv", "pip", "conda", "image_uri"} & request.runtime_env.keys())
        python = "python" if own_python else shlex.quote(sys.executable)
        log = self.store.folder(run.id) / LOG
        root, log_path = (shlex.quote(str(path.absolute())) for path in (self.store.root, log))
        variables = self._variables(run.threads or cpus) | {OWN_JOB: job} | request.runtime_env.get("env_vars", {})
        return {
            "entrypoint": f"cd {shlex.quote(str(ROOT))} && exec {python} -m core worker {run.id} --runs-folder {root} "
            f">> {log_path} 2>&1",
            "runtime_env": request.runtime_env | {"env_vars": variables},
            "metadata": {"run": run.id, "name": run.name},
            "entrypoint_num_cpus": cpus,
            "entrypoint_num_gpus": devices if gpus and devices > 1 else gpus,
            "entrypoint_memory": int(request.memory_gb * 1e9) or None,
        }

    def _variables(self, cpus: int) -> dict[str, str]:
        """The worker's environment, as far as it is not the node's own."""
        passed = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
        passed = {name: value for name, value in passed.items() if name not in SETTINGS_OF_THE_SERVER}
        threads = devices.worker_environment(1) | {"OMP_NUM_THREADS": str(cpus), "MKL_NUM_THREADS": str(cpus)}
        own = {
            "LAB_HOME": str(lab_home().absolute()),
            "LAB_ENGINE": "ray",
            SERVER_CODE: os.environ.get(SERVER_CODE) or code_version(),  # a worker hands on what it was told
            "RAY_API_SERVER_ADDRESS": self.address,  # RAY_ADDRESS is Ray's own within a job
        }
        return passed | threads | own

    def _look_due(self) -> bool:
        """Whether nobody, in whichever process, has asked Ray for a while; then we do. Cheap where nothing is under way."""
        if not any(run.active for run in self.store.list()):
            return False
        if _newer(self.store.root / LOOKED, LOOK_EVERY_S) or _newer(self.store.root / REFUSED, AGAIN_AFTER_S):
            return False
        with contextlib.suppress(OSError):
            (self.store.root / LOOKED).touch()
        return True

    def _look(self) -> None:
        """Find runs whose job is over though they say nothing of it: their node died, or their worker never began."""
        given = {run.id: self.store.status(run.id).get(JOB) for run in self.store.list() if run.active}
        jobs = {run_id: str(job) for run_id, job in given.items() if job}
        found = (
            self._ask(lambda client: {run_id: _outcome(client, job) for run_id, job in jobs.items()}) if jobs else {}
        )
        for run_id, over in found.items():
            if over is None:
                continue
            with self.store.locked():
                now = self.store.get(run_id)
                if self.store.status(run_id).get(JOB) != jobs[run_id] or not now.active:
                    continue
                if now.status == "queued" and over == "gone":  # with the head that had it: it is handed over once more
                    self.store.write_status(run_id, message="", **{JOB: None})
                elif now.status == "queued":
                    why = f"The worker ended before the run began ({over}): see its log, then resume it."
                    self.store.write_status(run_id, status="failed", message=why, ended=time.time(), **{JOB: None})
                elif (
                    now.silent_s is not None
                ):  # else its worker lives on without Ray, or its files say that it does not
                    why = f"Its node was lost ({over}): resume it to go on from its last saved state."
                    self.store.write_status(run_id, status="lost", message=why, ended=time.time(), **{JOB: None})

    def _settle(self, run: Run) -> None:
        job = self.store.status(run.id).get(JOB)
        late = run.status == "stopping" and self._overdue(run)
        super()._settle(run)
        # Overdue; or it waited, and its terminal was closed.
        if job and (late or (run.status == "queued" and self.store.status(run.id).get("status") == "stopped")):
            self._end_job(str(job))

    def _end_job(self, job: str) -> None:
        with contextlib.suppress(LabError):  # it is over, or the cluster is: then there is nothing to end
            self._ask(lambda client: client.stop_job(job))


def _newer(path: Path, age_s: float) -> bool:
    """Whether a file was touched so recently."""
    try:
        return 0 <= time.time() - path.stat().st_mtime < age_s
    except OSError:
        return False


def _outcome(client: JobSubmissionClient, job: str) -> str | None:
    """What Ray says of a job that is over, in a few words; `gone` where it knows none; None while it is not over."""
    try:
        found = client.get_job_info(job)
    except RuntimeError as error:
        if "404" in str(error):
            return "gone"
        raise
    if not found.status.is_terminal():
        return None
    said = " ".join((found.message or "").split())
    return f"Ray: {found.status.value.lower()}{f', {said[:120]}' if said else ''}".rstrip(".")

"""Runs on disk: a folder each, below `lab_home()/runs`. Everything a page or the command line knows of a run is in there."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from core.checkpoints.store import CARD, MEMBERS, read_card
from core.common import locks
from core.common.errors import LabError
from core.common.paths import ensure_folder, lab_home, write_atomic
from core.common.values import read_json
from core.compression.recipe import PRESETS, CompressConfig
from core.jobs.metrics import METRICS, SAMPLES, read_rows, read_samples
from core.jobs.run import ACTIVE, COMPRESS, STATUSES, STUDY, TRAIN, Run, moment, number, read_config
from core.models import MODELS
from core.regularization.study import StudyConfig
from core.training.config import TrainConfig
from core.training.snapshots import epoch_title, snapshots

CONFIG, STATUS, LOG, STATE = "config.json", "status.json", "log.txt", "state.pt"
STOP = "stop"
"""An empty file that asks the worker to stop."""
WORKER_LOCK = "worker.lock"
"""Held by the worker for all its life; holds its process id and host."""
FOREGROUND_LOCK = "foreground.lock"
"""Held by the terminal that a run belongs to, if it belongs to one: the run stops when the terminal goes away."""
_ID = re.compile(r"[A-Za-z0-9_-]{1,120}")
MAX_NAME = 100
"""Characters of a run's name."""
_MAX_JSON_BYTES = 1_000_000
_SETTLED_NS = 1_000_000_000
ABANDONED_S = 3600.0
"""Making a run's folder takes milliseconds: one that is still unnamed after so long has nobody behind it."""
AnyConfig = TrainConfig | StudyConfig | CompressConfig
Runs = list[Run]
Rows = list[dict[str, Any]]


class RunStore:
    """Create, read, rename and delete runs. Holds nothing in memory: any number of these, in any process, agree."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or lab_home() / "runs"

    def create(self, config: AnyConfig, name: str | None = None, kind: str = TRAIN, run_id: str | None = None) -> str:
        """A new run, not started yet; returns its id. Raises LabError for an unknown model or an unusable folder.

        run_id: the runs of a study have names of their own; None makes one.
        """
        if config.model not in MODELS:
            raise LabError(f"There is no model named {config.model[:60]!r}: choose one of {', '.join(MODELS)}.")
        name = _checked_name(name) if name else self._default_name(config)
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        made = f"{stamp}-{re.sub(r'[^A-Za-z0-9_-]', '', config.model)[:40]}-{secrets.token_hex(3)}"
        run_id = run_id or (f"{made}-{kind}" if kind in (STUDY, COMPRESS) else made)
        ensure_folder(self.root)
        self._sweep()
        new = self.root / f".new-{run_id}"
        values = {"kind": kind, "name": name, "created": time.time(), "config": config.to_dict()}
        try:
            new.mkdir()
            write_atomic(new / CONFIG, json.dumps(values, indent=1) + "\n")
            write_atomic(new / STATUS, json.dumps({"status": "stopped", "message": "It has not been started yet."}))
            new.rename(self.root / run_id)
        except OSError as error:
            shutil.rmtree(new, ignore_errors=True)
            raise LabError(
                f"The run cannot be written to {self.root} ({error.strerror or error}): free space there."
            ) from error
        return run_id

    def list(self) -> Runs:
        """All runs, newest first. One that cannot be read is shown as failed, with the reason."""
        try:
            names = [item.name for item in self.root.iterdir() if _ID.fullmatch(item.name)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise LabError(
                f"The folder {self.root} cannot be read ({error.strerror or error}): set LAB_HOME."
            ) from error
        runs, tickets = [], {}
        for name in names:
            try:
                run, tickets[name] = self._read(name)
            except LabError:
                continue  # deleted while we looked, or no run at all
            runs.append(run)
        order = sorted((run.id for run in runs if run.status == "queued"), key=lambda run_id: (tickets[run_id], run_id))
        place = {run_id: position for position, run_id in enumerate(order, 1)}
        runs = [dataclasses.replace(run, queue_position=place[run.id]) if run.id in place else run for run in runs]
        return sorted(runs, key=lambda run: (run.created.timestamp() if run.created else 0.0, run.id), reverse=True)

    def get(self, run_id: str) -> Run:
        """One run as it is now. Raises LabError for an id that is not valid or not there."""
        run, _ = self._read(run_id)
        if run.status == "queued":
            return next((item for item in self.list() if item.id == run_id), run)
        return run

    def folder(self, run_id: str) -> Path:
        """The folder of a run. Raises LabError for an id that is not valid or not there."""
        if not isinstance(run_id, str) or not _ID.fullmatch(run_id):
            raise LabError(f"{str(run_id)[:90]!r} is not a run id: copy one from the list of runs.")
        folder = self.root / run_id
        if not (folder / CONFIG).is_file():
            raise LabError(
                f"There is no run {run_id}: it may have been deleted; the list of runs shows those there are."
            )
        return folder

    def config(self, run_id: str) -> Any:
        """What the run is to do, by its kind: a TrainConfig, a StudyConfig or a CompressConfig. Raises LabError where that
        is not valid, as after an edit by hand."""
        config, problem = _read_config(self.folder(run_id) / CONFIG)
        if problem:
            raise LabError(problem)
        return config

    def metrics(self, run_id: str) -> Rows:
        """All rows so far, in order: `kind` is `train` or `eval`, `seconds` the training time."""
        return read_rows(self.folder(run_id) / METRICS)

    def samples(self, run_id: str) -> Rows:
        """What a language model wrote at each evaluation so far: `step`, `epoch`, `text`."""
        return read_samples(self.folder(run_id) / SAMPLES)

    def log(self, run_id: str, most_bytes: int = 20_000) -> str:
        """The end of the worker's log."""
        try:
            with (self.folder(run_id) / LOG).open("rb") as file:
                size = file.seek(0, 2)
                file.seek(max(0, size - most_bytes))
                return file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    def rename(self, run_id: str, name: str) -> None:
        """Give a run, and the checkpoints it has so far, another name for people."""
        name = _checked_name(name)
        with self.locked():
            folder = self.folder(run_id)
            values = _read_json(folder / CONFIG) | {"name": name}
            write_atomic(folder / CONFIG, json.dumps(values, indent=1) + "\n")
            if not locks.is_held(folder / WORKER_LOCK):  # else the worker does it
                title_checkpoints(folder, name)

    def extend(self, run_id: str, config: StudyConfig) -> None:
        """Give a study more to do; submit it afterwards. Raises LabError while it runs, and for what is another study."""
        with self.locked():
            folder = self.folder(run_id)
            old = self.config(run_id)
            if not isinstance(old, StudyConfig):
                raise LabError(f"The run {run_id} is no study: pick one from the list of studies.")
            if config.replace(arms=old.arms, train_sizes=old.train_sizes, seeds=old.seeds) != old:
                raise LabError("Only arms, sizes and seeds can be added to a study: start a new one for anything else.")
            if locks.is_held(folder / WORKER_LOCK) or self.get(run_id).active:
                raise LabError("The study is still at work: stop it, or let it end, before you add to it.")
            values = _read_json(folder / CONFIG) | {"config": config.to_dict()}
            write_atomic(folder / CONFIG, json.dumps(values, indent=1) + "\n")
            self.write_status(
                run_id, status="stopped", message="Runs were added: start it again to do them.", final=False
            )

    def delete(self, run_id: str) -> None:
        """Remove a run with its checkpoints. Raises LabError while it runs."""
        with self.locked():
            folder = self.folder(run_id)
            # A study's own runs live on for a moment when its worker is killed: they save what they have.
            if any(map(locks.is_held, (folder / WORKER_LOCK, *folder.glob(f"{MEMBERS}/*/{WORKER_LOCK}")))):
                raise LabError(f"The run {run_id} is still at work: stop it before you delete it.")
            doomed = self.root / f".deleted-{run_id}-{secrets.token_hex(3)}"
            try:
                folder.rename(doomed)
            except OSError as error:
                raise LabError(f"The run {run_id} cannot be deleted ({error.strerror or error}).") from error
        shutil.rmtree(doomed, ignore_errors=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the store-wide lock: whoever queues, claims or removes a run holds it, in whichever process.

        Raises LabError where a file in the block cannot be written.
        """
        with locks.held(ensure_folder(self.root) / ".lock"):
            try:
                yield
            except OSError as error:
                reason = error.strerror or error
                raise LabError(f"The runs in {self.root} cannot be changed ({reason}): free space there.") from error

    def status(self, run_id: str) -> dict[str, Any]:
        """The raw status, for those who write it: the worker while it lives, else whoever holds the store's lock."""
        return dict(_read_json(self.folder(run_id) / STATUS))

    def write_status(self, run_id: str, **changes: Any) -> None:
        """Merge changes into the status. Only under the store's lock and while no worker holds the run."""
        values = self.status(run_id) | changes
        write_atomic(self.folder(run_id) / STATUS, json.dumps(values, indent=1) + "\n")

    def _sweep(self) -> None:
        """Remove what a process that was killed left of runs it was making or deleting."""
        for pattern, age_s in ((".deleted-*", 0.0), (".new-*", ABANDONED_S)):
            for item in self.root.glob(pattern):
                with contextlib.suppress(OSError):
                    if time.time() - item.stat().st_mtime > age_s:
                        shutil.rmtree(item, ignore_errors=True)

    def _read(self, run_id: str) -> tuple[Run, int]:
        """The run without its place in the queue, and its ticket there."""
        folder = self.folder(run_id)
        asked = _read_json(folder / CONFIG)
        now = _read_json(folder / STATUS)
        status = now.get("status")
        if status == "running" and not locks.is_held(folder / WORKER_LOCK):
            now = _read_json(folder / STATUS)  # it may have ended, or started again, between the two looks
            status = now.get("status")
            if status == "running" and not locks.is_held(folder / WORKER_LOCK):
                status = "stopped" if (folder / STOP).exists() else "lost"
        elif status == "running" and (folder / STOP).exists():
            status = "stopping"
        message = str(now.get("message") or "")
        saved_step = number(now, "saved_step") if (folder / STATE).is_file() else None
        if not now and locks.is_held(folder / WORKER_LOCK):
            status = "running"  # its worker will soon write the next one
        elif not now:
            status, message = "lost", "Its status cannot be read: resume it to go on from the last saved state."
        elif status not in STATUSES:
            status, message = "lost", f"Its status {str(status)[:40]!r} is not known here: resume it."
        settled = status in ACTIVE or status == now.get("status")
        if not settled and now.get("status") == "running":
            message = _ended_message(status == "stopped", saved_step, str(asked.get("kind")))
        config, problem = _read_config(folder / CONFIG)
        if problem and status not in ACTIVE:
            status, message = "failed", problem
        run = Run(
            id=run_id,
            name=str(asked.get("name") or run_id)[:200],
            kind=str(asked.get("kind")),
            config=config if isinstance(config, TrainConfig) else config.base(),
            study=config if isinstance(config, StudyConfig) else None,
            compression=config if isinstance(config, CompressConfig) else None,
            members_done=int(number(now, "members_done") or 0),
            status=status,
            message=message,
            step=int(number(now, "step") or 0),
            total_steps=int(number(now, "total_steps") or 0),
            epoch=float(number(now, "epoch") or 0.0),
            created=moment(asked, "created"),
            started=moment(now, "started"),
            ended=None if status in ACTIVE else moment(now, "ended") or moment(now, "heartbeat"),
            heartbeat=moment(now, "heartbeat"),
            seconds=float(number(now, "seconds") or 0.0),
            examples_per_s=number(now, "examples_per_s"),
            best_val_accuracy=number(now, "best_val_accuracy"),
            last_val_accuracy=number(now, "last_val_accuracy"),
            best_val_loss_nats=number(now, "best_val_loss_nats"),
            last_val_loss_nats=number(now, "last_val_loss_nats"),
            last_train_loss_nats=number(now, "last_train_loss_nats"),
            test_accuracy=number(now, "test_accuracy"),
            device=str(now.get("device") or ""),
            threads=number(now, "threads"),
            torch_version=str(now.get("torch_version") or ""),
            code_version=str(now.get("code_version") or ""),
            peak_memory_bytes=number(now, "peak_memory_bytes"),
            seconds_left=number(now, "seconds_left") if status == "running" else None,
            saved_step=saved_step,
            resumable=status in ("stopped", "failed", "lost") and not problem and not now.get("final"),
            has_checkpoint=(folder / "best" / CARD).is_file(),
            stage=str(now.get("stage") or "") if status in ("running", "stopping") else "",
            stage_fraction=number(now, "stage_fraction") if status in ("running", "stopping") else None,
            settled=settled,
        )
        return run, int(number(now, "ticket") or 0)

    def _default_name(self, config: AnyConfig) -> str:
        taken = {run.name for run in self.list()}
        recipe = config.recipe
        if isinstance(config, CompressConfig):
            recipe = PRESETS[recipe].title if recipe in PRESETS else "own recipe"
        name = base = f"{MODELS[config.model].title}, {recipe}"[:90]
        number = 2
        while name in taken:
            name, number = f"{base} ({number})", number + 1
        return name


def checkpoint_title(name: str, which: str) -> str:
    """Title of a run's checkpoint, for people."""
    return name if which == "best" else f"{name} ({which})"


def title_checkpoints(folder: Path, name: str) -> None:
    """Bring the titles of a run's checkpoints up to date with its name. Only for who holds the run."""
    found = [(folder / which, which) for which in ("best", "last") if (folder / which / CARD).is_file()]
    titled = [(item, read_card(item), checkpoint_title(name, which)) for item, which in found]
    titled += [(item, card, checkpoint_title(name, epoch_title(card.epoch))) for item, card in snapshots(folder)]
    for item, card, title in titled:
        if card.title != title:
            write_atomic(item / CARD, dataclasses.replace(card, title=title).to_json())


def _ended_message(asked: bool, saved_step: int | None, kind: str) -> str:
    """What to say of a run whose worker ended without a word. asked: somebody had asked it to stop."""
    if kind in (STUDY, COMPRESS):
        why = "It was ended" if asked else "Its worker ended without a word"
        return f"{why}: resume it; what its {'runs have' if kind == STUDY else 'steps have'} done so far is kept."
    how = (
        "It was ended before it could save"
        if asked
        else "Its worker ended without a word (killed, out of memory, or the machine restarted)"
    )
    return f"{how}: resume it to go on from {f'step {saved_step}' if saved_step else 'the beginning'}."


def _checked_name(name: str) -> str:
    name = " ".join("".join(character if character.isprintable() else " " for character in str(name)).split())
    if not 1 <= len(name) <= MAX_NAME:
        raise LabError(f"A run's name must have 1 to {MAX_NAME} characters: give another one.")
    return name


def _read_json(path: Path) -> dict[str, Any]:
    """The object in a file; empty where there is none that can be read."""
    return _read_cached(path)[0]


def _read_config(path: Path) -> tuple[AnyConfig, str]:
    """The configuration in a `config.json`, and why it cannot run if it cannot."""
    values, checked = _read_cached(path)
    if not checked:
        checked.append(read_config(values.get("kind"), values.get("config")))
    return checked[0]


def _read_cached(path: Path) -> tuple[dict[str, Any], list[Any]]:
    try:
        seen = path.stat()
        if seen.st_size > _MAX_JSON_BYTES:
            return {}, []
        # A file changed a moment ago may change again within one tick of the clock, with the same inode and size.
        settled = time.time_ns() - seen.st_mtime_ns > _SETTLED_NS
        parse = _parse if settled else _parse.__wrapped__
        return parse(str(path), seen.st_ino, seen.st_mtime_ns, seen.st_size)
    except OSError:
        return {}, []


@lru_cache(maxsize=4096)
def _parse(path: str, inode: int, changed_ns: int, size: int) -> tuple[dict[str, Any], list[Any]]:
    """The object in a file, and room for what is made of it. Never mutate the object.

    Cached by what changes when a file is replaced: the list of runs is read every few seconds.
    """
    try:
        values = read_json(Path(path).read_bytes())
    except ValueError:
        return {}, []
    return (values if isinstance(values, dict) else {}), []

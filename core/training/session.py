"""The mutable half of a training run: model, optimizer, averages and counters, saved and restored as one."""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Iterator
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from core.checkpoints.backbone import BACKBONES
from core.checkpoints.store import Card, versions
from core.common.devices import fast_bfloat16, hardware, pick_device
from core.common.errors import LabError
from core.common.paths import write_atomic
from core.common.progress import Progress
from core.data.dataset import Dataset, ImageDataset, TextCard
from core.models import LAYERS, MODELS, build_model, full_config, head_name
from core.training.config import TrainConfig, check_shares
from core.training.flow_task import FlowTask
from core.training.head_task import HeadTask
from core.training.image_task import ImageTask
from core.training.optimizers import Average, build_optimizers
from core.training.parent import copy_weights, inherit, load_parent
from core.training.task import Batch, Task
from core.training.team import Forward, Team
from core.training.text_task import TextTask

EXTRA = "extra "
"""Before the names of the checksums of `extra_dataset`."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclasses.dataclass(slots=True)
class Counters:
    """Everything about a run's progress that is a plain number. Sums are over examples: images or
    characters."""

    step: int = 0
    evaluated_step: int = 0
    examples: int = 0
    read_examples: int = 0
    """Examples since the device's sums were last read."""
    eval_examples: int = 0
    """Examples read since the last evaluation."""
    eval_loss: float = 0.0
    eval_correct: float = 0.0
    best_val_accuracy: float | None = None
    best_val_loss_nats: float | None = None
    evaluations_without_gain: int = 0


class TrainSession:
    """Build with `TrainSession.start`, run with `core.training.trainer.train`."""

    def __init__(
        self,
        config: TrainConfig,
        dataset: Dataset,
        device: str,
        on_progress: Progress | None = None,
        team: Team | None = None,
    ) -> None:
        task, what = ("images", "images") if isinstance(dataset, ImageDataset) else ("text", "a text")
        entry = MODELS.get(config.model)
        if entry and entry.data != task:
            raise LabError(f"{entry.title} cannot learn {dataset.card.title}, which is {what}: choose another of both.")
        self.parent = load_parent(config, on_progress)
        if self.parent is not None:
            config, dataset = inherit(config, dataset, self.parent)
        self.config, self.dataset, self.device, self.on_progress = config, dataset, device, on_progress
        self.dataset_card, self.team = dataset.card, team or Team()
        kind = device.split(":")[0]
        # A generator is all convolutions in one precision; classifiers' figures on a CPU were all measured in float32.
        fast = kind == "cuda" or (entry is not None and entry.task == "generation" and fast_bfloat16())
        precision = config.precision if config.precision != "auto" else ("bfloat16" if fast else "float32")
        self.dtype = DTYPES[precision]
        self.amp = torch.autocast(kind, dtype=self.dtype, enabled=precision != "float32")
        self.scaler = torch.amp.GradScaler(kind, enabled=precision == "float16")
        if kind == "cuda":
            torch.cuda.set_device(device)
            torch.backends.cudnn.benchmark = True
        self.task = self._new_task(dataset)
        if kind == "cpu" and precision == "float16" and entry and entry.recurrent:
            raise LabError("precision='float16' does not work for this model on a CPU: choose float32, or bfloat16.")
        check_shares(self.team.size, self.task.batch_size)
        self.batch_size = self.task.batch_size
        self.steps_per_epoch = self.task.steps_per_epoch
        # Rounded first: epochs that were computed as steps / steps_per_epoch may give a hair more than those steps.
        self.total_steps = max(1, math.ceil(round(config.epochs * self.steps_per_epoch, 6)))
        self.eval_every = max(1.0, config.eval_every * self.steps_per_epoch)  # steps, maybe a fraction
        # A reading makes the device wait, so a GPU is read rarely; about a thousand points draw a curve.
        self.read_every = max(25 if kind == "cuda" else 1, math.ceil(self.total_steps / 1000))
        self.model_config = self.task.model_config
        self.model = self._new_model().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.has_dropout = getattr(self.model, "random_in_training", False) or any(
            isinstance(m, nn.modules.dropout._DropoutNd) and m.p > 0 for m in self.model.modules()
        )
        self._own_loss: Forward = self._loss
        if config.compile:
            self._own_loss = torch.compile(self._loss, mode="max-autotune")
        self._begin()
        self.forward = self.team.wrap(self.model, self._own_loss)

    @classmethod
    def start(
        cls,
        config: TrainConfig,
        dataset: Dataset,
        device: str | None = None,
        threads: int | None = None,
        on_progress: Progress | None = None,
        team: Team | None = None,
    ) -> TrainSession:
        """A session at step 0. device: None picks the config's. threads: CPU threads for this process, None = as is.
        on_progress: told while weights are fetched and features computed; may raise to stop. team: that this process trains
        with, None = alone."""
        if threads:
            torch.set_num_threads(threads)
        return cls(config, dataset, device or pick_device(config.device), on_progress, team)

    def restart(self, seed: int) -> None:
        """Back to step 0 with another seed, keeping data on the device and compiled code: for repeated measurements."""
        self.config = self.task.config = self.config.replace(seed=seed)
        self.model.load_state_dict(self._new_model().state_dict())
        for parameter in self.model.parameters():
            parameter.grad = None
        self._begin()

    def _new_model(self) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed)
            model = build_model(self.config.model, self.model_config)
        self.trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        if self.config.train_layers == "head":
            head = dict(model.get_submodule(head_name(model)).named_parameters(head_name(model)))
            self.trainable &= set(head)
        return model

    def _new_task(self, dataset: Dataset) -> Task:
        if isinstance(dataset, ImageDataset):
            if MODELS[self.config.model].task == "generation":
                return FlowTask(self.config, dataset, self.device, self.dtype, self.amp)
            kind = HeadTask if self.config.train_layers == "head" else ImageTask
            return kind(self.config, dataset, self.device, self.dtype, self.amp)
        return TextTask(self.config, dataset, self.device, self.amp)

    def _first_weights(self) -> None:
        """Prepare the model, whose weights are fresh, for step 0."""
        self.task.begin(self.model)
        if self.parent is not None:
            copy_weights(self.model, self.parent, self.dataset)
        if isinstance(self.task, HeadTask):
            self.task.extract(self.model, self.on_progress)

    def after_step(self) -> None:
        """Called after every optimizer step; for sessions that do more than train."""

    def _begin(self) -> None:
        self._first_weights()
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name in self.trainable)
        self.optimizers = build_optimizers(self.model, self.config)
        self.average = Average(self.model, self.config) if self.config.average != "none" else None
        self.counters = Counters()
        self.sums = torch.zeros(2, device=self.device)  # loss and correct answers since the last reading

    def _loss(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss (nats, scalar) and number of right answers (scalar) of one batch."""
        return self.task.loss(self.model, inputs, targets)

    def freeze(self) -> None:
        """Stop training the parameters whose time is over (see FastResNet.frozen_after)."""
        if not hasattr(self.model, "frozen_after"):
            return
        over = [name for name, epochs in self.model.frozen_after().items() if self.epoch >= epochs]
        frozen = [parameter for name in over if (parameter := self.model.get_parameter(name)).requires_grad]
        for parameter in frozen:
            parameter.requires_grad_(False)
            parameter.grad = None
        if frozen:
            self.forward = self.team.wrap(self.model, self._own_loss)

    @property
    def epoch(self) -> float:
        return self.counters.step / self.steps_per_epoch

    def batches(self) -> Iterator[Batch]:
        return self.task.batches(self.counters.step)

    def reading_due(self) -> bool:
        return self.counters.step % self.read_every == 0 or self.evaluation_due()

    def evaluation_due(self) -> bool:
        step = self.counters.step
        at_end = step == self.total_steps
        # The step nearest to each multiple: rounding the distance instead would drift, and end with two close together.
        on_time = step > 0 and step == round(round(step / self.eval_every) * self.eval_every)
        return step != self.counters.evaluated_step and (at_end or on_time)

    def eval_model(self) -> nn.Module:
        """The weights as they would be used: the average if there is one. In eval mode."""
        if self.average is not None and self.average.updates:
            return self.average.model
        return self.model.eval()

    def card(self, title: str, metrics: dict[str, Any] | None = None) -> Card:
        _, values = full_config(self.config.model, self.model_config)
        changed = [LAYERS] if self.model_config.get(LAYERS) else []
        return Card(
            title=title,
            model=self.config.model,
            model_config=values.to_dict() | {key: self.model_config[key] for key in changed},
            dataset=self.dataset_card,
            metrics=metrics or {},
            recipe=self.config.to_dict(),
            seed=self.config.seed,
            tta=self.config.tta,
            step=self.counters.step,
            epoch=round(self.epoch, 4),
            parent=self.parent.name if self.parent else None,
            notes=self._origin(),
            versions=versions(),
            hardware=hardware(self.device),
        )

    def _origin(self) -> str:
        """Whose weights the parent goes back to, where others trained them."""
        notes = self.parent.card.notes if self.parent else ""
        return next((each.notes for each in BACKBONES.values() if each.notes in notes), "")

    def healthy(self) -> bool:
        """Whether the loss and all weights are finite numbers; what is not is never saved."""
        tensors = [self.sums, *(p for p in self.model.parameters())]
        return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on as if nothing had happened. Randomness is not in it: it derives from the seed and
        the step."""
        return {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "average": {"model": self.average.model.state_dict(), "updates": self.average.updates}
            if self.average
            else {},
            "scaler": self.scaler.state_dict(),
            "sums": self.sums,
            "task": self.task.state_dict(),
            "counters": dataclasses.asdict(self.counters),
            "data": self._data(),
        }

    def _data(self) -> dict[str, str]:
        """What the data and the first weights were, by class names or vocabulary and checksums: going on with others would be
        another run."""
        card = self.dataset_card
        names = {"vocabulary": card.vocabulary} if isinstance(card, TextCard) else {"classes": "\n".join(card.classes)}
        parent = {"parent": self.parent.card.weights_sha256} if self.parent else {}
        extra = self.task.extra_card if isinstance(self.task, ImageTask) else None
        added = {f"{EXTRA}{name}": value for name, value in extra.sha256.items()} if extra else {}
        return names | parent | card.sha256 | added

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        for optimizer, values in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(values)
        if self.average:
            self.average.model.load_state_dict(state["average"]["model"])
            self.average.updates = state["average"]["updates"]
        self.scaler.load_state_dict(state["scaler"])
        self.sums.copy_(state["sums"])
        self.task.load_state_dict(state["task"])
        self.counters = Counters(**state["counters"])

    def save_state(self, path: Path) -> bool:
        """Write the training state atomically. False, with nothing written, if the run has diverged."""
        if not self.healthy():
            return False
        buffer = io.BytesIO()
        torch.save(self.state_dict(), buffer)
        write_atomic(path, buffer.getvalue())
        return True

    def load_state(self, path: Path) -> None:
        """Go on from a saved state. Raises LabError where the file does not fit this configuration."""
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
            before, now = state["data"], self._data()
            if changed := {name for name in before | now if before.get(name) != now.get(name)}:
                title = self.dataset_card.title
                if all(name.startswith(EXTRA) for name in changed) and isinstance(self.task, ImageTask):
                    title = self.task.extra_card.title if self.task.extra_card else title
                what = "The weights of its checkpoint" if changed == {"parent"} else f"The data of {title}"
                raise LabError(
                    f"{what} have changed since this run was interrupted: put them back as they were, or start a new run."
                )
            self.load_state_dict(state)
        except (torch.OutOfMemoryError, LabError):
            raise
        except (RuntimeError, KeyError, ValueError, TypeError, EOFError, OSError, UnpicklingError) as error:
            raise LabError(f"The training state {path} does not fit this run: start the run again.") from error

"""What the rest of the house needs to know of a training run."""

from __future__ import annotations

import re
from typing import Any

from core.data import dataset_title
from core.jobs.kind import Facts, JobKind
from core.jobs.run import Run
from core.models import MODELS
from core.training.config import TrainConfig
from core.training.snapshots import title_checkpoints

FIGURES = (
    "epoch",
    "best_val_accuracy",
    "last_val_accuracy",
    "best_val_loss_nats",
    "last_val_loss_nats",
    "last_train_loss_nats",
    "test_accuracy",
)
"""`best_…` of the best checkpoint: least loss for text, best accuracy for images; `test_accuracy` once, at the end."""


def facts(config: Any) -> Facts:
    """Of a configuration with the fields of a training."""
    return Facts(
        model=config.model,
        dataset=config.dataset,
        recipe=config.recipe,
        device=config.device,
        devices=getattr(config, "devices", 1),
    )


def _title(config: TrainConfig) -> str:
    recipe = "" if config.recipe == "default" else f", {config.recipe}"
    return f"{MODELS[config.model].title} on {dataset_title(config.dataset)}{recipe}"


PAGES = {"generation": "synthesis"}
"""Pages that are not called as their task is."""
GROUPS = {"text": "Text", "generation": "Generators"}


def _page(run: Run) -> tuple[str, dict[str, str]]:
    return PAGES.get(run.task, run.task), {"view": "Train", "run": run.id}


def _best(run: Run) -> str:
    """The figure that its best checkpoint was chosen by: `71.30%` for images, `1.520 nats` for text, `error 0.21` of a
    generator."""
    loss, accuracy = run.figure("best_val_loss_nats"), run.figure("best_val_accuracy")
    if run.task == "generation":
        return "" if loss is None else f"error {loss:.3f}"
    if run.task == "text":
        return "" if loss is None else f"{loss:.3f} nats"
    return "" if accuracy is None else f"{accuracy:.2%}"


def _done(run: Run) -> str:
    return f"epoch {round(run.figure('epoch') or 0.0, 2):g} of {run.config.epochs:g}"


def _live(run: Run) -> list[str]:
    loss, accuracy = run.figure("last_val_loss_nats"), run.figure("last_val_accuracy")
    parts = [f"epoch {run.figure('epoch') or 0.0:.2f}"]
    if (train := run.figure("last_train_loss_nats")) is not None:
        parts.append(f"loss {train:.3f}")
    if run.task == "generation" and loss is not None:
        parts.append(f"validation error {loss:.3f}")
    elif run.task == "text" and loss is not None:
        parts.append(f"validation {loss:.3f} nats")
    elif accuracy is not None:
        parts.append(f"validation {accuracy:.1%}")
    return parts


def _columns(run: Run) -> dict[str, Any]:
    return {
        "val_tta": "none",
        "test_tta": run.config.tta,
        "epoch": round(run.figure("epoch") or 0.0, 3),
        "seed": run.config.seed,
    }


def _look(run: Run) -> str:
    verb = {"text": "generate --prompt TEXT", "generation": "synthesize images"}.get(run.task, "classify IMAGE")
    return f"Use it: python -m core {verb} --checkpoint {run.id}"


DIVERGED, NO_MEMORY = "The loss was no longer a finite number", "Memory ran out"
"""How the messages of two failures begin."""


def setting_at_fault(config: TrainConfig, message: str) -> str:
    """The setting that the message of a failed run is about: `lr`, `batch_size`, …; empty where it is about none."""
    if message.startswith(DIVERGED):
        return "lr"
    if message.startswith(NO_MEMORY):
        return "batch_size"
    named = re.match(r"(\w+)=", message)
    return named[1] if named and named[1] in config.to_dict() else ""


def out_of_memory(config: TrainConfig) -> str:
    """What to do when a training needs more memory than there is."""
    size = config.batch_size
    if size == 1:
        return f"{NO_MEMORY} even with batch_size=1: choose a smaller model or another device."
    # A stream of text cannot be split: its state goes on from one batch to the next.
    other = f"window={max(1, config.window // 2)}" if MODELS[config.model].task == "text" else "grad_accumulation=2"
    return f"{NO_MEMORY} with batch_size={size}: try batch_size={size // 2}, or {other}."


TRAIN = JobKind(
    name="train",
    entry="core.training.job:run_training",
    read_config=TrainConfig.from_dict,
    title=_title,
    facts=facts,
    figures=FIGURES,
    page=_page,
    group=lambda run: GROUPS.get(run.task, "Images"),
    best=_best,
    done=_done,
    live=_live,
    time_spent="trained for",
    columns=_columns,
    look=_look,
    after_finish="start a new one from it (train --init-from) if it should train for longer",
    after_steps="have its best checkpoint measured",
    out_of_memory=out_of_memory,
    rename=title_checkpoints,
)
KINDS = (TRAIN,)

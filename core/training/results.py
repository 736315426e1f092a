"""What a trainer yields. Plain numbers only, so that any consumer can store, print or plot them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class StepResult:
    """After every optimizer step. The training session is consistent (may be saved) while one is being handled."""

    step: int
    """Optimizer steps done, from 1."""
    total_steps: int
    epoch: float
    """Epochs done, a fraction."""
    examples: int
    """Training images, or characters, seen since the start of the run."""
    train_loss_nats: float | None
    """Mean loss since the last reading; None where it was not read from the device at this step."""
    train_accuracy: float | None
    """0..1, on augmented training images or on characters, same interval as the loss."""
    lr: float


@dataclass(frozen=True, kw_only=True, slots=True)
class EvalResult:
    """After an evaluation on the validation split (weights as they would be used: averaged, if averaging is on)."""

    step: int
    total_steps: int
    epoch: float
    examples: int
    train_loss_nats: float
    """Mean over the steps since the last evaluation."""
    train_accuracy: float | None
    val_loss_nats: float
    val_accuracy: float | None
    """None, like the training accuracy, for a generator; its losses are squared errors."""
    probe_loss_nats: float | None = None
    """On the config's `probe_images`, measured as validation is; None where there are none."""
    probe_accuracy: float | None = None
    is_best: bool
    lr: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    reason: str
    """`completed`, `early_stopping` or `diverged`."""
    message: str
    """One sentence for people."""
    step: int
    epoch: float
    best_val_accuracy: float | None
    best_val_loss_nats: float | None


TrainResult = StepResult | EvalResult | Finished

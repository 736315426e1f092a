"""The training loop: a generator of results. The worker, the command line, a notebook and a test all consume this one."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from core.common.errors import LabError, is_out_of_memory
from core.training.kind import DIVERGED, out_of_memory
from core.training.optimizers import l1_norm, lr_factor
from core.training.recipes import RECIPES
from core.training.results import EvalResult, Finished, StepResult, TrainResult
from core.training.session import TrainSession


def train(session: TrainSession) -> Iterator[TrainResult]:
    """Train to the end of the config, yielding after every step and every evaluation, then once `Finished`.

    While the caller handles a result the session is consistent: it may be saved, and a session restored from that
    state yields what this one would have. Raises LabError when memory runs out.
    """
    config, counters = session.config, session.counters
    batches = session.batches()
    while True:
        if session.evaluation_due() and counters.step > 0:
            result = evaluate(session)
            yield result
            if not math.isfinite(result.val_loss_nats):
                yield _diverged(session)
                return
        if config.early_stopping and counters.evaluations_without_gain >= config.early_stopping:
            yield _finished(session, "early_stopping", f"No gain in {config.early_stopping} evaluations.")
            return
        if counters.step >= session.total_steps:
            yield _finished(session, "completed", f"Trained for {_epochs(session.epoch)}.")
            return
        lr = train_step(session, *next(batches))
        loss, accuracy = _read(session) if session.reading_due() else (None, None)
        yield StepResult(
            step=counters.step,
            total_steps=session.total_steps,
            epoch=session.epoch,
            examples=counters.examples,
            train_loss_nats=loss,
            train_accuracy=accuracy,
            lr=lr,
        )
        if loss is not None and not math.isfinite(loss):
            yield _diverged(session)
            return


def train_step(session: TrainSession, inputs: Tensor, targets: Tensor) -> float:
    """One optimizer step on a batch (see core.training.task.Batch). Returns the learning rate used."""
    config, model, counters = session.config, session.model, session.counters
    session.freeze()
    model.train()
    factor = lr_factor(config, counters.step, session.total_steps)
    for optimizer in session.optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * factor
    if session.has_dropout:
        # So that a resumed run drops the same units.
        torch.manual_seed(session.team.seed(config.seed * 1_000_003 + counters.step))
    try:
        images, answers = session.team.share(inputs), session.team.share(targets)
        pieces = zip(images.chunk(config.grad_accumulation), answers.chunk(config.grad_accumulation), strict=True)
        sums = torch.zeros_like(session.sums)
        for part, wanted in pieces:
            share = len(part) / len(images)
            with session.amp:
                loss, correct = session.forward(part, wanted)
            objective = loss + config.l1 * l1_norm(model) if config.l1 else loss
            session.scaler.scale(objective * share).backward()
            sums += torch.stack([loss.detach() * _examples(wanted), correct])
        session.sums += session.team.total(sums)
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise LabError(out_of_memory(config)) from error
        raise
    if config.grad_clip:
        for optimizer in session.optimizers:
            session.scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.grad_clip)
    for optimizer in session.optimizers:
        session.scaler.step(optimizer)
        optimizer.zero_grad(set_to_none=True)
    session.scaler.update()
    counters.step += 1
    counters.examples += _examples(targets)
    counters.read_examples += _examples(targets)
    session.after_step()
    if session.average and counters.step % config.average_every == 0:
        session.average.update()
    return config.lr * factor


def evaluate(session: TrainSession) -> EvalResult:
    """Loss and accuracy on the validation split, and on training images if the config wants that, with the weights as they
    would be used."""
    counters, task, model = session.counters, session.task, session.eval_model()
    found, probed = task.validate(model), task.probe(model)
    is_best = task.is_better(found, counters.best_val_accuracy, counters.best_val_loss_nats)
    if is_best:
        counters.best_val_accuracy, counters.best_val_loss_nats = found.accuracy, found.loss_nats
    counters.evaluations_without_gain = 0 if is_best else counters.evaluations_without_gain + 1
    seen = max(1, counters.eval_examples)
    result = EvalResult(
        step=counters.step,
        total_steps=session.total_steps,
        epoch=session.epoch,
        examples=counters.examples,
        train_loss_nats=counters.eval_loss / seen,
        train_accuracy=None if found.accuracy is None else counters.eval_correct / seen,
        val_loss_nats=found.loss_nats,
        val_accuracy=found.accuracy,
        probe_loss_nats=probed.loss_nats if probed else None,
        probe_accuracy=probed.accuracy if probed else None,
        is_best=is_best,
        lr=session.config.lr * lr_factor(session.config, counters.step, session.total_steps),
    )
    counters.eval_examples, counters.eval_loss, counters.eval_correct = 0, 0.0, 0.0
    counters.evaluated_step = counters.step
    return result


def _examples(targets: Tensor) -> int:
    """Images or characters of a batch: a mixed label is one example, however many classes it has a share of."""
    return len(targets) if targets.is_floating_point() else targets.numel()


def _epochs(epoch: float) -> str:
    """`1 epoch`, `2.5 epochs`."""
    number = round(epoch, 2)
    return f"{number:g} {'epoch' if number == 1 else 'epochs'}"


def _read(session: TrainSession) -> tuple[float, float]:
    """Mean loss and accuracy since the last reading; the device finishes its work first."""
    counters = session.counters
    loss, correct = (float(value) for value in session.sums.tolist())
    examples = counters.read_examples
    session.sums.zero_()
    counters.read_examples = 0
    counters.eval_examples += examples
    counters.eval_loss += loss
    counters.eval_correct += correct
    return loss / examples, correct / examples


def _finished(session: TrainSession, reason: str, message: str) -> Finished:
    return Finished(
        reason=reason,
        message=message,
        step=session.counters.step,
        epoch=session.epoch,
        best_val_accuracy=session.counters.best_val_accuracy,
        best_val_loss_nats=session.counters.best_val_loss_nats,
    )


def _diverged(session: TrainSession) -> Finished:
    config, lr = session.config, session.config.lr
    recipe = RECIPES.get(config.model, {}).get(config.recipe)
    usual = recipe is not None and recipe.optimizer == config.optimizer and recipe.lr < lr
    instead = f"{recipe.lr:g}, the recipe's" if recipe is not None and usual else f"{lr / 10:g}"
    return _finished(
        session,
        "diverged",
        f"{DIVERGED} at step {session.counters.step}, so training stopped: "
        f"try a learning rate below {lr:g}, for example {instead}, or gradient clipping.",
    )

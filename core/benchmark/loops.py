"""The training loops that are compared, each a generator that does a step per `next` and yields the images or characters
it saw.

Run as a module it is a process with its own thread policy: `python -m core.benchmark.loops NAME SECONDS OPTIONS`
prints examples per second. `tutorial` is what an unprepared script has: no environment, DataLoader workers.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from core.training.session import TrainSession

EPOCHS = 20
"""Long enough not to end while it is measured; it also sets how often the loss is read."""


def _session(model: str, **changes: Any) -> TrainSession:
    from core.data import load_images
    from core.training.recipes import get_recipe
    from core.training.session import TrainSession

    recipe = get_recipe(model, "textbook" if model == "simple_cnn" else "default")
    return TrainSession.start(recipe.replace(device="cpu", **changes), load_images("cifar10"))


def lab(model: str, **changes: Any) -> Iterator[int]:
    """This project's loop: the trainer's own step on images that live on the device."""
    from core.training.trainer import train_step

    session = _session(model, **changes)
    for images, labels in session.batches():
        train_step(session, images, labels)
        yield len(images)


def generator(model: str, **changes: Any) -> Iterator[int]:
    """The same through the generator that runs consume, with its readings."""
    from core.training.results import StepResult
    from core.training.trainer import train

    session = _session(model, epochs=EPOCHS, eval_every=EPOCHS, **changes)
    for result in train(session):
        if isinstance(result, StepResult):
            yield session.batch_size


def tutorial(model: str, workers: int = 2, batch_size: int = 32) -> Iterator[int]:
    """The loop of PyTorch's CIFAR-10 tutorial: torchvision transforms per image, DataLoader, the same model, Adam."""
    import numpy as np
    import torch
    import torchvision.transforms as transforms
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset

    from core.data import load_images
    from core.models import build_model

    data = load_images("cifar10")
    prepare = transforms.Compose([transforms.ToTensor(), transforms.Normalize(data.card.mean, data.card.std)])

    class Images(Dataset):  # as torchvision.datasets.CIFAR10 does it
        def __len__(self) -> int:
            return len(data.train)

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            image = Image.fromarray(np.asarray(data.train.images[index]))
            return prepare(image), int(data.train.labels[index])

    loader = DataLoader(Images(), batch_size=batch_size, shuffle=True, num_workers=workers)
    network = textbook_cnn() if model == "simple_cnn" else build_model(model, {})
    criterion = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in itertools.count():
        for images, labels in loader:
            optimizer.zero_grad()
            loss = criterion(network(images), labels)
            loss.backward()
            optimizer.step()
            loss.item()
            yield len(labels)


def textbook_cnn() -> nn.Module:
    """The network of simple_cnn as the tutorial writes it."""
    from torch import nn

    return nn.Sequential(
        *(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(64 * 6 * 6, 10)),
    )


def keras(batch_size: int = 32) -> Iterator[int]:
    """The textbook Keras script: the same network and `fit`. Needs TensorFlow; yields an epoch at a time."""
    import tensorflow as tf  # type: ignore[import-not-found,unused-ignore]

    from core.data import load_images

    data = load_images("cifar10")
    layers = tf.keras.layers
    network = tf.keras.Sequential(
        [
            tf.keras.Input((32, 32, 3)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(optimizer="adam", loss=loss, metrics=["accuracy"])
    images, labels = data.train.images[:16_000] / 255.0, data.train.labels[:16_000]
    while True:
        network.fit(images, labels, batch_size=batch_size, verbose=0)
        yield len(labels)


def plain_text(recipe: str) -> Iterator[int]:
    """The usual PyTorch script for characters with the network and settings of a recipe of char_lstm: nn.LSTM with all its
    layers, the state carried from window to window, the norm of the gradients clipped. No learning-rate schedule."""
    import torch

    from core.benchmark.writing import TextbookLSTM
    from core.data import load_text
    from core.models import full_config
    from core.training.recipes import get_recipe

    config = get_recipe("char_lstm", recipe)
    data = load_text(config.dataset)
    vocabulary = len(data.card.vocabulary)
    _, shape = full_config(config.model, config.model_settings | {"vocabulary": vocabulary})
    network = TextbookLSTM(vocabulary, shape.embedding, shape.width, shape.layers, shape.dropout)
    criterion = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    tokens = torch.from_numpy(data.train.copy())
    streams = tokens[: len(tokens) // config.batch_size * config.batch_size].view(config.batch_size, -1)
    while True:
        state = None
        for start in range(0, streams.shape[1] - config.window, config.window):
            part = streams[:, start : start + config.window + 1]
            optimizer.zero_grad()
            logits, (hidden, cell) = network(part[:, :-1], state)
            state = hidden.detach(), cell.detach()
            loss = criterion(logits.flatten(0, 1), part[:, 1:].flatten())
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), config.grad_clip)
            optimizer.step()
            loss.item()
            yield logits.shape[0] * logits.shape[1]


LOOPS: dict[str, Callable[..., Iterator[int]]] = {
    "lab": lab,
    "generator": generator,
    "tutorial": tutorial,
    "keras": keras,
    "plain_text": plain_text,
}
WARM_STEPS = {"keras": 1, "plain_text": 3}


def examples_per_s(steps: Iterator[int], seconds: float, warm_steps: int = 5) -> float:
    """Speed over at least `seconds`, after a few steps that are not counted."""
    for _ in itertools.islice(steps, warm_steps):
        pass
    done, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds or done == 0:
        done += next(steps)
    return done / elapsed


def main() -> None:
    name, seconds, options = sys.argv[1], float(sys.argv[2]), json.loads(sys.argv[3])
    warm = 1 if options.get("batch_size", 0) >= 500 else WARM_STEPS.get(name, 20)
    print(json.dumps(examples_per_s(LOOPS[name](**options), seconds, warm)))


if __name__ == "__main__":
    main()

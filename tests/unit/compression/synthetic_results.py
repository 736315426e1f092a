"""Results of recipes as a worker would leave them, made up: what tests of figures, sentences and pages look at."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from core.compression.recipe import ORIGINAL, CompressConfig, Variant
from core.compression.results import HISTOGRAM_BINS, CompressionResult, Latency, Layer, Measurement
from core.compression.steps import Distill, FineTune, Float16, Int8, LowRank, PruneChannels, PruneWeights, Step

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
IMAGES = 10_000
CHAIN: tuple[Step, ...] = (
    LowRank(energy=0.95),
    PruneChannels(amount=0.5),
    FineTune(epochs=2),
    PruneWeights(amount=0.3),
    Int8(),
)


def config(*steps: Step, text: bool = False, **settings: Any) -> CompressConfig:
    known = {"model": "char_lstm", "dataset": "tiny_shakespeare"} if text else {}
    name = "char_lstm" if text else "fast_resnet"
    return CompressConfig(checkpoint=name, steps=tuple(step.to_dict() for step in steps), **known | settings)


def histogram(zeros: float) -> tuple[int, ...]:
    """A bell of weights with a share of them on zero."""
    middle = HISTOGRAM_BINS // 2
    bell = [int(3000 * 2 ** (-(((place - middle) / 8) ** 2))) for place in range(HISTOGRAM_BINS)]
    kept = [int(count * (1 - zeros)) for count in bell]
    kept[middle] += sum(bell) - sum(kept)
    return tuple(kept)


def layers(width: float = 1.0, zeros: float = 0.0) -> tuple[Layer, ...]:
    """Of a network like Fast ResNet. width: share of the channels that are left."""
    shapes = {
        "whiten": (24, 3, 2, 2),
        "blocks.0.conv": (64, 24, 3, 3),
        "blocks.0.body.0": (64, 64, 3, 3),
        "blocks.1.conv": (256, 64, 3, 3),
        "blocks.1.body.0": (256, 256, 3, 3),
        "blocks.2.conv": (256, 256, 3, 3),
        "blocks.2.body.0": (256, 256, 3, 3),
        "head": (10, 256),
    }
    found = []
    for name, shape in shapes.items():
        changed = name not in ("whiten", "head")
        parameters = int(width**2 * math.prod(shape)) if changed else math.prod(shape)
        places = {"0": 961, "1": 225, "2": 49}.get(name.split(".")[1] if "." in name else "", 1)
        own = zeros if changed else 0.0
        found.append(
            Layer(
                name=name,
                kind="linear" if name == "head" else "conv",
                parameters=parameters,
                macs=parameters * places,
                zeros=own,
                shape=shape,
                histogram=histogram(own),
                limit=0.31,
            )
        )
        if changed:
            norm = name.replace("conv", "norm").replace("body.0", "body.1")
            found.append(Layer(name=norm, kind="norm", parameters=int(2 * shape[0] * width), macs=0, zeros=0.0))
    return tuple(found)


def original(**changes: Any) -> Measurement:
    values: dict[str, Any] = {
        "id": ORIGINAL,
        "title": "original",
        "model": "fast_resnet",
        "stored_bytes": 7_905_000,
        "size_bytes": 7_899_000,
        "parameters": 1_972_792,
        "macs": 176_000_000,
        "latency_ms": latencies(9.6, 310.0, 4.8, 250.0),
        "memory_bytes": 62_000_000,
        "accuracy": 0.9433,
        "accuracy_interval": (0.9386, 0.9477),
        "images": IMAGES,
        "per_class": (0.95, 0.97, 0.92, 0.87, 0.95, 0.91, 0.96, 0.96, 0.97, 0.97),
        "export_error": 1e-5,
        "layers": layers(),
    }
    return Measurement(**values | changes)


def latencies(*p50: float, of: tuple[float, ...] | None = None) -> dict[str, Latency]:
    """ms by subject. of: the original's in the same rounds; its own for None."""
    names = ("torch_b1", "torch_b64", "onnx_b1", "onnx_b64")
    return {
        name: Latency(p50=own, p95=1.2 * own, original_p50=first, rounds=50)
        for name, own, first in zip(names, p50, of or p50)
    }


def variant(made: Variant, delta: float, half: float = 0.2, **changes: Any) -> Measurement:
    """delta: points against the original, ± half."""
    accuracy = 0.9433 + delta / 100
    known = original()
    values: dict[str, Any] = {
        "id": made.id,
        "title": made.title,
        "number": made.number,
        "seed": made.seed,
        "control": made.control,
        "steps": made.steps,
        "accuracy": accuracy,
        "accuracy_interval": (accuracy - 0.0048, accuracy + 0.0045),
        "delta_points": delta,
        "delta_interval": (delta - half, delta + half),
        "p_value": 0.41 if abs(delta) <= half else 0.0004,
        "disagreements": int(90 + 100 * abs(delta)),
        "per_class": tuple(
            value + delta / 100 * (0.4 + 0.15 * place) + 0.002 * (place % 3 - 1)
            for place, value in enumerate(known.per_class)
        ),
    }
    return dataclasses.replace(known, **values | changes)


def image_result(done: int = 5, **settings: Any) -> CompressionResult:
    """The original and as many of five variants; the first one got slower."""
    recipe = config(*CHAIN, **settings)
    base = (9.9, 320.0, 4.9, 255.0)
    rank, channels, tuned, weights, int8 = recipe.variants()
    half = {
        "size_bytes": 1_640_000,
        "stored_bytes": 1_650_000,
        "parameters": 410_000,
        "macs": 41_000_000,
        "latency_ms": latencies(4.1, 110.0, 1.9, 80.0, of=base),
        "layers": layers(0.5),
    }
    sparse = half | {"zeros": 0.3, "layers": layers(0.5, 0.3)}
    small = {"size_bytes": 440_000, "stored_bytes": 420_000, "latency_ms": latencies(4.2, 115.0, 0.8, 42.0, of=base)}
    made = (
        variant(
            rank,
            -0.35,
            size_bytes=6_400_000,
            stored_bytes=6_410_000,
            parameters=1_600_000,
            macs=150_000_000,
            latency_ms=latencies(11.8, 350.0, 5.9, 300.0, of=base),
            layers=layers(0.9),
            notes=("Slower than the original in ONNX Runtime: two thin layers take longer than one wide one.",),
        ),
        variant(channels, -9.4, 0.6, **half),
        variant(tuned, -0.52, 0.3, **half | {"latency_ms": latencies(4.1, 111.0, 1.9, 81.0, of=base)}),
        variant(weights, -0.6, 0.3, **sparse),
        variant(int8, -0.63, 0.35, **sparse | small),
    )
    return CompressionResult(
        config=recipe,
        name="Fast ResNet, custom",
        original="Fast ResNet",
        classes=CLASSES,
        made={"hardware": "2 CPU cores", "date": "2026-01-01"},
        measured=(original(), *made[:done]),
    )


def only_original() -> CompressionResult:
    return image_result(done=0)


def nothing_measured(*, text: bool = False) -> CompressionResult:
    recipe = config(Float16(), text=text)
    task = "text" if text else "images"
    return CompressionResult(config=recipe, name="empty", original="Fast ResNet", task=task, classes=CLASSES)


def distilled(seeds: int = 3, gain: float = 0.6, pairs: int | None = None) -> CompressionResult:
    """Students and their controls. gain: points that the teacher adds, more or less. pairs: seeds that are done."""
    recipe = config(Distill(student="simple_cnn", seeds=seeds))
    luck = (0.1, -0.25, 0.2, -0.1, 0.05, -0.15, 0.3, 0.0, -0.2, 0.15)
    measured = []
    for made in recipe.variants():
        if made.seed < (seeds if pairs is None else pairs):
            delta = -20.0 + luck[-1 - made.seed] + (0.0 if made.control else gain + luck[made.seed])
            costs = {
                "size_bytes": 172_000,
                "stored_bytes": 171_000,
                "parameters": 42_442,
                "macs": 1_900_000,
                "latency_ms": latencies(0.5, 9.0, 0.12, 5.0, of=(9.6, 310.0, 4.8, 250.0)),
            }
            measured.append(variant(made, delta, half=0.8, model="simple_cnn", layers=(), **costs))
    return CompressionResult(
        config=recipe,
        name="A small student",
        original="Fast ResNet",
        classes=CLASSES,
        measured=(original(), *measured),
        soft_labels=soft_labels(),
    )


def soft_labels(classes: tuple[str, ...] = CLASSES) -> tuple[dict[str, Any], ...]:
    """What a teacher gives to each class on average: cats are dog-like, trucks are automobile-like."""
    close = {("cat", "dog"): 5.0, ("dog", "cat"): 6.0, ("truck", "automobile"): 4.0, ("automobile", "truck"): 3.0}
    found = []
    for label in classes:
        weights = [90.0 if other == label else close.get((label, other), 0.3) for other in classes]
        found.append({"label": label, "probabilities": [weight / sum(weights) for weight in weights]})
    return tuple(found)


def text(done: int = 2, **changes: Any) -> CompressionResult:
    """An LSTM in float16, then in int8. changes: of the int8 variant."""
    recipe = config(PruneWeights(amount=0.3), Int8(), text=True)
    first = Measurement(
        id=ORIGINAL,
        title="original",
        model="char_lstm",
        stored_bytes=13_830_000,
        size_bytes=13_830_000,
        parameters=3_457_729,
        macs=3_440_000,
        accuracy=0.573,
        images=111_540,
        loss_nats=1.452,
        characters_per_s=610.0,
        original_characters_per_s=610.0,
    )
    made = []
    for place, (variant_made, nats, size) in enumerate(zip(recipe.variants(), (0.021, 0.024), (13_830_000, 3_520_000))):
        made.append(
            dataclasses.replace(
                first,
                id=variant_made.id,
                title=variant_made.title,
                number=variant_made.number,
                steps=variant_made.steps,
                stored_bytes=size,
                size_bytes=size,
                loss_nats=1.452 + nats,
                delta_nats=nats,
                accuracy=0.569,
                zeros=0.3,
                delta_nats_interval=(nats - 0.004, nats + 0.004),
                characters_per_s=(615.0, 1050.0)[place],
            )
        )
    made[-1] = dataclasses.replace(made[-1], **changes)
    return CompressionResult(
        config=recipe, name="LSTM, custom", original="LSTM", task="text", measured=(first, *made[:done])
    )

"""A checkpoint as one ONNX file that runs without this project: the network, and in its metadata all that is needed to use it.

The file is compared with PyTorch before it is offered.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx
import torch

from core.checkpoints.public import public_card, public_name
from core.checkpoints.store import MAX_ONNX_BYTES, Card, Checkpoint, versions
from core.common.errors import LabError
from core.compression.onnx.distances import add_distances
from core.compression.onnx.folding import fold_batch_norms
from core.compression.onnx.graph import IMAGES, gpt_graph, image_graph
from core.compression.onnx.half import to_float16
from core.compression.onnx.recurrent import recurrent_graph
from core.inference.images import threshold_of
from core.inference.neighbours import distances, without_head
from core.inference.onnx_network import OPSET, OPSETS, OnnxNetwork, check_onnx, onnx_inputs
from core.models import clone_model, images_at_once
from core.models.char_gpt import CharGPT
from core.models.char_rnn import CharRNN

TOLERANCE = 1e-3
"""Of logits, absolute; of logits above 1, relative to the largest."""
HALF_TOLERANCE = 0.03
"""The same, of a file in float16, whose numbers have 11 bits."""
LARGEST_HALF = float(np.finfo(np.float16).max)
MOST_COMPARED = 1000
"""Images."""
RANDOM_IMAGES, SQUARES = 64, 4
BATCH = 100
TOKENS = 48
FEWEST_AGREE = 0.5
"""Share of images that an int8 file and its float twin must call the same, unless they are all close calls."""


def export_onnx(checkpoint: Checkpoint, *, half: bool = False, opset: int = OPSET) -> bytes:
    """One self-contained file, weights inside. Batch norms are folded. Raises LabError with the reason where the network cannot
    be exported.

    half: compute in float16 instead of float32. opset: one of OPSETS. A file that a checkpoint has is left as it is, but for new
    metadata, and keeps its own opset; where there is no other (Card.has_one_file), there is no choice.

    Images: `images` (N, 3, H, W) float32, normalised, to `logits` (N, classes), and to `distances` (N,) where the warning goes by
    them too (core.inference.neighbours). Text: `tokens` (B, T) int64 to `logits`
    (B, T, vocabulary); recurrent networks also take `state_h` (and for the LSTM `state_c`), (layers, B, width) float32, and
    give `next_h` (`next_c`). All of N, B and T are free.
    """
    card, model = checkpoint.card, checkpoint.model
    if opset not in OPSETS:
        raise LabError(f"There is no opset {opset} here: choose one from {OPSETS[0]} to {OPSETS[-1]}.")
    if half and any(bool((weight.abs() > LARGEST_HALF).any()) for weight in model.parameters()):
        raise LabError("The network has weights beyond the range of float16: export it in float32.")
    if card.has_one_file and (half or opset != OPSET):
        raise LabError(
            f"An int8 checkpoint has one file, of opset {OPSET}: export its original for other arithmetic."
            if card.in_int8
            else f"{card.title[:100]} leaves as the file that it came as, in float32: choose that, and opset {OPSET}."
        )
    if checkpoint.onnx and not half and opset == OPSET:
        built = check_onnx(checkpoint.onnx, card.image_data.image_size)
        if built.graph.input[0].name != IMAGES:
            raise LabError(f"The ONNX network of {card.title[:100]} takes no images: the checkpoint is damaged.")
    elif isinstance(model, CharGPT):
        built = gpt_graph(model, opset)
    elif isinstance(model, CharRNN):
        built = recurrent_graph(model, opset)
    else:
        data = card.image_data
        built = image_graph(fold_batch_norms(model, data.image_size), data.image_size, opset)
        if card.calibration.distance and checkpoint.features is not None:
            add_distances(built, checkpoint.features.numpy())
    precision = "int8" if checkpoint.in_int8 else "float16" if half else "float32"
    return with_metadata(to_float16(built) if half else built, checkpoint, precision)


def with_metadata(model: onnx.ModelProto, checkpoint: Checkpoint, precision: str) -> bytes:
    """The file's bytes. Raises LabError where they are more than can be read again."""
    del model.metadata_props[:]
    values = metadata(checkpoint) | {"opset": json.dumps(model.opset_import[0].version), "precision": precision}
    for key, value in values.items():
        model.metadata_props.add(key=key, value=value)
    if model.ByteSize() > MAX_ONNX_BYTES:
        raise LabError(f"The ONNX file would have {model.ByteSize():,} bytes: at most {MAX_ONNX_BYTES:,} are exported.")
    return bytes(model.SerializeToString())


def metadata(checkpoint: Checkpoint) -> dict[str, str]:
    """What the file says about itself:
    `title`, `task`, `model`, `checkpoint`, `parent` and `precision` as plain text, all else as JSON."""
    tools = versions() | {"onnx": onnx.__version__}
    card = public_card(checkpoint.card)
    if checkpoint.features is None:
        card = card.without_features()
    plain = {"title": card.title, "task": card.task, "model": card.model, "checkpoint": public_name(checkpoint.name)}
    plain["parent"] = card.parent or ""
    values: dict[str, Any] = {"compression": card.compression, "versions": tools}
    if card.task == "images":
        data = card.image_data
        values |= {"labels": data.classes, "mean": data.mean, "std": data.std, "image_size": data.image_size}
        by = card.calibration.distance
        values |= {"fit": data.fit, "temperature": card.calibration.temperature, "tta": card.tta}
        values |= {"threshold": threshold_of(card.calibration), "distance": by and dataclasses.asdict(by)}
    else:
        values["vocabulary"] = card.text_data.vocabulary
        if isinstance(checkpoint.model, CharGPT):
            values["context"] = checkpoint.model.config.context
    # A text may hold half a character, which no file can; JSON writes it with a backslash.
    return {key: text.encode(errors="replace").decode() for key, text in plain.items()} | {
        key: json.dumps(value) for key, value in values.items()
    }


class Network(Protocol):
    """An exported file that was loaded."""

    metadata: dict[str, str]
    most: int
    """Inputs that are answered at once."""

    def run(self, inputs: np.ndarray, state: list[np.ndarray] | None = None) -> list[np.ndarray]:
        """Logits, then what else there is: distances, or the state of a recurrent network."""


def compare_export(checkpoint: Checkpoint, data: bytes, images: np.ndarray | None) -> float:
    """`compare_network` of an ONNX file."""
    return compare_network(checkpoint, OnnxNetwork(data), images)


@torch.inference_mode()
def compare_network(checkpoint: Checkpoint, network: Network, images: np.ndarray | None) -> float:
    """Run an exported file beside its checkpoint; returns the largest absolute difference of logits.

    images: (N, H, W, 3) uint8, of which at most the first 1,000 are compared; None: random ones. Language models are compared on
    random tokens. Raises LabError where the difference is beyond the tolerance. An int8 file computes in other arithmetic than
    its twin, so there it is refused only where the two disagree about most images.
    """
    model = clone_model(checkpoint.model).cpu().float()
    if checkpoint.card.task == "text":
        pairs = _text_logits(model, network)
    else:
        side = checkpoint.card.image_data.image_size
        if images is None or not len(images):
            # Of a few large squares: noise in every pixel is far from what the ranges of int8 were measured on.
            squares = np.random.default_rng(0).integers(0, 256, (RANDOM_IMAGES, SQUARES, SQUARES, 3), dtype=np.uint8)
            place = np.arange(side) * SQUARES // side
            images = squares[:, place][:, :, place]
        pairs = _image_logits(checkpoint, model, network, images[: most_compared(checkpoint.card)])
    expected, found = (np.concatenate(part) for part in zip(*pairs, strict=True))
    if expected.shape != found.shape or not np.isfinite(found).all():
        raise LabError(
            "The exported network does not give logits as the checkpoint does: do not use it, export it again."
        )
    difference = float(np.abs(expected - found).max())
    if checkpoint.in_int8:
        agree = float((expected.argmax(-1) == found.argmax(-1)).mean())
        if agree < FEWEST_AGREE and difference > 2 * float(expected.std()):
            raise LabError(
                f"The int8 network and its float twin agree about {agree:.0%} of {len(found):,} images only: do not use it, "
                "make it again with more calibration images."
            )
    elif difference > _tolerance(network) * max(1.0, float(np.abs(expected).max())):
        raise LabError(
            f"The logits of the exported network differ from the checkpoint's by {difference:.2g}: do not use it, and report it."
        )
    return difference


def _tolerance(network: Network) -> float:
    return HALF_TOLERANCE if network.metadata.get("precision") == "float16" else TOLERANCE


def most_compared(card: Card) -> int:
    """How many images a file is compared on: fewer where the network sees them large, and so takes long."""
    return images_at_once(card.model_config, MOST_COMPARED)


def _image_logits(
    checkpoint: Checkpoint, model: torch.nn.Module, network: Network, images: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """With the distances as one more column, where the file gives them."""
    card, features = checkpoint.card, checkpoint.features
    pairs, size = [], images_at_once(card.model_config, min(BATCH, network.most))
    for start in range(0, len(images), size):
        inputs = onnx_inputs(card, images[start : start + size])
        given = torch.from_numpy(inputs)
        expected, (found, *far) = [model(given).numpy()], network.run(inputs)
        if far and features is not None:
            expected.append(distances(without_head(model)(given), features)[:, None].numpy())
        pairs.append((np.concatenate(expected, 1), np.concatenate([found, *(each[:, None] for each in far)], 1)))
    return pairs


def _text_logits(model: torch.nn.Module, network: Network) -> list[tuple[np.ndarray, np.ndarray]]:
    """Two windows, the second with the state that the first one left (the GPT file takes none, so its start anew)."""
    assert isinstance(model, CharGPT | CharRNN)
    context = min(TOKENS, model.config.context) if isinstance(model, CharGPT) else TOKENS
    drawn = np.random.default_rng(0).integers(0, model.config.vocabulary, (2, 2, context))
    pairs, state, carried = [], None, None
    for tokens in drawn:
        logits, after = model(torch.from_numpy(tokens), state)
        found, *last = network.run(tokens, carried)
        pairs.append((logits.numpy(), found))
        if isinstance(model, CharRNN):
            state, carried = after, last
    return pairs


def weights_file(checkpoint: Checkpoint) -> bytes:
    """The weights as a safetensors file, float32, tensors named as in PyTorch, with the card in its metadata (`card`)."""
    from safetensors.torch import save

    tensors = {
        name: (value.float() if value.is_floating_point() else value).cpu().contiguous()
        for name, value in checkpoint.model.state_dict().items()
    }
    card = dataclasses.replace(
        public_card(checkpoint.card).without_features(),
        storage="float32",
        weights_file="",
        weights_sha256="",
        size_bytes=0,
        onnx_file="",
        onnx_sha256="",
        onnx_bytes=0,
    )
    return bytes(save(tensors, metadata={"format": "pt", "card": card.to_json()}))


SCRIPTS = {"images": "classify.py", "text": "write.py"}
"""Task -> the script that goes out beside its files."""


def script(card: Card, file_name: str) -> str:
    """The Python script that answers with an exported file as this project does, see core.compression.onnx.scripts.

    file_name: of the exported file, which it expects in its own folder.
    """
    text = (Path(__file__).parent / "scripts" / SCRIPTS[card.task]).read_text()
    return text.replace('MODEL = "net.onnx"', f"MODEL = {Path(file_name).name!a}")

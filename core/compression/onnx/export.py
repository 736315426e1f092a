"""A checkpoint as one ONNX file that runs without this project: the network, and in its metadata all that is needed to use it.

The file is compared with PyTorch before it is offered.
"""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from core.checkpoints.store import MAX_ONNX_BYTES, Card, Checkpoint, versions
from core.common.errors import LabError
from core.compression.onnx.folding import fold_batch_norms
from core.compression.onnx.graph import IMAGES, OPSET, gpt_graph, image_graph
from core.compression.onnx.recurrent import recurrent_graph
from core.inference.onnx_network import OnnxNetwork, check_onnx, onnx_inputs
from core.models import clone_model, images_at_once
from core.models.char_gpt import CharGPT
from core.models.char_rnn import CharRNN

TOLERANCE = 1e-3
"""Of logits, absolute; of logits above 1, relative to the largest."""
MOST_COMPARED = 1000
"""Images."""
RANDOM_IMAGES, SQUARES = 64, 4
BATCH = 100
TOKENS = 48
FEWEST_AGREE = 0.5
"""Share of images that an int8 file and its float twin must call the same, unless they are all close calls."""


def export_onnx(checkpoint: Checkpoint) -> bytes:
    """One self-contained file (opset 20, weights inside). Batch norms are folded. Raises LabError with the reason where the
    network cannot be exported.

    Images: `images` (N, 3, H, W) float32, normalised, to `logits` (N, classes). Text: `tokens` (B, T) int64 to `logits`
    (B, T, vocabulary); recurrent networks also take `state_h` (and for the LSTM `state_c`), (layers, B, width) float32, and
    give `next_h` (`next_c`). All of N, B and T are free. An int8 checkpoint's file is the one it has, with new metadata.
    """
    card, model = checkpoint.card, checkpoint.model
    if checkpoint.onnx:
        built = check_onnx(checkpoint.onnx, card.image_data.image_size)
        if built.graph.input[0].name != IMAGES:
            raise LabError(f"The int8 network of {card.title[:100]} takes no images: the checkpoint is damaged.")
    elif isinstance(model, CharGPT):
        built = gpt_graph(model)
    elif isinstance(model, CharRNN):
        built = recurrent_graph(model)
    else:
        data = card.image_data
        built = image_graph(fold_batch_norms(model, data.image_size), data.image_size)
    return with_metadata(built, checkpoint)


def with_metadata(model: onnx.ModelProto, checkpoint: Checkpoint) -> bytes:
    """The file's bytes. Raises LabError where they are more than can be read again."""
    del model.metadata_props[:]
    for key, value in metadata(checkpoint).items():
        model.metadata_props.add(key=key, value=value)
    if model.ByteSize() > MAX_ONNX_BYTES:
        raise LabError(f"The ONNX file would have {model.ByteSize():,} bytes: at most {MAX_ONNX_BYTES:,} are exported.")
    return bytes(model.SerializeToString())


def metadata(checkpoint: Checkpoint) -> dict[str, str]:
    """What the file says about itself; `title`, `task`, `model`, `checkpoint` and `parent` as plain text, all else as JSON."""
    tools = versions() | {"onnx": onnx.__version__}
    card = _without_folders(checkpoint.card)
    plain = {"title": card.title, "task": card.task, "model": card.model, "checkpoint": _public(checkpoint.name)}
    plain["parent"] = card.parent or ""
    values: dict[str, Any] = {"opset": OPSET, "compression": card.compression, "versions": tools}
    if card.task == "images":
        data = card.image_data
        values |= {"labels": data.classes, "mean": data.mean, "std": data.std, "image_size": data.image_size}
    else:
        values["vocabulary"] = card.text_data.vocabulary
        if isinstance(checkpoint.model, CharGPT):
            values["context"] = checkpoint.model.config.context
    # A text may hold half a character, which no file can; JSON writes it with a backslash.
    return {key: text.encode(errors="replace").decode() for key, text in plain.items()} | {
        key: json.dumps(value) for key, value in values.items()
    }


@torch.inference_mode()
def compare_export(checkpoint: Checkpoint, data: bytes, images: np.ndarray | None) -> float:
    """Run an exported file beside its checkpoint; returns the largest absolute difference of logits.

    images: (N, H, W, 3) uint8, of which at most the first 1,000 are compared; None: random ones. Language models are compared on
    random tokens. Raises LabError where the difference is beyond the tolerance. An int8 file computes in other arithmetic than
    its twin, so there it is refused only where the two disagree about most images.
    """
    network = OnnxNetwork(data)
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
        pairs = _image_logits(checkpoint.card, model, network, images[: most_compared(checkpoint.card)])
    expected, found = (np.concatenate(part) for part in zip(*pairs, strict=True))
    if expected.shape != found.shape or not np.isfinite(found).all():
        raise LabError(
            "The exported network does not give logits as the checkpoint does: do not use it, export it again."
        )
    difference = float(np.abs(expected - found).max())
    if checkpoint.onnx:
        agree = float((expected.argmax(-1) == found.argmax(-1)).mean())
        if agree < FEWEST_AGREE and difference > 2 * float(expected.std()):
            raise LabError(
                f"The int8 network and its float twin agree about {agree:.0%} of {len(found):,} images only: do not use it, "
                "make it again with more calibration images."
            )
    elif difference > TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise LabError(
            f"The logits of the exported network differ from the checkpoint's by {difference:.2g}: do not use it, and report it."
        )
    return difference


def most_compared(card: Card) -> int:
    """How many images a file is compared on: fewer where the network sees them large, and so takes long."""
    return images_at_once(card.model_config, MOST_COMPARED)


def _image_logits(
    card: Card, model: torch.nn.Module, network: OnnxNetwork, images: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    pairs, size = [], images_at_once(card.model_config, BATCH)
    for start in range(0, len(images), size):
        inputs = onnx_inputs(card, images[start : start + size])
        pairs.append((model(torch.from_numpy(inputs)).numpy(), network.logits(inputs)))
    return pairs


def _text_logits(model: torch.nn.Module, network: OnnxNetwork) -> list[tuple[np.ndarray, np.ndarray]]:
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
        _without_folders(checkpoint.card).without_features(),
        storage="float32",
        weights_file="",
        weights_sha256="",
        size_bytes=0,
        onnx_file="",
        onnx_sha256="",
        onnx_bytes=0,
    )
    return bytes(save(tensors, metadata={"format": "pt", "card": card.to_json()}))


def _without_folders(card: Card) -> Card:
    """The card as strangers may read it: where a checkpoint came from a folder, only the folder's own name."""
    done = dict(card.compression)
    if done:
        done["original"] = _public(done["original"])
    return dataclasses.replace(card, parent=card.parent and _public(card.parent), compression=done)


def _public(name: str) -> str:
    """A checkpoint's name as it is (`fast_resnet`, `<run id>/last`), a folder's without what is above it."""
    return name if re.fullmatch(r"[\w-]+(/[\w-]+)?", name) else Path(name).name


def snippet(card: Card, file_name: str) -> str:
    """A short Python script that runs an exported file, with numpy, onnxruntime and Pillow and without this project.

    file_name: of the file; the script expects it in the folder that it is run in.
    """
    name = ascii(Path(file_name).name)
    if card.task == "images":
        return _IMAGES.replace("FILE", name)
    return (_GPT if card.model == "char_gpt" else _RECURRENT).replace("FILE", name)


_IMAGES = """\
import json, sys
import numpy as np, onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession(FILE, providers=["CPUExecutionProvider"])
about = session.get_modelmeta().custom_metadata_map
labels, mean, std, side = (json.loads(about[key]) for key in ("labels", "mean", "std", "image_size"))
image = ImageOps.fit(ImageOps.exif_transpose(Image.open(sys.argv[1])).convert("RGB"), (side, side))
pixels = (np.asarray(image, np.float32) / 255 - np.float32(mean)) / np.float32(std)
logits = session.run(["logits"], {"images": pixels.transpose(2, 0, 1)[None]})[0][0]
print(labels[logits.argmax()])
"""
_GPT = """\
import json, sys
import numpy as np, onnxruntime

session = onnxruntime.InferenceSession(FILE, providers=["CPUExecutionProvider"])
about = session.get_modelmeta().custom_metadata_map
vocabulary, context = json.loads(about["vocabulary"]), json.loads(about["context"])
tokens = [vocabulary.index(character) for character in sys.argv[1]]
for _ in range(100):
    logits = session.run(["logits"], {"tokens": np.array([tokens[-context:]], np.int64)})[0][0, -1]
    tokens.append(int(logits.argmax()))
print("".join(vocabulary[token] for token in tokens))
"""
_RECURRENT = """\
import json, sys
import numpy as np, onnxruntime

session = onnxruntime.InferenceSession(FILE, providers=["CPUExecutionProvider"])
vocabulary = json.loads(session.get_modelmeta().custom_metadata_map["vocabulary"])
tokens = read = [vocabulary.index(character) for character in sys.argv[1]]
names = [item for item in session.get_inputs() if item.name != "tokens"]
state = {item.name: np.zeros((item.shape[0], 1, item.shape[2]), np.float32) for item in names}
for _ in range(100):
    logits, *last = session.run(None, {"tokens": np.array([read], np.int64)} | state)
    state, read = dict(zip(state, last)), [int(logits[0, -1].argmax())]
    tokens = tokens + read
print("".join(vocabulary[token] for token in tokens))
"""

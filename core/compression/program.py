"""A checkpoint as a program of `torch.export` (.pt2): the network without the code that describes it, for PyTorch alone.

Such a file holds operators and weights, and what it was made of as JSON. PyTorch reads parts of it by unpickling, so a .pt2 of
unknown origin must not be loaded: this project writes them and never reads one that somebody gave.
Source: https://docs.pytorch.org/docs/stable/export.html
"""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.checkpoints.store import Card, Checkpoint
from core.common.errors import LabError
from core.compression.onnx.export import metadata, script
from core.compression.onnx.folding import EXPORTING
from core.inference.neighbours import NEAREST, without_head
from core.inference.onnx_network import LARGEST_BATCH
from core.models import clone_model
from core.models.char_gpt import CharGPT
from core.models.char_rnn import CharRNN

ABOUT = "about.json"
"""File inside the program: the metadata of an ONNX file."""
REFUSED = "PyTorch fixes the length of a recurrent network when it exports it: choose ONNX or the weights."


class _Answers(nn.Module):
    """Logits, and the distances to training images where the warning goes by them; of a GPT without its state."""

    def __init__(self, model: nn.Module, known: Tensor | None) -> None:
        super().__init__()
        self.model = model
        self.body = None if known is None else without_head(model)
        self.register_buffer("known", known)

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        logits = self.model(inputs)
        if isinstance(logits, tuple):
            return (logits[0],)
        if self.body is None:
            return (logits,)
        # torch.cdist takes another way above 25 images, which an export would fix.
        known = self.get_buffer("known")
        far = 1 + known.square().sum(1) - 2 * (F.normalize(self.body(inputs)) @ known.T)  # (N, M), squared
        return logits, far.clamp_min(0).topk(NEAREST, dim=1, largest=False).values[:, -1].sqrt()


def export_program(checkpoint: Checkpoint) -> bytes:
    """Images (N, 3, H, W) float32, normalised, or tokens (B, T) int64, to a tuple: logits, and distances (N,) where there are
    any. Raises LabError where the network cannot be exported."""
    model, card = checkpoint.model, checkpoint.card
    if checkpoint.in_int8:
        raise LabError("This checkpoint computes in int8, which PyTorch does not: choose ONNX.")
    checkpoint.check_layers()
    if isinstance(model, CharRNN):
        raise LabError(REFUSED)
    known = checkpoint.features if card.task == "images" and card.calibration.distance else None
    example, free = torch.zeros(2, 2, dtype=torch.int64), {0: torch.export.Dim("N")}
    if isinstance(model, CharGPT):
        free[1] = torch.export.Dim("T", max=model.config.context)
    else:
        example = torch.zeros(2, 3, card.image_data.image_size, card.image_data.image_size)
    answers, buffer = _Answers(clone_model(model).cpu().float(), known).eval(), io.BytesIO()
    try:
        with EXPORTING, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(answers, (example,), dynamic_shapes=((free),))
            for node in program.graph.nodes:
                node.meta.pop("stack_trace", None)  # which names folders of this machine
            about = json.dumps(metadata(checkpoint) | {"precision": "float32"})
            torch.export.save(program, buffer, extra_files={ABOUT: about})
    except Exception as error:  # the exporter has an exception class for each of its stages
        raise LabError(
            f"PyTorch cannot export this network ({type(error).__name__}): choose another target."
        ) from error
    return buffer.getvalue()


class Program:
    """A program that this process has just written, to be compared with its checkpoint."""

    most = LARGEST_BATCH

    def __init__(self, data: bytes) -> None:
        """data: what `export_program` gave, and nothing else."""
        extra = {ABOUT: ""}
        self.module = torch.export.load(io.BytesIO(data), extra_files=extra).module()
        self.metadata: dict[str, str] = json.loads(extra[ABOUT])

    def run(self, inputs: np.ndarray, state: list[np.ndarray] | None = None) -> list[np.ndarray]:
        """Logits, and distances where there are any. state: none, as of a network that keeps none."""
        return [value.numpy() for value in self.module(torch.from_numpy(inputs))]


PLACE = "the-file"


def program_script(card: Card, file_name: str) -> str:
    """The script of an ONNX file with PyTorch in place of ONNX Runtime."""
    text = (
        script(card, PLACE)
        .replace("import onnxruntime\n", "import torch\n")
        .replace("onnxruntime", "torch")
        .replace("ONNX file", "program")
    )
    before, _, rest = text.partition("def open_network(")
    after = rest.partition("\n\n\n")[2]
    opened = _OPEN.replace("RESULT", _RESULTS[card.task][0]).replace("ANSWER", _RESULTS[card.task][1])
    return (before + opened + after).replace(repr(PLACE), ascii(Path(file_name).name))


_RESULTS = {
    "images": ("tuple[Network, dict[str, Any]]", "Network(program), {key: json.loads(texts[key]) for key in KEYS}"),
    "text": (
        "tuple[Any, str, int | None]",
        'Network(program), json.loads(texts["vocabulary"]), json.loads(texts["context"])',
    ),
}
_OPEN = '''class Network:
    """A program of torch.export, run as ONNX Runtime runs its sessions."""

    def __init__(self, program: torch.export.ExportedProgram) -> None:
        self.module = program.module()

    def get_inputs(self) -> list[Any]:
        """Those besides images or tokens: none."""
        return []

    @torch.inference_mode()
    def run(self, names: Any, given: dict[str, np.ndarray]) -> list[np.ndarray]:
        (values,) = given.values()
        return [value.numpy() for value in self.module(torch.from_numpy(np.ascontiguousarray(values)))]


def open_network(path: str | Path) -> RESULT:
    """The network and what the file says about itself. PyTorch may unpickle parts of it: open no file that you do not trust."""
    extra = {"about.json": ""}
    program = torch.export.load(path, extra_files=extra)
    texts = json.loads(extra["about.json"])
    return ANSWER


'''

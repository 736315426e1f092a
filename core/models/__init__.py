"""Architectures: a name, a frozen config, and a builder, in a plain dict. Importing this does not import torch."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, get_args

from core.common.errors import LabError

if TYPE_CHECKING:
    from torch import nn


LAYERS = "changed_layers"
"""Key of a model's settings that holds what was changed of the network after it was designed."""
PIXELS_AT_ONCE = 32 * 224 * 224
TtaLevel = Literal["none", "flip", "flip+shift"]
TTA_LEVELS = get_args(TtaLevel)
"""Test-time augmentations, see core.models.tta."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelEntry:
    title: str
    task: str
    """`images`: images to logits of classes; `text`: characters to logits of the next character; `generation`: noise to
    images of a class."""
    description: str
    source: str
    module: str
    config: str
    build: str
    parameters: int
    """With the default config (for text: of Tiny Shakespeare's 65 characters)."""
    recurrent: bool = False
    """Whether it reads with a state that it carries on."""
    attention: bool = False
    """Whether its parts attend to each other: characters, or tokens of an image."""
    imported: bool = False
    """Whether its weights come from elsewhere: none is trained from random weights here."""

    @property
    def data(self) -> str:
        """What it learns from: `images` or `text`."""
        return "images" if self.task == "generation" else self.task


MODELS: dict[str, ModelEntry] = {
    "simple_cnn": ModelEntry(
        title="Simple CNN",
        task="images",
        description="The textbook network: two convolutions, two poolings, one dense layer.",
        source="TensorFlow and PyTorch CIFAR-10 tutorials",
        module="core.models.simple_cnn",
        config="SimpleCNNConfig",
        build="SimpleCNN",
        parameters=42_442,
    ),
    "fast_resnet": ModelEntry(
        title="Fast ResNet",
        task="images",
        description="Whitened input and three wide blocks: 94% in seconds on a GPU, in about an hour on two CPU cores.",
        source="Jordan, arXiv:2404.00498; Page, ResNet-9",
        module="core.models.fast_resnet",
        config="FastResNetConfig",
        build="FastResNet",
        parameters=1_972_792,
    ),
    "resnet18": ModelEntry(
        title="ResNet-18",
        task="images",
        description="torchvision's ResNet-18 with a 3x3 stem: the standard to compare with; slow without a GPU.",
        source="He et al., arXiv:1512.03385",
        module="core.models.resnet18",
        config="ResNet18Config",
        build="resnet18",
        parameters=11_173_962,
    ),
    "compact_transformer": ModelEntry(
        title="Compact Transformer",
        task="images",
        description="Two convolutions make 64 tokens, which attend to each other: a vision Transformer for small images.",
        source="Hassani et al., arXiv:2104.05704 (CCT-2/3x2)",
        module="core.models.compact_transformer",
        config="CompactTransformerConfig",
        build="CompactTransformer",
        parameters=283_723,
        attention=True,
    ),
    "efficientnet_lite0": ModelEntry(
        title="EfficientNet-Lite0",
        task="images",
        description="Starts from ImageNet weights: a few hundred photos are enough for a new classifier.",
        source="Tan & Le, arXiv:1905.11946; Lite variant of the TensorFlow team, 2020",
        module="core.models.efficientnet_lite",
        config="EfficientNetLiteConfig",
        build="EfficientNetLite",
        parameters=3_383_818,
    ),
    "char_lstm": ModelEntry(
        title="LSTM",
        task="text",
        description="Long short-term memory: a gated cell state that gradients pass through unharmed.",
        source="Hochreiter & Schmidhuber 1997; Gers et al. 2000 (forget gate)",
        module="core.models.char_rnn",
        config="CharRNNConfig",
        build="char_lstm",
        parameters=3_457_729,
        recurrent=True,
    ),
    "char_gru": ModelEntry(
        title="GRU",
        task="text",
        description="Gated recurrent unit: two gates and no separate cell, three quarters of the LSTM's weights.",
        source="Cho et al., arXiv:1406.1078",
        module="core.models.char_rnn",
        config="CharRNNConfig",
        build="char_gru",
        parameters=2_603_713,
        recurrent=True,
    ),
    "char_rnn": ModelEntry(
        title="RNN",
        task="text",
        description="The textbook recurrence h = tanh(W x + U h + b): small, and forgets quickly.",
        source="Elman 1990",
        module="core.models.char_rnn",
        config="CharRNNConfig",
        build="char_rnn",
        parameters=895_681,
        recurrent=True,
    ),
    "char_gpt": ModelEntry(
        title="GPT",
        task="text",
        description="A small decoder-only Transformer: every character attends to those before it.",
        source="Vaswani et al., arXiv:1706.03762; Radford et al. 2019 (GPT-2)",
        module="core.models.char_gpt",
        config="CharGPTConfig",
        build="CharGPT",
        parameters=2_718_336,
        attention=True,
    ),
    "flow_unet": ModelEntry(
        title="Flow U-Net",
        task="generation",
        description="Generates images of a class by following a learned flow from noise.",
        source="Lipman et al., arXiv:2210.02747; Ronneberger et al., arXiv:1505.04597",
        module="core.models.flow_unet",
        config="FlowUNetConfig",
        build="FlowUNet",
        parameters=4_092_364,
    ),
    "torchvision": ModelEntry(
        title="torchvision network",
        task="images",
        description="An architecture of torchvision with weights that were trained elsewhere.",
        source="torchvision.models",
        module="core.models.torchvision_network",
        config="TorchvisionConfig",
        build="TorchvisionNetwork",
        parameters=11_689_512,
        imported=True,
    ),
    "onnx": ModelEntry(
        title="ONNX network",
        task="images",
        description="A network that came as an ONNX file, rebuilt in PyTorch with the same answers.",
        source="https://onnx.ai",
        module="core.models.onnx_graph",
        config="OnnxGraphConfig",
        build="OnnxGraph",
        parameters=0,
        imported=True,
    ),
    "onnx_runtime": ModelEntry(
        title="ONNX network, answers only",
        task="images",
        description="A network that came as an ONNX file and runs only in ONNX Runtime.",
        source="https://onnxruntime.ai",
        module="core.inference.runtime_network",
        config="RuntimeNetworkConfig",
        build="RuntimeNetwork",
        parameters=0,
        imported=True,
    ),
}

DESIGNS = {name: entry for name, entry in MODELS.items() if not entry.imported}
"""Architectures that can be trained from random weights."""


def build_model(name: str, config: dict[str, Any]) -> nn.Module:
    """A new model with fresh weights (from torch's global generator).

    config: fields of the architecture's config class that differ from its defaults, and under `changed_layers` what was
    changed of the network itself (see core.models.surgery). Raises LabError for an unknown name, field or value.
    """
    entry, values = full_config(name, config)
    model = getattr(import_module(entry.module), entry.build)(values)
    if config.get(LAYERS):
        from core.models.surgery import apply_changes

        apply_changes(model, config[LAYERS])
    if entry.task == "images":
        from core.models.hook_safety import make_hook_safe

        make_hook_safe(model)
    return model


def head_name(model: nn.Module) -> str:
    """Name of the layer that depends on the classes: the last linear layer, which gives the logits, unless the network names
    another."""
    from torch import nn

    named = getattr(model, "class_layer", None)
    return named or [name for name, module in model.named_modules() if isinstance(module, nn.Linear)][-1]


def images_at_once(config: Mapping[str, Any], most: int, device: str = "cpu") -> int:
    """How many images to send through a network of these settings together, at most `most`, or 2,000 on a GPU: fewer where it
    sees them large, which bounds memory at about 1 GB, or 4 GB of a GPU's."""
    if device.partition(":")[0] != "cpu":
        return 4 * images_at_once(config, 500)
    side = max(config.get("image_size", 32), config.get("upscale_to", 0))
    return max(1, min(most, PIXELS_AT_ONCE // side**2))


def clone_model(model: nn.Module) -> Any:
    """A copy in eval mode without gradients, to be changed, hooked or moved."""
    return copy.deepcopy(model).eval().requires_grad_(False)


def full_config(name: str, config: dict[str, Any]) -> tuple[ModelEntry, Any]:
    """The registry entry and the checked config object. Raises LabError as build_model does."""
    if name not in MODELS:
        raise LabError(f"There is no model named {name[:60]!r}: choose one of {', '.join(MODELS)}.")
    entry = MODELS[name]
    kind = getattr(import_module(entry.module), entry.config)
    return entry, kind(**{key: value for key, value in config.items() if key != LAYERS})


def model_info() -> list[dict[str, Any]]:
    """What can be trained, as rows for a table."""
    return [
        {
            "name": name,
            "title": entry.title,
            "task": entry.task,
            "parameters": entry.parameters,
            "description": entry.description,
            "source": entry.source,
        }
        for name, entry in DESIGNS.items()
    ]

"""A network that is known only as an ONNX file: it answers in ONNX Runtime, and has neither layers nor gradients here."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from core.common.errors import LabError
from core.common.settings import Count, Settings
from core.inference.onnx_network import OnnxNetwork


class RuntimeNetworkConfig(Settings):
    classes: Count = 10
    """Number of labels."""
    image_size: Count = 32
    """Height and width of the input, pixels."""
    reason: str = ""
    """Why it is not converted to PyTorch, as the end of a sentence."""


class RuntimeNetwork(nn.Module):
    """Normalised images (N, 3, H, W) to logits (N, classes), on the CPU. `core.checkpoints.store` gives it its file."""

    def __init__(self, config: RuntimeNetworkConfig) -> None:
        super().__init__()
        self.classes = config.classes
        self.anchor = nn.Parameter(torch.zeros(0))  # every network has a device, and this tells it
        self.file = b""
        self._session: OnnxNetwork | None = None

    def take_file(self, data: bytes) -> None:
        self.file, self._session = data, None

    def forward(self, x: Tensor) -> Tensor:
        if x.is_meta:
            return torch.empty(len(x), self.classes, device="meta")
        if torch.is_grad_enabled() and x.requires_grad:
            raise LabError(
                "This network runs only in ONNX Runtime, so it has no gradients here: choose another checkpoint."
            )
        if self._session is None:
            self._session = OnnxNetwork(self.file, threads=torch.get_num_threads())
        pixels = np.ascontiguousarray(x.detach().cpu().numpy(), np.float32)
        return torch.from_numpy(self._session.logits(pixels)).to(x.device)

    def __deepcopy__(self, memo: Any) -> RuntimeNetwork:
        """A session cannot be copied, and need not be."""
        made = RuntimeNetwork(RuntimeNetworkConfig(classes=self.classes))
        made.take_file(self.file)
        made._session = self._session
        return made

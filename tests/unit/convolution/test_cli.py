"""`foundations convolution` and `foundations shift`: what they print is what PyTorch computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from core.checkpoints.store import save_checkpoint
from core.convolution.arithmetic import digits, parse_kernel
from core.convolution.edits import probabilities
from tests.unit.convolution.networks import PIXELS, checkpoint
from tests.unit.terminal import answer, refused


@pytest.fixture
def image(tmp_path: Path) -> str:
    path = tmp_path / "image.png"
    Image.fromarray(PIXELS[0]).save(path)
    return str(path)


@pytest.fixture
def parent(lab_home: Path) -> str:
    made = checkpoint()
    save_checkpoint(lab_home / "runs" / "parent" / "best", made.model, made.card)
    return "parent"


def test_a_digit_and_a_kernel(capsys: pytest.CaptureFixture[str]) -> None:
    kernel = "1 0; 2 -1"
    found = answer(
        capsys,
        "foundations",
        "convolution",
        "--digit",
        "7",
        "--kernel",
        kernel,
        "--stride",
        "2",
        "--at",
        "1,2",
        "--json",
    )
    expected = F.conv2d(
        torch.from_numpy(digits()[7][None, None]), torch.from_numpy(parse_kernel(kernel))[None, None], stride=2
    )
    np.testing.assert_array_equal(found["output"], expected[0])
    assert found["at"]["output"] == float(expected[0, 0, 1, 2])
    assert found["at"]["output"] == sum(term["term"] for term in found["at"]["terms"])
    assert "output is empty" in refused(
        capsys,
        "foundations",
        "convolution",
        "--kernel",
        kernel,
        "--dilation",
        "4",
        "--digit",
        "1",
        "--operation",
        "max",
        "--size",
        "7",
    )
    assert "not a square" in refused(capsys, "foundations", "convolution", "--kernel", "1 2")


def test_a_trained_layer_and_shifts(capsys: pytest.CaptureFixture[str], image: str, parent: str) -> None:
    made = checkpoint()
    trained = answer(capsys, "foundations", "convolution", image, "--checkpoint", parent, "--channel", "5", "--json")
    assert trained["input_shape"] == [3, 32, 32]
    np.testing.assert_allclose(trained["kernel"], made.model.conv1.weight[5].double())
    shifts = answer(capsys, "foundations", "shift", image, "--checkpoint", parent, "--reach", "1", "--json")
    first = shifts["variants"][0]
    assert [row["pooling"] for row in shifts["variants"]] == ["max", "average", "stride", "blur"]
    assert first["probability"] == pytest.approx(float(probabilities(made, PIXELS[0], 1.0).max()), abs=1e-5)
    assert np.shape(first["probabilities"]) == (3, 3)

"""What stands in for a max pooling: the same sizes, a card that rebuilds it, and no more of the signal than before."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from core.common.errors import LabError
from core.models import LAYERS, build_model
from core.models.pooling import POOLINGS, pooling_of, replace_pooling
from core.models.surgery import layer_changes


@pytest.mark.parametrize("kind", POOLINGS)
def test_outputs_have_the_size_of_the_max_poolings(kind: str) -> None:
    plain = ((2, 2, 0, 30), (2, 2, 0, 13), (3, 2, 0, 11), (3, 3, 0, 3), (2, 1, 0, 5), (2, 2, 0, 2))
    padded = ((3, 2, 1, 32), (3, 2, 1, 7), (3, 1, 1, 6), (5, 3, 2, 11))
    for size, stride, padding, side in (*plain, *padded):
        pool = nn.MaxPool2d(size, stride, padding)
        x, flat = torch.randn(2, 3, side, side), torch.full((1, 1, side, side), -0.7)
        other = replace_pooling(pool, kind)
        assert other(x).shape == pool(x).shape, (size, stride, padding, side)
        assert pooling_of(other) == kind
        torch.testing.assert_close(other(flat), pool(flat))


def test_a_stride_takes_the_first_value_of_each_window() -> None:
    x = torch.randn(1, 2, 9, 9)
    expected = F.unfold(x.transpose(0, 1), 2, stride=2)[:, 0].view(1, 2, 4, 4)
    torch.testing.assert_close(replace_pooling(nn.MaxPool2d(2), "stride")(x), expected)
    torch.testing.assert_close(replace_pooling(nn.MaxPool2d(3, 2, 1), "stride")(x), x[..., ::2, ::2])


def test_padding_counts_for_nothing_in_an_average() -> None:
    x = torch.randn(1, 2, 9, 9)
    sums, counts = (
        F.conv2d(each.transpose(0, 1), torch.ones(1, 1, 3, 3), stride=2, padding=1) for each in (x, torch.ones_like(x))
    )
    torch.testing.assert_close(replace_pooling(nn.MaxPool2d(3, 2, 1), "average")(x), (sums / counts).transpose(0, 1))


def test_a_card_says_enough_to_build_it_again() -> None:
    changes = {"pool1": {"pooling": "blur"}, "pool2": {"pooling": "average"}}
    model = build_model("simple_cnn", {LAYERS: changes})
    assert layer_changes(model, build_model("simple_cnn", {})) == changes
    assert set(model.state_dict()) == set(build_model("simple_cnn", {}).state_dict())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pool1": {"pooling": "melt"}}, "not one of"),
        ({"conv1": {"pooling": "blur"}}, "no max pooling"),
        ({"pool1": {"pooling": 3}}, "not one of"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(changes: dict[str, dict[str, object]], words: str) -> None:
    with pytest.raises(LabError, match=words):
        build_model("simple_cnn", {LAYERS: changes})


def test_a_pooling_without_square_windows_in_the_image_is_left_alone() -> None:
    for pool in (
        nn.MaxPool2d(2, 2, 1),
        nn.MaxPool2d(3, dilation=2),
        nn.MaxPool2d((2, 3)),
        nn.MaxPool2d(2, ceil_mode=True),
    ):
        with pytest.raises(LabError, match="cannot be replaced"):
            replace_pooling(pool, "blur")
    with pytest.raises(LabError, match="no pooling"):
        replace_pooling(nn.MaxPool2d(2), "melt")

"""Architectures of torchvision that take images of a size and give logits. Importing this does not import torch."""

from __future__ import annotations

import re
from typing import Literal, get_args

Architecture = Literal[
    "alexnet", "convnext_base", "convnext_large", "convnext_small", "convnext_tiny", "densenet121", "densenet161",
    "densenet169", "densenet201", "efficientnet_b0", "efficientnet_b1", "efficientnet_b2", "efficientnet_b3",
    "efficientnet_b4", "efficientnet_b5", "efficientnet_b6", "efficientnet_b7", "efficientnet_v2_l",
    "efficientnet_v2_m", "efficientnet_v2_s", "maxvit_t", "mnasnet0_5", "mnasnet0_75", "mnasnet1_0", "mnasnet1_3",
    "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small", "regnet_x_16gf", "regnet_x_1_6gf", "regnet_x_32gf",
    "regnet_x_3_2gf", "regnet_x_400mf", "regnet_x_800mf", "regnet_x_8gf", "regnet_y_16gf", "regnet_y_1_6gf",
    "regnet_y_32gf", "regnet_y_3_2gf", "regnet_y_400mf", "regnet_y_800mf", "regnet_y_8gf", "resnet101", "resnet152",
    "resnet18", "resnet34", "resnet50", "resnext101_32x8d", "resnext101_64x4d", "resnext50_32x4d", "shufflenet_v2_x0_5",
    "shufflenet_v2_x1_0", "shufflenet_v2_x1_5", "shufflenet_v2_x2_0", "squeezenet1_0", "squeezenet1_1", "swin_b", "swin_s",
    "swin_t", "swin_v2_b", "swin_v2_s", "swin_v2_t", "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19",
    "vgg19_bn", "vit_b_16", "vit_b_32", "vit_h_14", "vit_l_16", "vit_l_32", "wide_resnet101_2", "wide_resnet50_2",
]  # fmt: skip
"""Without those that give more than logits: GoogLeNet and Inception v3."""

ARCHITECTURES: tuple[str, ...] = get_args(Architecture)

_TITLES = {
    "alexnet": "AlexNet",
    "convnext_(.+)": "ConvNeXt {}",
    r"densenet(\d+)": "DenseNet-{}",
    r"efficientnet_(b\d)": "EfficientNet-{}",
    "efficientnet_v2_(.)": "EfficientNetV2-{}",
    "maxvit_(.)": "MaxViT-{}",
    "mnasnet(.+)": "MNASNet {}",
    "mobilenet_v2": "MobileNetV2",
    "mobilenet_v3_(.+)": "MobileNetV3 {}",
    "regnet_(.)_(.+)": "RegNet{}-{}",
    r"resnet(\d+)": "ResNet-{}",
    r"resnext(\d+)_(.+)": "ResNeXt-{} {}",
    "shufflenet_v2_x(.+)": "ShuffleNetV2 ×{}",
    "squeezenet(.+)": "SqueezeNet {}",
    "swin_(.)": "Swin-{}",
    "swin_v2_(.)": "SwinV2-{}",
    r"vgg(\d+)": "VGG-{}",
    r"vgg(\d+)_bn": "VGG-{} with batch norm",
    r"vit_(.)_(\d+)": "ViT-{}/{}",
    r"wide_resnet(\d+)_2": "Wide ResNet-{}-2",
}
"""Names in torchvision, and what their papers call them."""


def architecture_title(name: str) -> str:
    """What people call an architecture: `ResNet-18`."""
    found = ((re.fullmatch(pattern, name), title) for pattern, title in _TITLES.items())
    return next((title.format(*map(_word, match.groups())) for match, title in found if match), name)


def _word(part: str) -> str:
    """`1_6gf` as 1.6GF, `large` as Large, `32x8d` as 32×8d."""
    text = part.replace("_", ".")
    if text.isalpha():
        return text.capitalize()
    return text.upper() if text.endswith("f") or text.startswith("b") else text.replace("x", "×")

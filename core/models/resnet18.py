"""ResNet-18 from torchvision with the stem for small images."""

from __future__ import annotations

from torch import Tensor, nn

from core.common.settings import Count, Probability, Settings
from core.models.stochastic_depth import branch


class ResNet18Config(Settings):
    classes: Count = 10
    """Number of labels."""
    image_size: Count = 32
    """Height and width of the input, pixels (the network accepts any size)."""
    dropout: Probability = 0.0
    """Dropout probability before the dense layer."""
    spatial_dropout: Probability = 0.0
    """Probability of dropping a whole channel after each of the four stages (arXiv:1411.4280)."""
    stochastic_depth: Probability = 0.0
    """Probability of leaving out the last residual branch; earlier ones less, linearly (arXiv:1603.09382)."""


def resnet18(config: ResNet18Config) -> nn.Module:
    """Normalised images (N, 3, H, W) to logits (N, classes). 11.2M parameters.

    The 7x7 stride-2 stem and its pooling would leave a 32-pixel image 8 pixels wide, so the stem is one 3x3
    convolution. Every module is called once per forward pass and nothing works in place, so attribution methods can
    hook it. Source: He et al., arXiv:1512.03385, section 4.2.
    """
    from torchvision.models.resnet import BasicBlock, ResNet

    class Block(BasicBlock):
        """torchvision's, with the same parameters; its one ReLU is called twice, and its sum is taken in place."""

        def __init__(self, *arguments: object, **named: object) -> None:
            super().__init__(*arguments, **named)
            self.relu_out = nn.ReLU()
            self.stochastic_depth: nn.Module = nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
            y = self.stochastic_depth(y)
            return self.relu_out(y + (x if self.downsample is None else self.downsample(x)))

    model = ResNet(Block, [2, 2, 2, 2], num_classes=config.classes)
    model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    model.maxpool = nn.Identity()
    stages = (model.layer1, model.layer2, model.layer3, model.layer4)
    blocks = [block for stage in stages for block in stage]
    for number, block in enumerate(blocks, start=1):
        block.stochastic_depth = branch(config.stochastic_depth, number, len(blocks))
    if config.spatial_dropout:
        for stage in stages:
            stage.append(nn.Dropout2d(config.spatial_dropout))
    if config.dropout:
        model.avgpool = nn.Sequential(model.avgpool, nn.Dropout(config.dropout))
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return model

"""Methods that read a vision Transformer's attention: which tokens reach the answer through all layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from core.attribution.method import AttributionRequest, Method

if TYPE_CHECKING:
    from torch import Tensor, nn


class Recorder:
    """Attention weights of a network (N, heads, T, T) each, and what pools its tokens (N, T, 1), as one pass gives them.

    Hooks the softmax layers: give it a copy.
    """

    def __init__(self, model: Any) -> None:
        from core.models.heads import attention_layers

        self.weights: list[Tensor] = []
        self.pooling: Tensor | None = None
        self._hooks = [layer.softmax.register_forward_hook(self._keep) for layer in attention_layers(model).values()]
        self._hooks.append(model.share.register_forward_hook(self._keep_pooling))

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _keep(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self.weights.append(output)

    def _keep_pooling(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self.pooling = output


def has_image_attention(model: nn.Module) -> bool:
    """Whether it is a vision Transformer whose tokens lie on a grid and are pooled by learned shares."""
    from core.models.heads import attention_layers

    return bool(attention_layers(model)) and hasattr(model, "share") and hasattr(model, "side")


def on_pixels(tokens: Tensor, side: int, question: AttributionRequest) -> Tensor:
    """Values of tokens (T,) as the blocks of pixels that they stand for, in the shape of the inputs."""
    import torch.nn.functional as F

    grid = tokens.reshape(1, 1, side, side)
    # Nearest: each token is shown as one block, no detail is invented.
    return F.interpolate(grid, question.inputs.shape[-2:], mode="nearest").expand(question.inputs.shape)


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionMethod(Method):
    """What both methods share."""

    family: ClassVar[str] = "attention"
    signed: ClassVar[bool] = False
    channels: ClassVar[bool] = False

    def refusal(self, model: nn.Module) -> str | None:
        if has_image_attention(model):
            return None
        return f"{self.title} needs the attention of a vision Transformer, and this network has none."


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionRollout(AttentionMethod):
    """Attention of all layers multiplied, half of each the residual. Source: Abnar & Zuidema, arXiv:2005.00928."""

    name: ClassVar[str] = "attention_rollout"
    title: ClassVar[str] = "Attention Rollout"
    quick: ClassVar[bool] = True
    summary: ClassVar[str] = "How much of each token reaches the answer through attention alone."
    how_to_read: ClassVar[str] = "Strong colour: this block's token is attended to most; one square is one token."
    caveat: ClassVar[str] = "It is the same for every class, and a place with much attention need not be used."
    paper: ClassVar[tuple[str, str]] = ("Abnar & Zuidema, arXiv:2005.00928", "https://arxiv.org/abs/2005.00928")

    def passes(self, side: int) -> tuple[int, int]:
        return 1, 0

    def attribute(self, model: Any, question: AttributionRequest) -> Tensor:
        import torch

        with torch.no_grad(), Recorder(model) as found:
            model(question.inputs)
        assert found.pooling is not None
        share = found.pooling[0, :, 0]  # (T,)
        for layer in reversed(found.weights):
            share = (share @ layer[0].mean(0) + share) / 2
        return on_pixels(share, model.side, question)


@dataclass(frozen=True, kw_only=True, slots=True)
class GradientRollout(AttentionMethod):
    """Attention weighted by its gradient for the class, through all layers. Source: Chefer et al., arXiv:2103.15679."""

    name: ClassVar[str] = "gradient_rollout"
    title: ClassVar[str] = "Gradient Rollout"
    quick: ClassVar[bool] = True
    summary: ClassVar[str] = "Attention Rollout that counts only attention which raises the class when it grows."
    how_to_read: ClassVar[str] = "Strong colour: attention to this block supports the class; one square is one token."
    caveat: ClassVar[str] = "It cuts what speaks against the class, and sees nothing that bypasses attention."
    paper: ClassVar[tuple[str, str]] = ("Chefer et al., arXiv:2103.15679", "https://arxiv.org/abs/2103.15679")

    def passes(self, side: int) -> tuple[int, int]:
        return 1, 1

    def attribute(self, model: Any, question: AttributionRequest) -> Tensor:
        import torch

        with torch.enable_grad(), Recorder(model) as found:
            logits = model(question.inputs)
        assert found.pooling is not None
        gradients = torch.autograd.grad(logits[0, question.target], [*found.weights, found.pooling])
        share = (found.pooling * gradients[-1]).detach()[0, :, 0].clamp(min=0)  # (T,)
        for layer, gradient in zip(reversed(found.weights), reversed(gradients[:-1]), strict=True):
            useful = (layer * gradient).detach()[0].clamp(min=0).mean(0)  # (T, T)
            share = share + share @ useful
        return on_pixels(share, model.side, question)

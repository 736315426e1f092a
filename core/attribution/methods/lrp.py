"""Layer-wise relevance propagation, where the network is a chain of layers that it has rules for."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from core.attribution.method import AttributionRequest, Method
from core.attribution.networks import PASSES_THROUGH, kinds, leaves, needs_single_calls, unseen_operations

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True, slots=True)
class LRP(Method):
    """Relevance handed back from the logit, the epsilon rule at every layer. Source: Bach et al.,
    doi:10.1371/journal.pone.0130140."""

    name: ClassVar[str] = "lrp"
    title: ClassVar[str] = "LRP"
    family: ClassVar[str] = "relevance"
    signed: ClassVar[bool] = True
    sums_to: ClassVar[str] = "logit"
    quick: ClassVar[bool] = True
    summary: ClassVar[str] = "The logit handed back from layer to layer, each input getting its share (epsilon rule)."
    how_to_read: ClassVar[str] = "One colour supports the class, the other speaks against it."
    caveat: ClassVar[str] = (
        "With ReLU this rule comes out as Input × Gradient (Ancona et al., arXiv:1711.06104); biases and norms keep a part, "
        "so the values need not sum to the logit."
    )
    paper: ClassVar[tuple[str, str]] = (
        "Bach et al., doi:10.1371/journal.pone.0130140",
        "https://doi.org/10.1371/journal.pone.0130140",
    )

    def passes(self, side: int) -> tuple[int, int]:
        return 2, 1

    def refusal(self, model: nn.Module) -> str | None:
        if refusal := needs_single_calls(model, self.title):
            return refusal
        from captum.attr._core.lrp import SUPPORTED_LAYERS_WITH_RULES, SUPPORTED_NON_LINEAR_LAYERS

        known = (*SUPPORTED_LAYERS_WITH_RULES, *SUPPORTED_NON_LINEAR_LAYERS)
        strange = kinds(
            leaf for leaf in leaves(model) if type(leaf) not in known and type(leaf).__name__ not in PASSES_THROUGH
        )
        if strange:
            return f"{self.title} has no rule for {strange}, and a guessed one would give a wrong map."
        found = unseen_operations(model)
        if found:
            return (
                f"{self.title} has no rule for operations outside of layers ({found}), such as the sum of a residual "
                "connection: it would go wrong unseen."
            )
        return None

    def attribute(self, model: nn.Module, question: AttributionRequest) -> Tensor:
        from captum.attr import LRP as Captum
        from captum.attr._utils.lrp_rules import EpsilonRule

        model = copy.deepcopy(model)  # Captum writes rules, and weights for a while, into the layers themselves
        for leaf in leaves(model):
            if type(leaf).__name__ in PASSES_THROUGH:
                leaf.rule = EpsilonRule()
                # Its output is the very tensor that it got, on which Captum's hooks would meet those of the layer before.
                leaf.register_forward_pre_hook(lambda _, inputs: inputs[0].clone())
        return Captum(model).attribute(question.inputs, target=question.target)

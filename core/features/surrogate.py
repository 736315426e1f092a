"""A few rules on named features that imitate a network's predicted class, and how often they agree with it.

After Craven & Shavlik, Extracting Tree-Structured Representations of Trained Networks, NeurIPS 1995.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from core.checkpoints.store import Checkpoint
from core.common.errors import LabError
from core.common.progress import Progress, no_progress
from core.data.dataset import Split
from core.data.splits import subset
from core.features.results import Score

if TYPE_CHECKING:
    from sklearn.tree import DecisionTreeClassifier

Kind = Literal["tree", "linear"]
FIT_IMAGES, HELD_OUT = 5_000, 2_000
MOST_DEPTH = 4
UNITS = 12
"""Units of the network that the rules may use: those of the highest class selectivity."""
L1_STRENGTH = 0.003
"""Of the penalty that leaves few weights."""
LARGEST_WEIGHTS = 4
SHOWN_DISAGREEMENTS = 12
DIRECTIONS = {"horizontal": 0.0, "rising": 45.0, "vertical": 90.0, "falling": 135.0}
"""Of edges, degrees from the horizontal as one sees them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """Of a tree; a leaf has no feature."""

    answer: str
    """Most common class among the training images that come here."""
    images: int
    share: float
    """Of those images that the network gives this class, 0..1."""
    feature: str = ""
    threshold: float = 0.0
    low: int = -1
    """Place of the node for values up to the threshold; -1 for a leaf."""
    high: int = -1


@dataclass(frozen=True, kw_only=True, slots=True)
class Surrogate:
    kind: Kind
    depth: int
    layer: str
    """Whose units it may use; empty for features of the image alone."""
    seed: int
    fitted_on: int
    """Training images."""
    features: tuple[str, ...]
    agreement: Score
    """With the network, on held-out images."""
    most_common: Score
    """Control: always the class that the network predicts most often."""
    shuffled: Score
    """Control: the same rules, fitted on features of other images."""
    nodes: tuple[Node, ...]
    """Of a tree, the root first."""
    weights: dict[str, tuple[tuple[str, float], ...]]
    """Of a linear model: class -> its largest weights on standardised features."""
    disagreements: tuple[tuple[int, str, str], ...]
    """Place in the test split, what the network says, what the rules say."""

    @property
    def answer(self) -> str:
        """How far the rules come, in a sentence."""
        words = f"{'A tree' if self.kind == 'tree' else 'A linear model'} agrees with the network on {self.agreement.rate:.0%}"
        return f"{words} of {self.agreement.n:,} new images; always the same class, on {self.most_common.rate:.0%}"

    def steps(self) -> list[tuple[int, str, Node | None]]:
        """The tree from the top: depth, a condition, and the leaf that it leads to, None where more conditions follow."""
        found: list[tuple[int, str, Node | None]] = []

        def walk(place: int, depth: int) -> None:
            node = self.nodes[place]
            for child, sign in ((node.low, "≤"), (node.high, ">")):
                leaf = self.nodes[child].low < 0
                found.append(
                    (depth, f"{node.feature} {sign} {node.threshold:.3g}", self.nodes[child] if leaf else None)
                )
                if not leaf:
                    walk(child, depth + 1)

        if self.nodes and self.nodes[0].low >= 0:
            walk(0, 0)
        return found

    def rules(self) -> list[str]:
        """The tree as indented lines, or the largest weights of each class."""
        if not self.nodes:
            return [
                f"{label}: " + ", ".join(f"{name} {weight:+.2f}" for name, weight in weights)
                for label, weights in self.weights.items()
            ]
        return [
            f"{'    ' * depth}{condition}" + (f": {leaf.answer} ({leaf.share:.0%} of {leaf.images:,})" if leaf else "")
            for depth, condition, leaf in self.steps()
        ]


def fit_surrogate(
    checkpoint: Checkpoint,
    train: Split,
    test: Split,
    *,
    kind: Kind = "tree",
    depth: int = 3,
    layer: str = "",
    seed: int = 0,
    on_progress: Progress = no_progress,
) -> Surrogate:
    """layer: whose most selective units the rules may use, too. Raises LabError for a layer or depth that there is not."""
    from core.features.layer import class_selectivity
    from core.features.source import source_of
    from core.features.units import find_layer, real_images, responses_of
    from core.models import head_name

    if not 1 <= depth <= MOST_DEPTH:
        raise LabError(f"The depth of a tree is 1 to {MOST_DEPTH}, not {depth}.")
    if source_of(checkpoint.card).foreign:
        raise LabError(
            "Rules need images of the network's own dataset, and those are not here: choose another checkpoint."
        )
    if layer and find_layer(checkpoint, layer).classes:
        raise LabError("The classes are what the rules are to imitate: choose a layer before them.")
    fit, (places, held) = subset(train, min(FIT_IMAGES, len(train)), seed), real_images(test, HELD_OUT)
    parts, answers = [], []
    names = list(image_features(fit.images[:1]))
    for place, split in enumerate((fit, held)):

        def report(share: float, words: str, place: int = place) -> None:
            on_progress((place + share) / 2.2, words)

        values = np.stack(list(image_features(split.images).values()), 1)
        logits = responses_of(checkpoint.model, checkpoint.card, head_name(checkpoint.model), split, report)
        answers.append(logits.argmax(1))
        if layer:
            units = responses_of(checkpoint.model, checkpoint.card, layer, split, report)
            if place == 0:
                selectivity = class_selectivity(units, answers[0], logits.shape[1])
                chosen = np.argsort(-selectivity, kind="stable")[:UNITS]
                names += [f"{layer} {channel}" for channel in chosen]
            values = np.concatenate([values, units[:, chosen]], 1)
        parts.append(values)
    if len(np.unique(answers[0])) < 2:
        raise LabError(
            "The network gives all images one class, so there is nothing to imitate: choose another checkpoint."
        )
    on_progress(0.95, "fitting the rules")
    classes = checkpoint.card.image_data.classes
    found = _fit(kind, depth, seed, parts[0], answers[0])
    control = _fit(kind, depth, seed, np.random.default_rng(seed).permutation(parts[0]), answers[0])
    said = found.predict(parts[1])
    common = np.bincount(answers[0]).argmax()
    different = np.flatnonzero(said != answers[1])[:SHOWN_DISAGREEMENTS]
    return Surrogate(
        kind=kind,
        depth=depth,
        layer=layer,
        seed=seed,
        fitted_on=len(fit),
        features=tuple(names),
        agreement=_agreement(said, answers[1]),
        most_common=_agreement(np.full(len(held), common), answers[1]),
        shuffled=_agreement(control.predict(parts[1]), answers[1]),
        nodes=_nodes(found, names, classes) if kind == "tree" else (),
        weights={} if kind == "tree" else _weights(found, names, classes),
        disagreements=tuple(
            (int(places[row]), classes[int(answers[1][row])], classes[int(said[row])]) for row in different
        ),
    )


def image_features(images: np.ndarray) -> dict[str, np.ndarray]:
    """Name -> (N,) of images (N, H, W, 3) uint8, all from 0 to 1 but for edges, which are means of squared differences."""
    pixels = images.astype(np.float32) / 255
    colours = pixels.mean((1, 2))
    grey = pixels.mean(3)
    down, right = np.gradient(grey, axis=(1, 2))
    found = {name: colours[:, place] for place, name in enumerate(("red", "green", "blue"))}
    found |= {"brightness": grey.mean((1, 2)), "contrast": grey.std((1, 2))}
    found["saturation"] = (pixels.max(3) - pixels.min(3)).mean((1, 2))
    for name, degrees in DIRECTIONS.items():
        # An edge runs across the gradient; rows count downwards, so a rising edge has both differences of one sign.
        angle = np.deg2rad(degrees)
        found[f"{name} edges"] = ((down * np.cos(angle) + right * np.sin(angle)) ** 2).mean((1, 2))
    return found


def _fit(kind: Kind, depth: int, seed: int, values: np.ndarray, answers: np.ndarray) -> Any:
    if kind == "tree":
        from sklearn.tree import DecisionTreeClassifier

        return DecisionTreeClassifier(max_depth=depth, min_samples_leaf=5, random_state=seed).fit(values, answers)
    from sklearn.linear_model import SGDClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    sparse = SGDClassifier(loss="log_loss", penalty="l1", alpha=L1_STRENGTH, random_state=seed)
    return make_pipeline(StandardScaler(), sparse).fit(values, answers)


def _agreement(said: np.ndarray, answers: np.ndarray) -> Score:
    return Score(hits=int((said == answers).sum()), n=len(answers))


def _nodes(model: DecisionTreeClassifier, names: list[str], classes: tuple[str, ...]) -> tuple[Node, ...]:
    tree, found = model.tree_, []
    for place in range(tree.node_count):
        shares = tree.value[place][0] / tree.value[place][0].sum()
        best, leaf = int(shares.argmax()), tree.children_left[place] < 0
        inner = {} if leaf else {"feature": names[tree.feature[place]], "threshold": float(tree.threshold[place])}
        found.append(
            Node(
                answer=classes[int(model.classes_[best])],
                images=int(tree.n_node_samples[place]),
                share=float(shares[best]),
                low=int(tree.children_left[place]),
                high=int(tree.children_right[place]),
                **inner,
            )
        )
    return tuple(found)


def _weights(model: Any, names: list[str], classes: tuple[str, ...]) -> dict[str, tuple[tuple[str, float], ...]]:
    linear = model[-1]
    found = {}
    # Of two classes there is one row, for the second.
    for label, weights in zip(linear.classes_[-len(linear.coef_) :], linear.coef_, strict=True):
        order = [place for place in np.argsort(-np.abs(weights), kind="stable")[:LARGEST_WEIGHTS] if weights[place]]
        found[classes[int(label)]] = tuple((names[place], float(weights[place])) for place in order)
    return found

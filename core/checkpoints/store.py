"""The noun that joins every page: weights (safetensors) plus `card.json`, in one folder. Never a pickle.

Reading cards needs neither torch nor safetensors; only `load_checkpoint` and `save_checkpoint` do.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from core.checkpoints.validation import validate_card
from core.common.errors import LabError
from core.common.paths import lab_home, write_atomic
from core.common.results import DAMAGED
from core.common.values import read_json, wilson
from core.data.dataset import DatasetCard, ImageCard, TextCard
from core.models import LAYERS, MODELS

if TYPE_CHECKING:
    import torch
    from torch import nn

PRETRAINED = Path(__file__).parents[1] / "pretrained"
MAX_CARD_BYTES = 4_000_000
MAX_WEIGHTS_BYTES = 2_000_000_000
MAX_ONNX_BYTES = 500_000_000
MAX_FEATURES_BYTES = 50_000_000
TASKS = {
    "images": ("names the class of an image", "an image classifier"),
    "text": ("writes text", "a language model"),
    "generation": ("makes images", "a generator"),
}
"""What a checkpoint of a task does, and what it is called."""
CARD = "card.json"
FEATURES = "features*.safetensors"
FEWEST_FEATURES = 5
"""Of training images: distances are to the fifth nearest."""
MOST_NAMED = 12
"""Checkpoints in a sentence."""
MEMBERS = "members"
"""Folder of a study's runs, below the study's own."""
BACKBONES = "backbones"
"""Folder of networks that others trained, beside the runs, see core.checkpoints.backbone."""
NETWORKS = "networks"
"""Folder of networks that a person brought, beside the runs, see core.networks.store."""
RUNTIME_ONLY = "onnx_runtime"
"""Architecture of a network that runs in ONNX Runtime alone."""
EPOCHS = "epochs"
"""Folder of what a run keeps of its way, see core.training.snapshots."""


class NoCheckpoint(LabError):
    """A name that is that of no checkpoint."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Misses:
    """What the none-of-these warning lets pass: counted on images that show none of the classes, see core.inference.foreign."""

    rate: float
    """Share (0..1) of those images that get no warning."""
    images: int
    auroc: float
    """0..1: how likely one of them has a higher score than an image of the dataset."""
    by_kind: dict[str, float]
    """`rate` of each kind of image; all kinds have as many."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DistanceScore:
    """A warning by free energy and the distance to training images: the sum of both, each in standard deviations of the
    calibration images."""

    energy_mean: float
    energy_sd: float
    distance_mean: float
    distance_sd: float
    threshold: float
    """An image whose sum is above this is probably none of the classes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """What turns logits into honest numbers; set on images that nothing was trained on."""

    temperature: float = 1.0
    """Logits are divided by this before softmax (Guo et al., arXiv:1706.04599)."""
    energy_threshold: float | None = None
    """An image whose free energy -T·logsumexp(logits/T), T=1, is above this is probably none of the classes
    (Liu et al., arXiv:2010.03759). None: not calibrated, so no warning is given."""
    false_alarm_rate: float | None = None
    """Share (0..1) of those images that the threshold would flag."""
    images: int = 0
    """Images that both were set on; 0: there is no temperature, so probabilities are not calibrated."""
    split: str = "validation"
    """Where those images are from, one of CALIBRATION_SPLITS. `test`: half of the test images, because the network trained on
    all others (core.inference.evaluation.calibration_half). The other half measures the calibration."""
    distance: DistanceScore | None = None
    """For a checkpoint that keeps features of its training images (Card.features_file): it warns by this instead of the
    energy alone."""
    threshold_images: int = 0
    """Images that the threshold alone was set on, where they are too few for a temperature."""
    misses: Misses | None = None
    """Of the threshold. None: not measured, as on cards of old."""

    @property
    def set_on(self) -> int:
        """Images that the threshold was set on."""
        return self.images or self.threshold_images

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Calibration:
        """Rebuild from JSON. Raises TypeError for other fields."""
        misses, distance = values.get("misses"), values.get("distance")
        return cls(
            **values
            | {
                "misses": None if misses is None else Misses(**misses),
                "distance": None if distance is None else DistanceScore(**distance),
            }
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    title: str
    """Name for people."""
    model: str
    """Architecture, a key of `core.models.MODELS`."""
    model_config: dict[str, Any]
    """All fields of the architecture's config."""
    dataset: DatasetCard
    metrics: dict[str, Any] = field(default_factory=dict)
    """Measured figures: `val_accuracy`, `test_accuracy` (0..1), …, each with what is needed to read it."""
    recipe: dict[str, Any] = field(default_factory=dict)
    """The TrainConfig as a mapping."""
    calibration: Calibration = field(default_factory=Calibration)
    seed: int | None = None
    parameters: int = 0
    tta: str = "none"
    """Test-time augmentation that the recipe was evaluated with; classification uses it by default."""
    step: int = 0
    """Optimizer steps done."""
    epoch: float = 0.0
    parent: str | None = None
    """Name of the checkpoint this one was made from."""
    versions: dict[str, str] = field(default_factory=dict)
    hardware: str = ""
    created: str = ""
    """UTC, ISO 8601."""
    notes: str = ""
    """What a reader must know, in sentences."""
    weights_file: str = "weights.safetensors"
    weights_sha256: str = ""
    """Checked whenever the weights are read."""
    size_bytes: int = 0
    """Size of the weights file."""
    storage: str = "float32"
    """How the weights file holds them: a name of `core.checkpoints.packing.STORAGES`."""
    compression: dict[str, Any] = field(default_factory=dict)
    """What was done to an original to make this: `original` (its name) and `steps` (a list of mappings, see
    core.compression.steps). Empty for one that was trained."""
    onnx_file: str = ""
    """The network as it runs, see Checkpoint.onnx: a file beside the weights."""
    onnx_sha256: str = ""
    onnx_bytes: int = 0
    features_file: str = ""
    """Features of training images beside the weights, for the warning by `Calibration.distance`."""
    features_sha256: str = ""

    @property
    def in_int8(self) -> bool:
        """Whether its ONNX file computes in 8 bits."""
        return bool(self.onnx_file) and self.makes_int8_files

    @property
    def has_one_file(self) -> bool:
        """Whether no ONNX file can be made of it but the one that it has: in int8, not converted to PyTorch, or for one image."""
        return self.in_int8 or self.model == RUNTIME_ONLY or bool(self.model_config.get("one_by_one"))

    @property
    def makes_int8_files(self) -> bool:
        """Whether an ONNX file of it is in 8 bits: of a design of the lab always, of others where they were put in int8."""
        return self.storage == "int8" or not (self.model in MODELS and MODELS[self.model].imported)

    @property
    def task(self) -> str:
        """`images`, `text` or `generation` (see ModelEntry.task)."""
        if isinstance(self.dataset, TextCard):
            return "text"
        return "generation" if self.model in MODELS and MODELS[self.model].task == "generation" else "images"

    def check_task(self, task: str) -> None:
        """Raises LabError where the checkpoint is of another task."""
        if self.task != task:
            does, wanted = TASKS[self.task][0], TASKS[task][1]
            raise LabError(f"{self.title[:100]} {does}: choose {wanted}.")

    @property
    def image_data(self) -> ImageCard:
        """The dataset of an image classifier. Raises LabError for a language model or a generator."""
        if self.task == "generation":
            self.check_task("images")
        return self.pixel_data

    @property
    def pixel_data(self) -> ImageCard:
        """The dataset of an image classifier or a generator. Raises LabError for a language model."""
        if not isinstance(self.dataset, ImageCard):
            raise LabError(f"{self.title[:100]} writes text and knows no images: choose an image classifier.")
        return self.dataset

    @property
    def text_data(self) -> TextCard:
        """The dataset of a language model. Raises LabError for an image classifier."""
        if not isinstance(self.dataset, TextCard):
            raise LabError(f"{self.title[:100]} classifies images and cannot write: choose a language model.")
        return self.dataset

    def without_features(self) -> Card:
        """Of a network that warns by its energy alone: what was counted with distances does not hold for it."""
        card = dataclasses.replace(self, features_file="", features_sha256="")
        if self.calibration.distance is None:
            return card
        calibration = dataclasses.replace(self.calibration, distance=None, misses=None, false_alarm_rate=None)
        metrics = {name: value for name, value in self.metrics.items() if name != "test_flagged"}
        return dataclasses.replace(card, calibration=calibration, metrics=metrics)

    def interval(self, accuracy: float, part: str) -> tuple[float, float] | None:
        """95% Wilson interval, 0..1, of an accuracy (0..1) on the `test` or `validation` images of its dataset. None for an
        unknown number of images, and for text: its characters depend on each other."""
        count = self.measured_on(part) if self.task == "images" else 0
        return wilson(round(accuracy * count), count) if count else None

    def measured_on(self, part: str) -> int:
        """How many images of the `test` or `validation` part its accuracy was measured on; 0 where that is not known."""
        count = self.metrics.get(f"{part}_images", self.dataset.sizes.get(part))
        return count if isinstance(count, int) and count > 0 else 0

    @property
    def fingerprint(self) -> str:
        """Hash of all that results depend on, weights, calibration and dataset included, so that they may be cached by it.

        The title is left out: a checkpoint keeps its results when its run gets another name. So is what the warning misses, on
        which no result depends.
        """
        calibration = dataclasses.replace(self.calibration, misses=None)
        named = dataclasses.replace(self, title="", calibration=calibration)
        return hashlib.sha256(named.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        values = dataclasses.asdict(self) | {"dataset": self.dataset.to_dict()}
        if self.calibration.split == Calibration().split:
            del values["calibration"]["split"]  # as in cards from before these were there, which keep their fingerprint
        for name in ("threshold_images", "misses", "distance"):
            if not values["calibration"][name]:
                del values["calibration"][name]
        if not self.features_file:
            del values["features_file"], values["features_sha256"]
        return json.dumps(values, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Card:
        values = read_json(text)
        known = {item.name for item in dataclasses.fields(cls)}
        values = {key: value for key, value in values.items() if key in known}
        values["dataset"] = DatasetCard.from_dict(values["dataset"])
        values["calibration"] = Calibration.from_dict(values.get("calibration") or {})
        return cls(**values)


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointRef:
    """A checkpoint that exists on disk, before anything heavy is read."""

    name: str
    """What a person types or a link carries: `fast_resnet`, `<run id>`, `<run id>/last`, `<run id>/epoch-3`,
    `<study id>/<its run>`, or a folder."""
    folder: Path
    card: Card
    origin: str
    """`shipped`, `network` (brought by a person), `run`, `backbone` or `folder`."""

    @property
    def label(self) -> str:
        return self.card.title


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A loaded checkpoint: the model is in eval mode, float32, with gradients off."""

    name: str
    card: Card
    model: nn.Module
    onnx: bytes = b""
    """The network as it runs in ONNX Runtime, where that is not PyTorch's: one in int8, or one that came as an ONNX file. The
    model then is its twin in float32; of a network in int8, with weights on the int8 grid."""
    features: torch.Tensor | None = None
    """(M, F) float32 on the CPU: what the last layer gets of M training images, on the unit sphere."""

    def check_layers(self) -> None:
        """Raises LabError where it only answers: what needs gradients or layers asks this first."""
        if self.card.model == RUNTIME_ONLY:
            raise LabError(
                f"{self.card.title[:60]} runs only in ONNX Runtime, so it has no gradients and no layers here: classify with it, "
                "evaluate it, or explain it by Occlusion, Feature Ablation, LIME or KernelSHAP."
            )
        if self.card.model_config.get("one_by_one"):
            raise LabError(
                f"{self.card.title[:60]} answers one image at a time, so its layers cannot be followed here: export it with a "
                "free batch size, and import it again."
            )

    @property
    def in_int8(self) -> bool:
        """Whether it answers in 8 bits."""
        return bool(self.onnx) and self.card.makes_int8_files


def read_card(folder: Path) -> Card:
    """Read `card.json`. Raises LabError where it is missing or broken."""
    path = folder / CARD
    try:
        if path.stat().st_size > MAX_CARD_BYTES:
            raise LabError(f"The card {path} is too large to be a card: pick another checkpoint.")
        card = Card.from_json(path.read_text())
        problem = validate_card(card)
    except LabError:
        raise
    except FileNotFoundError as error:
        raise LabError(f"There is no checkpoint in {folder}: it has no {CARD}.") from error
    except UnicodeEncodeError as error:
        raise LabError(
            f"The card {path} has half a character in it: the checkpoint is damaged, get it again."
        ) from error
    except DAMAGED as error:
        raise LabError(
            f"The card {path} cannot be read ({type(error).__name__}): the checkpoint is damaged."
        ) from error
    if problem:
        raise LabError(f"The card {path} {problem}: the checkpoint is damaged, get it again.")
    return card


def list_checkpoints(runs_folder: Path | None = None, *, task: str | None = None) -> list[CheckpointRef]:
    """All checkpoints, or those of one task (`images`, `text`): those that ship first, then those that were brought here and
    the best one of every run, newest first. Damaged ones are left out."""
    found: list[CheckpointRef] = []
    for folder in sorted(PRETRAINED.iterdir()) if PRETRAINED.is_dir() else []:
        found.extend(_reference(folder.name, folder, "shipped"))
    found.sort(
        key=lambda ref: (-(ref.card.metrics.get("test_accuracy") or 0), ref.card.metrics.get("val_loss_nats") or 0)
    )
    runs = runs_folder or lab_home() / "runs"
    for folder in _newest_first(runs.parent / NETWORKS):
        found.extend(_reference(folder.name, folder, "network"))
    for folder in _newest_first(runs):
        found.extend(_reference(folder.name, folder / "best", "run"))
    return [reference for reference in found if task in (None, reference.card.task)]


def find_checkpoint(name: str, runs_folder: Path | None = None) -> CheckpointRef:
    """Look a checkpoint up by name (see CheckpointRef.name). Raises LabError with the known names."""
    runs = runs_folder or lab_home() / "runs"
    run_id, _, which = name.partition("/")
    if re.fullmatch(r"[A-Za-z0-9_-]{1,80}", run_id) and re.fullmatch(r"[A-Za-z0-9_-]{0,120}", which):
        inside = Path(which or "best") if which in ("", "best", "last") else Path(MEMBERS) / which / "best"
        if epoch := re.fullmatch(r"epoch-(\d+(_\d+)?)", which):
            inside = Path(EPOCHS) / epoch[1]
        candidates = [(runs / run_id / inside, "run")]
        if not which:
            candidates.insert(0, (PRETRAINED / run_id, "shipped"))
            candidates.append((runs.parent / NETWORKS / run_id, "network"))
            candidates.append((runs.parent / BACKBONES / run_id, "backbone"))
        for folder, origin in candidates:
            if (folder / CARD).is_file():
                return CheckpointRef(name=name, folder=folder, card=read_card(folder), origin=origin)
    if _has_card(name):
        folder = Path(name).expanduser()
        return CheckpointRef(name=name, folder=folder, card=read_card(folder), origin="folder")
    names = [ref.name for ref in list_checkpoints(runs_folder)]
    more = [f"{len(names) - MOST_NAMED} more"] if len(names) > MOST_NAMED else []
    known = ", ".join([*names[:MOST_NAMED], *more]) or "none yet"
    raise NoCheckpoint(f"There is no checkpoint named {name[:100]!r}: choose one of {known}, or give its folder.")


def load_checkpoint(reference: CheckpointRef | str, device: str = "cpu") -> Checkpoint:
    """Rebuild the model from the card and load its weights. Raises LabError where the two do not match.

    A run may replace its checkpoint while this reads (new weights file, then new card), hence the second try.
    """
    if isinstance(reference, str):
        reference = find_checkpoint(reference)
    card = reference.card
    for attempt in (1, 2, 3):
        try:
            tensors = _read_weights(reference.folder, card)
            onnx = b""
            if card.onnx_file:
                onnx = _read(reference.folder / card.onnx_file, MAX_ONNX_BYTES, card.onnx_sha256)
            features = _read_features(reference.folder, card)
            break
        except FileNotFoundError as error:
            if attempt == 3:
                lost = Path(error.filename).name
                raise LabError(f"{lost} of {reference.name} is missing: the checkpoint is damaged.") from error
            time.sleep(0.05)
            card = read_card(reference.folder)
    model = _build(reference.name, card, tensors, device)
    if card.model == RUNTIME_ONLY:
        cast("Any", model).take_file(onnx)
    if features is not None:
        _check_features(reference.name, model, features)
    return Checkpoint(reference.name, card, model, onnx, features)


def save_checkpoint(
    folder: Path, model: nn.Module, card: Card, *, storage: str | None = None, onnx: bytes = b""
) -> Card:
    """Write weights and card so that a reader sees the old pair or the new one; returns the card as written, without the
    warning by distance, see `save_features`.

    storage: how the file holds the weights, a name of `core.checkpoints.packing.STORAGES`; None: as the card says. onnx: see
    Checkpoint.onnx. Raises LabError for weights that cannot be stored so.
    """
    from safetensors.torch import save

    from core.checkpoints.packing import pack

    storage = card.storage if storage is None else storage
    data = save(pack(model.state_dict(), storage))
    digest, onnx_digest = hashlib.sha256(data).hexdigest(), hashlib.sha256(onnx).hexdigest()
    if len(data) > MAX_WEIGHTS_BYTES or len(onnx) > MAX_ONNX_BYTES:
        raise LabError("The network is too large to be stored: it could not be loaded again.")
    card = dataclasses.replace(
        card.without_features(),
        weights_file=f"weights-{digest[:16]}.safetensors",
        weights_sha256=digest,
        size_bytes=len(data),
        storage=storage,
        onnx_file=f"model-{onnx_digest[:16]}.onnx" if onnx else "",
        onnx_sha256=onnx_digest if onnx else "",
        onnx_bytes=len(onnx),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        created=card.created or time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / card.weights_file, data)
    if onnx:
        write_atomic(folder / card.onnx_file, onnx)
    write_atomic(folder / CARD, card.to_json())
    for old in itertools.chain(*(folder.glob(each) for each in ("weights*.safetensors", "model*.onnx", FEATURES))):
        if old.name not in (card.weights_file, card.onnx_file):
            old.unlink(missing_ok=True)
    return card


def save_features(folder: Path, card: Card, features: torch.Tensor) -> Card:
    """Write the features (M, F) of training images beside the weights; returns the card that names them, not yet written."""
    import torch
    from safetensors.torch import save

    data = save({"features": features.to(torch.float16).contiguous()})
    digest = hashlib.sha256(data).hexdigest()
    name = f"features-{digest[:16]}.safetensors"
    write_atomic(folder / name, data)
    for old in folder.glob(FEATURES):
        if old.name != name:
            old.unlink(missing_ok=True)
    return dataclasses.replace(card, features_file=name, features_sha256=digest)


@cache
def versions() -> dict[str, str]:
    """Versions of what a result depends on: this project, Python, torch, numpy. Looking them up takes some 10 ms."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    import core

    found = {"bottleneck_lab": core.__version__, "python": platform.python_version()}
    for package in ("torch", "torchvision", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def version_words(more: Mapping[str, str] | None = None) -> str:
    """`versions` in one line, for people. more: further libraries."""
    return ", ".join(f"{name} {number}" for name, number in {**versions(), **(more or {})}.items())


def network_title(name: str, model: str) -> str:
    """What to call a checkpoint in the title of what is made of it: its design, or its own title where it came from elsewhere."""
    if MODELS[model].imported:
        with contextlib.suppress(LabError):
            return find_checkpoint(name).label
    return MODELS[model].title


def _has_card(name: str) -> bool:
    try:
        return bool(name) and (Path(name).expanduser() / CARD).is_file()
    except (OSError, ValueError, RuntimeError):  # too long, a NUL byte, an unknown ~user
        return False


def _newest_first(parent: Path) -> list[Path]:
    """Folders below, by names that begin with a date."""
    try:
        return sorted((item for item in parent.iterdir() if item.is_dir()), key=lambda item: item.name, reverse=True)
    except OSError:
        return []


def _reference(name: str, folder: Path, origin: str) -> Iterator[CheckpointRef]:
    try:
        yield CheckpointRef(name=name, folder=folder, card=read_card(folder), origin=origin)
    except LabError:
        return


def _read_weights(folder: Path, card: Card) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    data = _read(folder / card.weights_file, MAX_WEIGHTS_BYTES, card.weights_sha256)
    try:
        return load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise LabError(
            f"{card.weights_file} is not a safetensors file: weights in any other format are not opened."
        ) from error


def _read_features(folder: Path, card: Card) -> torch.Tensor | None:
    if not card.features_file:
        return None
    from safetensors import SafetensorError
    from safetensors.torch import load

    data = _read(folder / card.features_file, MAX_FEATURES_BYTES, card.features_sha256)
    try:
        return load(data)["features"].float()
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise LabError(f"{card.features_file} holds no features: the checkpoint is damaged, get it again.") from error


def _check_features(name: str, model: nn.Module, features: torch.Tensor) -> None:
    from core.models import head_name

    width = model.get_submodule(head_name(model)).in_features
    if (
        features.ndim != 2
        or len(features) < FEWEST_FEATURES
        or features.shape[1] != width
        or not features.isfinite().all()
    ):
        raise LabError(f"The features of {name[:100]} do not fit its network: the checkpoint is damaged, get it again.")


def _read(path: Path, most: int, sha256: str) -> bytes:
    """Raises FileNotFoundError for a file that is not there, LabError for one that is not what the card says."""
    try:
        if path.stat().st_size > most:
            raise LabError(f"{path.name} is larger than {most / 10**9:g} GB: it is not read.")
        data = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise LabError(f"{path} cannot be read ({error.strerror or error}): check its permissions.") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise LabError(f"{path.name} does not match the checksum on its card: the checkpoint is damaged, get it again.")
    return data


def _build(name: str, card: Card, tensors: dict[str, torch.Tensor], device: str) -> nn.Module:
    import torch

    from core.checkpoints.packing import unpack
    from core.models import build_model

    try:
        # A network on the meta device has shapes and no memory: how large it would be is known before any is taken.
        with torch.device("meta"):
            model = build_model(card.model, card.model_config)
        wanted = {key: (value.shape, value.dtype) for key, value in model.state_dict().items()}
        if sum(shape.numel() * dtype.itemsize for shape, dtype in wanted.values()) > MAX_WEIGHTS_BYTES:
            raise LabError(f"The weights of {name[:100]} are too large to be loaded: pick another checkpoint.")
        if card.task == "images" and (card.model_config.get(LAYERS) or MODELS[card.model].imported):
            _try(model.eval(), card.image_data)
        model.load_state_dict(unpack(tensors, wanted), assign=True)
    except LabError:
        raise
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise LabError(
            f"The weights of {name[:100]} do not fit the {card.model} that its card describes: the checkpoint is damaged."
        ) from error
    return model.eval().requires_grad_(False).to(device)


def _try(model: nn.Module, data: ImageCard) -> None:
    """Raises ValueError for a network on the meta device whose layers do not fit together: shapes tell."""
    import torch

    with torch.no_grad():
        logits = model(torch.empty(2, 3, data.image_size, data.image_size, device="meta"))
    if logits.shape != (2, len(data.classes)):
        raise ValueError(f"its answers are {tuple(logits.shape)} for 2 images")

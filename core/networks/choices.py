"""What a person says of a network that a file does not. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from core.common.errors import LabError
from core.common.settings import List, Name, Settings
from core.common.values import finite
from core.data.dataset import Fit

MAX_CLASSES = 2000
"""Names that the pages can still show."""
MAX_CLASS_CHARACTERS = 100

Layout = Literal["NCHW", "NHWC"]
Pixels = Literal["imagenet", "0..1", "-1..1", "0..255", "own"]
NORMALISATIONS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "0..1": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "-1..1": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "0..255": ((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)),
}
"""Mean and standard deviation of pixels from 0 to 1, by which they are normalised."""
LEAST_SIZE = 8
Three = Annotated[tuple[float, float, float], List]


class Choices(Settings):
    title: Annotated[str, Field(max_length=100)] = ""
    """Name for people; empty for the file's."""
    architecture: str = ""
    """Of torchvision, for a file of weights; empty for the one that their names and shapes are of."""
    input_size: Annotated[int, Field(ge=0, le=512)] = 0
    """Height and width that the network takes, pixels; 0 = as its file says."""
    image_size: Annotated[int, Field(ge=0, le=512)] = 0
    """Height and width of the images that the pages give it, which it enlarges itself; 0 = the same as it takes."""
    layout: Layout = "NCHW"
    """Order of the input: channels first, as in PyTorch, or last, as in TensorFlow."""
    pixels: Pixels = "imagenet"
    """Range of pixels that the network was trained on."""
    mean: Three = (0.0, 0.0, 0.0)
    """Mean of each channel of pixels from 0 to 1, where pixels is own."""
    std: Three = (1.0, 1.0, 1.0)
    """Standard deviation of each channel, where pixels is own."""
    fit: Fit = "crop"
    """How a photo becomes a square: its central square, or all of it on grey."""
    classes: Annotated[tuple[str, ...], List] = ()
    """Names in the order of the network's answers; empty for those of the dataset, or numbers."""
    dataset: Name = "none"
    """Dataset here whose classes are these in this order, on which it can be evaluated; none for no such."""

    @field_validator("mean", "std", mode="before")
    @classmethod
    def _read_numbers(cls, values: Any) -> Any:
        """A command line gives texts."""
        try:
            return tuple(float(value) for value in values)
        except (TypeError, ValueError):
            return values

    @field_validator("input_size", "image_size")
    @classmethod
    def _check_size(cls, size: int) -> int:
        if 0 < size < LEAST_SIZE:
            raise LabError(f"A size of {size} pixels is too small: choose {LEAST_SIZE} to 512, or 0.")
        return size

    @field_validator("classes")
    @classmethod
    def _check_classes(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        names = tuple(name.strip() for name in classes)
        if len(names) > MAX_CLASSES:
            raise LabError(f"{len(names):,} class names are too many: at most {MAX_CLASSES:,}.")
        if any(not 1 <= len(name) <= MAX_CLASS_CHARACTERS or not name.isprintable() for name in names):
            raise LabError(f"A class name has 1 to {MAX_CLASS_CHARACTERS} printable characters: correct the list.")
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise LabError(f"Two classes are called {twice}: give each its own name.")
        return names

    @property
    def normalisation(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """Mean and standard deviation. Raises LabError for a standard deviation that is not above 0."""
        if self.pixels != "own":
            return NORMALISATIONS[self.pixels]
        if not all(finite(value) and value > 0 for value in self.std):
            raise LabError("Each standard deviation must be above 0: correct the normalisation.")
        return self.mean, self.std

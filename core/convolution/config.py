"""Changes of a trained network, as plain values: what an address carries and a run keeps. Importing this needs no torch."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from core.common.errors import LabError
from core.common.settings import List, Name, Settings
from core.convolution.arithmetic import MOST_CHARACTERS, parse_kernel
from core.models import MODELS

MOST_EDITS = 20
MOST_JSON = MOST_EDITS * (MOST_CHARACTERS + 500)
"""Characters of changes in an address: a kernel, a layer and names each."""
POOLINGS_WORDS = {"average": "average pooling", "stride": "a stride alone", "blur": "anti-aliased pooling"}


class Edit(Settings):
    """One change of a layer."""

    what: Literal["zero", "kernel", "pooling"]
    """`zero` silences an output channel, `kernel` replaces one kernel, `pooling` what stands for a max pooling."""
    layer: Name
    """A convolution or a max pooling."""
    channel: Annotated[int, Field(ge=0)] = 0
    """Output channel of the convolution."""
    input: Annotated[int, Field(ge=0)] = 0
    """Input channel of the kernel."""
    kernel: Annotated[str, Field(max_length=MOST_CHARACTERS)] = ""
    """Rows between semicolons, as in `0 1 0; 1 2 1; 0 1 0`."""
    pooling: Literal["", "average", "stride", "blur"] = ""
    """What takes the max pooling's place."""

    @model_validator(mode="after")
    def _check(self) -> Edit:
        if self.what == "kernel":
            parse_kernel(self.kernel)
        if (self.what == "pooling") != bool(self.pooling):
            raise LabError("pooling is not valid: it belongs to a change of a pooling, and only to that.")
        return self

    @property
    def label(self) -> str:
        """What is changed, in a few words."""
        if self.what == "zero":
            return f"{self.layer} channel {self.channel} zero"
        if self.what == "kernel":
            return f"{self.layer} kernel {self.channel}, {self.input}"
        return f"{self.layer} {POOLINGS_WORDS[self.pooling].removesuffix(' pooling')}"

    @property
    def words(self) -> str:
        """What it does, for people."""
        if self.what == "zero":
            return f"channel {self.channel} of {self.layer} is zero"
        if self.what == "kernel":
            return f"kernel {self.channel}, {self.input} of {self.layer} is [{self.kernel}]"
        return f"{self.layer} is {POOLINGS_WORDS[self.pooling]}"

    def to_dict(self) -> dict[str, Any]:
        return self.model_dump(exclude_defaults=True)


class EditConfig(Settings):
    """A checkpoint and what is changed of it, in order."""

    checkpoint: Name
    """As listed by: python -m core checkpoints."""
    edits: Annotated[tuple[Edit, ...], List, Field(min_length=1, max_length=MOST_EDITS)]
    """The changes."""
    model: Literal[tuple(MODELS)]  # type: ignore[valid-type]
    """Architecture of the checkpoint."""
    dataset: Name
    """What the checkpoint was trained on."""

    @property
    def words(self) -> str:
        """All changes, for people."""
        return "; ".join(edit.words for edit in self.edits)

    @property
    def title(self) -> str:
        """What the changed checkpoint is called: lists show about 22 characters."""
        if len(self.edits) == 1:
            return self.edits[0].label
        return f"{MODELS[self.model].title}, {len(self.edits)} changes"

    @classmethod
    def from_dict(cls, values: Any) -> EditConfig:
        if isinstance(values, dict) and isinstance(values.get("edits"), list):
            values = values | {"edits": tuple(Edit.from_dict(item) for item in values["edits"])}
        return cls(**values) if isinstance(values, dict) else super().from_dict(values)

    def to_dict(self) -> dict[str, Any]:
        return self.model_dump() | {"edits": [edit.to_dict() for edit in self.edits]}


def parse_edits(text: str) -> tuple[Edit, ...]:
    """JSON, a list of changes, as an address has it. Raises LabError."""
    try:
        found = json.loads(text) if len(text) <= MOST_JSON else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or len(found) > MOST_EDITS:
        raise LabError(f"The changes are not a list of at most {MOST_EDITS} in JSON: make them again on the page.")
    return tuple(Edit.from_dict(item) for item in found)


def write_edits(edits: tuple[Edit, ...]) -> str:
    return json.dumps([edit.to_dict() for edit in edits], separators=(",", ":"))

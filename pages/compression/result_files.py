"""What a result has beside its figures: the checkpoints of its variants, and their answers to the test images."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from core.checkpoints.store import CheckpointRef, find_checkpoint, list_checkpoints
from core.common.errors import LabError
from core.compression.analysis import short_name, winner
from core.compression.recipe import ORIGINAL
from core.compression.results import CompressionResult, Measurement
from core.compression.store import read_answers, shipped_answers
from pages.shared.url import linked
from pages.shared.url_values import one_of

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class ResultFiles:
    """A result, and where it lies: nowhere but in this version's files for one that ships."""

    result: CompressionResult
    run_id: str = ""
    folder: Path | None = None

    def reference(self, item: Measurement) -> CheckpointRef:
        """The checkpoint of a variant, or of the original. Raises LabError where it is not here."""
        config = self.result.config
        if item.id == ORIGINAL:
            found = find_checkpoint(config.checkpoint)
            if found.card.model != config.model or (item.parameters and found.card.parameters != item.parameters):
                raise LabError(f"{config.checkpoint[:100]} is another network now than when this was measured.")
            return found
        if self.run_id:
            reference = find_checkpoint(f"{self.run_id}/{item.id}")
            name = f"{self.result.name}: {short_name(self.result, item)}"
            return dataclasses.replace(reference, card=dataclasses.replace(reference.card, title=name))
        if not item.control and not item.seed:
            for shipped in list_checkpoints(task=self.result.task):
                made = shipped.card.compression
                if (
                    shipped.origin == "shipped"
                    and made.get("steps") == [dict(step) for step in item.steps]
                    and made.get("original") == config.checkpoint
                ):
                    return shipped
        raise LabError(
            "This variant comes as figures alone: of what ships, only the best have their networks with them."
        )

    def is_here(self, item: Measurement) -> bool:
        """Whether the checkpoint of a variant can be had."""
        try:
            self.reference(item)
        except LabError:
            return False
        return True

    def answers(self, variant: str) -> np.ndarray | None:
        """The class that a variant gives to every test image, (N,) int16; None where it was not kept."""
        return read_answers(self.folder, variant) if self.folder else shipped_answers(variant)

    def label(self, variant: str) -> str:
        """What a variant is called in a list."""
        found = next((item for item in self.result.measured if item.id == variant), None)
        return variant if found is None else short_name(self.result, found)


def choose_variant(
    made: ResultFiles, key: str, label: str = "Variant", *, original: bool = False, network: bool = False
) -> Measurement | None:
    """One of the variants that are measured, the winner to begin with; None, with a sentence, while there is none.

    network: begin with one whose checkpoint is here, where that of the winner is not.
    """
    items = made.result.measured if original else made.result.variants
    if not items:
        st.caption("No variant is measured yet.")
        return None
    best = winner(made.result)
    if network and best is not None and not made.is_here(best):
        best = next((item for item in items if item.id != ORIGINAL and made.is_here(item)), best)
    options = [item.id for item in items]
    usual = best.id if best and best.id in options else options[0]
    param = "network" if original else "variant"
    linked(param, key, one_of(options, param), usual, of=len(options))  # a job that grows has another winner
    chosen = st.selectbox(
        label,
        options,
        format_func=made.label,
        key=key,
        persist_state="session",
        help="The number is that of the step which makes it, with all done that comes before it in its recipe.",
    )
    return next((item for item in items if item.id == chosen), items[0])

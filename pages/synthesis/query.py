"""What the views ask: a generator and how it is to make images. They share one choice."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from core.checkpoints.store import Checkpoint, CheckpointRef
from core.common.errors import LabError
from core.synthesis.config import GUIDANCE, SynthesisConfig
from core.synthesis.results import SETS, ImageSet
from pages.shared.checkpoint_picker import checkpoint_picker
from pages.shared.number_field import number_field
from pages.shared.resources import loaded
from pages.shared.text import show_error
from pages.shared.url import linked
from pages.shared.url_values import number
from pages.shared.warmup import until_ready

FIRST = "flow_unet"
USUAL_STEPS = SynthesisConfig.model_fields["steps"].default
GUIDANCE_KEY, STEPS_KEY, SEED_KEY = "synthesis-guidance", "synthesis-steps", "synthesis-seed"
CLASS, NOISE = "synthesis-class", "synthesis-noise"
MOST_SEED, MOST_STEPS, MOST_GUIDANCE = 2**31 - 2, 50, 6.0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class GeneratorQuery:
    reference: CheckpointRef
    guidance: float
    steps: int
    seed: int

    @property
    def key(self) -> str:
        return f"{self.reference.card.fingerprint}-{self.guidance:g}-{self.steps}-{self.seed}"

    @property
    def classes(self) -> tuple[str, ...]:
        return self.reference.card.pixel_data.classes

    def shipped_set(self) -> ImageSet | None:
        """The set that ships, where it was made with just these weights and settings."""
        try:
            found = SETS.load_shipped("example")
        except LabError:
            return None
        made = (found.config.fingerprint, found.config.guidance, found.config.steps, found.config.seed)
        return found if made == (self.reference.card.fingerprint, self.guidance, self.steps, self.seed) else None

    def load(self) -> Checkpoint | None:
        """The generator, or None with a sentence on the page."""
        until_ready()
        try:
            return loaded(self.reference)
        except LabError as error:
            show_error(error)
            return None


def ask_generator() -> GeneratorQuery | None:
    """Draw the controls; None, with a sentence on the page, where there is no generator."""
    reference = checkpoint_picker("Generator", "generator", param="checkpoint", prefer=FIRST, task="generation")
    if reference is None:
        return None
    linked("guidance", GUIDANCE_KEY, number(0, MOST_GUIDANCE, "the guidance", float), GUIDANCE)
    linked("steps", STEPS_KEY, number(1, MOST_STEPS, "the steps"), USUAL_STEPS)
    linked("seed", SEED_KEY, number(0, MOST_SEED, "the seed"), 0)
    guidance = st.slider(
        "Guidance",
        0.0,
        MOST_GUIDANCE,
        step=0.5,
        key=GUIDANCE_KEY,
        help="How strongly to follow the class. 0 ignores it, 1 is the plain flow; more is clearer, but less varied.",
        persist_state="session",
    )
    steps = st.slider("Steps", 1, MOST_STEPS, key=STEPS_KEY, help="From noise to image.", persist_state="session")
    seed = int(number_field("Seed", 0, MOST_SEED, key=SEED_KEY, step=1))
    return GeneratorQuery(reference=reference, guidance=float(guidance), steps=int(steps), seed=seed)

"""Data that small networks are trained on in tests, and what a training left."""

from __future__ import annotations

from torch import Tensor

from core.data.text import build, digest
from core.training.session import TrainSession
from tests.tiny_text import play
from tests.unit.builders import synthetic

IMAGES = synthetic(train=96, held_out=32)
VERSES = play(3200)
TEXT = build(VERSES, name="text:/x", title="A play", source="a test", sha256=digest(VERSES))


def weights(session: TrainSession) -> list[Tensor]:
    return [value.clone() for value in session.eval_model().state_dict().values()]

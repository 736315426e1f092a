"""From the bytes of an upload to a label, warm, as the page does it."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator

import numpy as np

from core.benchmark import Figure, figure


def measure(rounds: int) -> Iterator[Figure]:
    from PIL import Image

    from core.checkpoints.store import list_checkpoints, load_checkpoint
    from core.data.decode import decode_image, fit_to_model
    from core.inference.images import classify

    smooth = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8))
    uploads = {}
    for label, size in (("0.3-megapixel", (640, 480)), ("12-megapixel", (4000, 3000))):
        buffer = io.BytesIO()
        smooth.resize(size).save(buffer, "JPEG", quality=90)
        uploads[label] = buffer.getvalue()
    for reference in list_checkpoints(task="images"):
        if reference.origin != "shipped":
            continue
        checkpoint = load_checkpoint(reference)
        for label, data in uploads.items():
            times = []
            for _ in range(rounds * 4 + 2):
                started = time.perf_counter()
                classify(checkpoint, fit_to_model(decode_image(data).rgb)[None])
                times.append((time.perf_counter() - started) * 1000)
            yield figure("answer", f"{label} JPEG to label, {reference.name}", times[2:], "ms")

"""Memory of a process that computes one gradient, of a whole batch or of micro-batches.

`python -m core.backprop.memory CHECKPOINT IMAGES MICRO_BATCHES`: the peak beyond the loaded network and its images.
"""

from __future__ import annotations

import sys

from core.common.errors import LabError
from core.common.memory import measure_in_process, print_peak
from core.common.progress import Progress, no_progress

IMAGES = 64
"""In a batch."""


def measure_memory(checkpoint: str, micro_batches: int, on_progress: Progress = no_progress) -> tuple[int, int]:
    """Peak bytes of one batch and of the micro-batches, each measured in a new process. Raises LabError if that fails."""
    peaks = []
    for done, parts in enumerate((1, micro_batches)):
        on_progress(done / 2, "measuring micro-batches" if done else "measuring one batch")
        peak = measure_in_process("core.backprop.memory", checkpoint, str(IMAGES), str(parts))
        if peak is None:
            raise LabError("The memory cannot be measured here: it may be too little, so choose a smaller checkpoint.")
        peaks.append(peak)
    return peaks[0], peaks[1]


def main(name: str, images: str, micro_batches: str) -> None:
    import torch

    from core.backprop.accumulation import accumulate, image_loss
    from core.backprop.results import RIGHT
    from core.checkpoints.store import find_checkpoint, load_checkpoint
    from core.models import clone_model

    torch.set_num_threads(1)
    checkpoint = load_checkpoint(find_checkpoint(name))
    model = clone_model(checkpoint.model).train().requires_grad_(True)
    data = checkpoint.card.image_data
    torch.manual_seed(0)
    batch = (
        torch.randn(int(images), 3, data.image_size, data.image_size),
        torch.randint(len(data.classes), (int(images),)),
    )
    accumulate(model, (batch[0][:2], batch[1][:2]), 1, image_loss, RIGHT)  # what is set up once is no part of a step
    model.zero_grad()
    print_peak(lambda: accumulate(model, batch, int(micro_batches), image_loss, RIGHT))


if __name__ == "__main__":
    main(*sys.argv[1:])

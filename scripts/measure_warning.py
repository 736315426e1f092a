"""How far to trust the probabilities and the none-of-these warning of the image classifiers that ship:
`python -m scripts.measure_warning`.

Prints a Markdown table: calibration error before (temperature 1) and after, and the share of images that the warning flags,
of test images that the calibration was not set on and of images of none of the classes.
"""

from __future__ import annotations

import string

import numpy as np
import torch

from core.checkpoints.store import Calibration, list_checkpoints, load_checkpoint
from core.data import load_images
from core.inference.evaluation import held_out, measure_calibration, split_logits
from core.inference.images import free_energy, logits_of

COUNT, SIDE = 1000, 32


def main() -> None:
    others = {"digits": digits(), "letters": letters(), "noise": noise(), "blurred noise": noise(blurred=True)}
    print(f"| checkpoint | temperature | ECE at 1 | ECE | false alarms | {' | '.join(others)} |")
    print("|---|" + "---:|" * (4 + len(others)))
    for reference in list_checkpoints(task="images"):
        if reference.origin != "shipped":
            continue
        checkpoint = load_checkpoint(reference)
        card, test = checkpoint.card, load_images(checkpoint.card.dataset.name).test
        rest = held_out(card.calibration, len(test))
        logits, labels = split_logits(checkpoint, test)[rest], torch.from_numpy(test.labels[rest])
        _, before, _ = measure_calibration(logits, labels, Calibration())
        _, after, flagged = measure_calibration(logits, labels, card.calibration)
        shares = []
        for images in others.values():
            energies = free_energy(torch.cat([logits_of(checkpoint, part) for part in np.split(images, COUNT // 250)]))
            shares.append(float((energies > (card.calibration.energy_threshold or np.inf)).float().mean()))
        cells = [f"{before:.1%}", f"{after:.1%}", f"{flagged:.1%}", *(f"{share:.0%}" for share in shares)]
        print(f"| {card.title} | {card.calibration.temperature:.2f} | {' | '.join(cells)} |", flush=True)


def digits() -> np.ndarray:
    """Handwritten digits (scikit-learn), white on black: (COUNT, SIDE, SIDE, 3) uint8, as all of these."""
    from PIL import Image
    from sklearn.datasets import load_digits

    small = (255 / 16 * load_digits().images[:COUNT]).astype(np.uint8)
    large = [np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for image in small]
    return np.repeat(np.stack(large)[..., None], 3, axis=3)


def letters() -> np.ndarray:
    """Three lines of random letters, black on white."""
    from PIL import Image, ImageDraw

    random, found = np.random.default_rng(0), []
    for _ in range(COUNT):
        image = Image.new("RGB", (SIDE, SIDE), "white")
        lines = ("".join(random.choice(list(string.ascii_letters), 6)) for _ in range(3))
        ImageDraw.Draw(image).text((0, 0), "\n".join(lines), fill="black", font_size=10, spacing=0)
        found.append(np.asarray(image))
    return np.stack(found)


def noise(*, blurred: bool = False) -> np.ndarray:
    """Uniform noise in every pixel, or blurred and of full contrast: clouds of colour."""
    from scipy.ndimage import gaussian_filter

    found = np.random.default_rng(1).random((COUNT, SIDE, SIDE, 3))
    if blurred:
        found = gaussian_filter(found, (0, 2, 2, 0))
        found -= found.min((1, 2, 3), keepdims=True)
        found /= found.max((1, 2, 3), keepdims=True)
    return (255 * found).astype(np.uint8)


if __name__ == "__main__":
    main()

"""The corruptions by name, without the code that makes them: what lists, forms and configurations need."""

from __future__ import annotations

from dataclasses import dataclass

SEVERITIES = (1, 2, 3, 4, 5)
RECOMPUTED = "Recomputed: made here by the published rules, not the official files"
"""What every figure of these corruptions says of itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Corruption:
    """One way to damage an image."""

    name: str
    """As the official files are called."""
    title: str
    family: str
    """`noise`, `blur`, `weather` or `digital`."""
    extra: bool = False
    """Whether it is one of the four that are kept out of the mean."""

    @property
    def words(self) -> str:
        """Its title inside a sentence: `glass blur`, `Gaussian noise`, `JPEG`."""
        return self.title if self.title.split()[0] in ("JPEG", "Gaussian") else self.title.lower()


CORRUPTIONS: dict[str, Corruption] = {
    name: Corruption(name=name, title=title, family=family, extra=place >= 15)
    for place, (name, title, family) in enumerate(
        (
            ("gaussian_noise", "Gaussian noise", "noise"),
            ("shot_noise", "Shot noise", "noise"),
            ("impulse_noise", "Impulse noise", "noise"),
            ("defocus_blur", "Defocus blur", "blur"),
            ("glass_blur", "Glass blur", "blur"),
            ("motion_blur", "Motion blur", "blur"),
            ("zoom_blur", "Zoom blur", "blur"),
            ("snow", "Snow", "weather"),
            ("frost", "Frost", "weather"),
            ("fog", "Fog", "weather"),
            ("brightness", "Brightness", "weather"),
            ("contrast", "Contrast", "digital"),
            ("elastic_transform", "Elastic", "digital"),
            ("pixelate", "Pixelate", "digital"),
            ("jpeg_compression", "JPEG", "digital"),
            ("speckle_noise", "Speckle noise", "noise"),
            ("gaussian_blur", "Gaussian blur", "blur"),
            ("spatter", "Spatter", "weather"),
            ("saturate", "Saturate", "digital"),
        )
    )
}
COMMON = tuple(name for name, item in CORRUPTIONS.items() if not item.extra)
"""The fifteen of the mean."""

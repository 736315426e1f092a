"""Getting an archive onto this machine: placed by hand, or downloaded from the first of its mirrors that works."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.common.errors import LabError
from core.common.paths import lab_home
from core.common.progress import Meter, Progress
from core.data.archives import Archive, verify_archive

if TYPE_CHECKING:
    import requests

CONNECT_TIMEOUT_S = 4.0
"""Short, so that a closed network costs seconds; a slow transfer is given more time."""
READ_TIMEOUT_S = 30.0
CHUNK_BYTES = 1 << 14
"""Small, so that a slow download can be stopped soon: a stop is noticed between two of them."""


class Unreachable(Exception):
    """A mirror does not work; the next one is tried. The text is a few words for the final sentence."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mirror:
    """One place that an archive can be downloaded from."""

    archive: Archive
    name: str
    """For the sentence that says what failed."""
    address: Callable[[], str]
    """The URL of the archive. It may ask the network, and raises Unreachable where there is none."""
    by_hand: str
    """How a person gets the same file, in a few words."""


def incoming_folder() -> Path:
    """Where a user without network puts an archive by hand."""
    return lab_home() / "data" / "incoming"


def obtain_archive(
    folder: Path, mirrors: Sequence[Mirror], *, variable: str, title: str, on_progress: Progress | None
) -> Path:
    """A verified archive: what the environment variable names, else one in the incoming folder, else downloaded to `folder`.

    Raises LabError where nothing works, with the ways out.
    """
    import requests

    by_hand = {mirror.archive.filename: mirror.by_hand for mirror in mirrors}
    placed = _find_placed(variable, by_hand)
    if placed is not None:
        try:
            if any(verify_archive(placed, mirror.archive, on_progress) for mirror in mirrors):
                return placed
        except OSError as error:
            raise LabError(
                f"{placed} cannot be read ({error.strerror}): change its permissions, or remove it."
            ) from error
        remedy = "remove it" if placed.parent == incoming_folder() else f"unset {variable}"
        raise LabError(
            f"The size or the checksum of {placed} is not that of {' or '.join(by_hand)}: get it again, or {remedy} to let "
            "the lab fetch the data."
        )
    reasons = []
    for mirror in mirrors:
        try:
            return download(mirror.address(), folder, mirror.archive, title, on_progress)
        except LabError:
            raise  # of on_progress: the user has had enough
        except (Unreachable, requests.RequestException, ValueError) as error:
            reasons.append(f"{mirror.name}: {_describe_failure(error)}")
    files = " or ".join(f"{name} (from {source})" for name, source in by_hand.items())
    raise LabError(
        f"{title} could not be downloaded ({'; '.join(reasons)}): connect and try again, or put {files} into "
        f"{incoming_folder()}, or set {variable} to its path."
    )


def download(url: str, folder: Path, archive: Archive, title: str, on_progress: Progress | None) -> Path:
    """The verified file that `url` answers with, in `folder`, at most as large as the archive should be.

    Raises Unreachable, requests.RequestException, or ValueError for another checksum, and leaves nothing behind then.
    """
    import pooch

    def stream(url: str, output_file: str, _: object) -> None:
        done, meter = 0, Meter(on_progress, f"download {title}", archive.size_bytes)
        with open_url(url) as response, open(output_file, "wb") as file:
            for chunk in response.iter_content(CHUNK_BYTES):
                done += len(chunk)
                if done > archive.size_bytes:
                    raise Unreachable("it sent something else")
                file.write(chunk)
                meter.update(done)

    name = archive.filename
    files = pooch.create(
        path=folder,
        base_url="",
        registry={name: f"sha256:{archive.sha256}"},
        urls={name: url},
    )
    pooch.get_logger().setLevel("WARNING")
    return Path(files.fetch(name, downloader=stream))


def open_url(url: str) -> requests.Response:
    """A streamed answer, to be closed. Raises Unreachable, or requests.RequestException (for an HTTP error status too)."""
    import requests
    from requests.adapters import HTTPAdapter

    class SystemCertificates(HTTPAdapter):
        """Trusts what this machine trusts: a company's proxy is known there, and not to requests."""

        def init_poolmanager(self, *sizes: Any, **options: Any) -> None:
            super().init_poolmanager(*sizes, ssl_context=ssl.create_default_context(), **options)

        def proxy_manager_for(self, proxy: Any, **options: Any) -> Any:
            return super().proxy_manager_for(proxy, ssl_context=ssl.create_default_context(), **options)

    session = requests.Session()
    named = os.environ.get("REQUESTS_CA_BUNDLE")
    if named and not os.path.exists(named):
        raise Unreachable("REQUESTS_CA_BUNDLE names no file")
    if not named:
        session.mount("https://", SystemCertificates())
    response = session.get(
        url,
        stream=True,
        timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S),
        headers={"Accept": "text/html, */*", "Accept-Encoding": "identity"},
    )
    response.raise_for_status()
    return response


def _find_placed(variable: str, filenames: dict[str, str]) -> Path | None:
    named = os.environ.get(variable)
    if not named:
        return next((path for name in filenames if (path := incoming_folder() / name).is_file()), None)
    path = Path(os.path.expanduser(named))  # Path.expanduser raises where there is no such user
    if not path.is_file():
        raise LabError(
            f"{variable} names {path}, which is not a file: correct it, or unset it to let the lab fetch the data."
        )
    return path


def _describe_failure(error: Exception) -> str:
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"HTTP {error.response.status_code}"
    words: tuple[tuple[type[Exception], str], ...] = (
        (Unreachable, str(error)),
        (requests.exceptions.SSLError, "its certificate was not accepted"),
        (requests.Timeout, "no answer"),
        (requests.exceptions.ChunkedEncodingError, "broken off"),
        (requests.RequestException, "not reachable"),
    )
    return next((text for kind, text in words if isinstance(error, kind)), "what came had another checksum")

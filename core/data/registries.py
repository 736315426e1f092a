"""Archives of npm and PyPI packages as plain downloads, from the registry that the user's own npm or pip is set up for."""

from __future__ import annotations

import configparser
import contextlib
import html
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

from core.data.fetch import Unreachable, open_url


def npm_archive_url(package: str, version: str) -> str:
    """The address of a package's archive. Raises Unreachable where no registry is known."""
    return f"{npm_registry().rstrip('/')}/{package}/-/{package}-{version}.tgz"


def pypi_archive_url(package: str, filename: str) -> str:
    """The address of a release file, as the index (PEP 503) gives it. Raises Unreachable, or requests.RequestException."""
    page_url = f"{pip_index().rstrip('/')}/{package}/"
    with open_url(page_url) as page:
        link = re.search(rf"""href=["']([^"'#]*\b{re.escape(filename)})["'#]""", page.text)
    if link is None:
        raise Unreachable(f"its index has no {filename}")
    return urljoin(page.url, html.unescape(link[1]))


def npm_registry() -> str:
    """As npm finds it: in the environment, in the user's and the machine's npmrc, else the default in npm's own manual."""
    settings = {name.lower(): value for name, value in os.environ.items()}
    found = settings.get("npm_config_registry", "")
    for path, pattern in _npm_files(settings.get("npm_config_userconfig", "~/.npmrc")):
        with contextlib.suppress(OSError):
            if not found and (line := re.search(pattern, path.read_text(errors="replace"), re.MULTILINE)):
                found = os.path.expandvars(line[1])
    return _require_http(found, "no registry is set")


def _npm_files(user_config: str) -> Iterator[tuple[Path, str]]:
    setting = r"""^\s*registry\s*=\s*["']?([^\s"']+)"""
    yield Path(os.path.expanduser(user_config)), setting
    npm = shutil.which("npm")
    if npm is not None:
        package = Path(npm).resolve().parents[1]
        yield Path(npm).parents[1] / "etc" / "npmrc", setting
        yield package / "npmrc", setting
        yield package / "docs/content/using-npm/config.md", r"""^#+ `registry`\n+\* Default: "([^"]+)"$"""


def pip_index() -> str:
    """As pip finds it: in the environment, in the files that pip reads, else pip's own default."""
    found = os.environ.get("PIP_INDEX_URL", "")
    if not found:
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            parser.read(map(os.path.expanduser, _pip_files()))
        except configparser.Error as error:
            raise Unreachable("pip’s configuration cannot be read") from error
        found = parser.get("global", "index-url", fallback="")
    if not found:
        with contextlib.suppress(ImportError):
            from pip._internal.models.index import PyPI

            found = PyPI.simple_url
    return _require_http(found, "no index is set")


def _pip_files() -> Iterator[str]:
    """The later ones win."""
    yield "/etc/pip.conf"
    yield "/etc/xdg/pip/pip.conf"
    if sys.platform == "darwin":
        yield "/Library/Application Support/pip/pip.conf"
    yield "~/.pip/pip.conf"
    yield os.path.join(os.environ.get("XDG_CONFIG_HOME") or "~/.config", "pip/pip.conf")
    if sys.platform == "darwin":
        yield "~/Library/Application Support/pip/pip.conf"
    yield os.path.join(sys.prefix, "pip.conf")
    yield os.environ.get("PIP_CONFIG_FILE", "")


def _require_http(address: str, missing: str) -> str:
    if not address:
        raise Unreachable(missing)
    if not re.match(r"https?://[^/]", address):
        raise Unreachable("what is set is not an http address")
    return address

"""Which registry a package comes from: what npm and pip themselves are set up for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from core.data import registries
from core.data.fetch import Unreachable
from tests.unit.data.conftest import MirrorServer

pytestmark = pytest.mark.slow

OURS = "http://registry.test/path"


@pytest.fixture(autouse=True)
def nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the person who runs the tests counts."""
    for name in list(os.environ):
        if name.lower().startswith("npm_config_") or name in ("PIP_INDEX_URL", "PIP_CONFIG_FILE", "XDG_CONFIG_HOME"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()


def by_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("npm_config_registry", OURS)


def by_capitals(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", OURS)


def by_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_HOST", "registry.test")
    (home / ".npmrc").write_text(
        '; registry=http://a\n@mine:registry=http://b\nregistry = "http://${REGISTRY_HOST}/path"\n'
    )


def by_named_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".npmrc").write_text("registry=http://passed-over.test\n")
    (home / "other").write_text(f"registry={OURS}\n")
    monkeypatch.setenv("NPM_CONFIG_USERCONFIG", str(home / "other"))


@pytest.mark.skipif(shutil.which("npm") is None, reason="needs npm")
@pytest.mark.parametrize("how", [by_environment, by_capitals, by_home, by_named_file])
def test_npm_archives_come_from_the_registry_that_is_set(how, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    how(tmp_path / "home", monkeypatch)
    assert registries.npm_registry().rstrip("/") == OURS
    assert registries.npm_archive_url("some", "1.2.3") == f"{OURS}/some/-/some-1.2.3.tgz"


@pytest.mark.skipif(shutil.which("npm") is None, reason="needs npm")
def test_without_a_setting_it_is_the_default_of_npm() -> None:
    assert registries.npm_registry().startswith("http")


def test_without_npm_and_without_a_setting_the_mirror_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registries.shutil, "which", lambda _: None)
    with pytest.raises(Unreachable, match="no registry is set"):
        registries.npm_registry()


@pytest.mark.parametrize("place", [".config/pip/pip.conf", ".pip/pip.conf", "named"])
def test_the_pip_index_is_the_one_that_pip_reads(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "home" / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"[global]\ntimeout = 1\nindex-url = {OURS}/%%7e\n")
    if place == "named":
        monkeypatch.setenv("PIP_CONFIG_FILE", str(path))
    settings = own_answer(sys.executable, "-m", "pip", "config", "list").splitlines()
    assert f"global.index-url={registries.pip_index()!r}" in settings
    monkeypatch.setenv("PIP_INDEX_URL", "http://environment.test")
    assert registries.pip_index() == "http://environment.test"


def test_an_index_that_is_a_folder_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "file:///srv/simple")
    with pytest.raises(Unreachable, match="no.* http address"):
        registries.pip_index()


@pytest.mark.parametrize(
    "link",
    [
        '<a href="../../files/a/p-0.6.tar.gz#sha256=00" data-x="1">',
        "<a class='x' href='/files/a/p-0.6.tar.gz'>",
        '<a href="{url}/files/a/p-0.6.tar.gz#sha256=00">',
    ],
)
def test_the_link_of_a_release_file_is_found_in_the_index(
    link: str, server: MirrorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = f'<a href="../../files/a/p-0.5.tar.gz">p-0.5.tar.gz</a>{link}p-0.6.tar.gz</a>'
    server.content["/simple/p/"] = page.replace("{url}", server.url).encode()
    monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/simple")
    assert registries.pypi_archive_url("p", "p-0.6.tar.gz") == f"{server.url}/files/a/p-0.6.tar.gz"
    with pytest.raises(Unreachable, match=r"no p-0\.7"):
        registries.pypi_archive_url("p", "p-0.7.tar.gz")


def own_answer(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

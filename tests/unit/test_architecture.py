"""The house rules that a test can hold: which way imports point, and what the first paint may load."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SPINE = ("common", "models", "data", "checkpoints", "inference", "jobs", "training")
"""What every room stands on, bottom to top: a part imports those before it. `base` is `core/__init__.py`."""
ROOMS = {
    "regularization": set(),
    "images": {"regularization"},
    "attribution": {"images"},
    "language": {"attribution"},
    "compression": set(),
    "convolution": {"images", "attribution", "compression"},
    "attention": {"attribution", "compression", "images", "language"},
    "descent": set(),
    "backprop": set(),
    "features": {"attribution", "compression"},
    "synthesis": {"regularization"},
    "augmentation": {"compression", "regularization"},
    "shift": {"images"},
    "hardware": {"images", "compression"},
    "networks": {"compression"},
}
"""Each room, and the rooms that it may import besides the spine."""
TOP = {"pretrained", "benchmark", "app", "__main__"}
"""What may import everything."""
PARTS = {"base", *SPINE, *ROOMS, *TOP}
HEAVY = ("torch", "torchvision")
FIRST_PAINT = (
    "core.checkpoints.store",
    "core.data",
    "core.data.dataset",
    "core.common.devices",
    "core.common.errors",
    "core.data.decode",
    "core.common.paths",
    "core.training.figures",
    "core.jobs",
    "core.jobs.engine",
    "core.training.config",
    "core.training.recipes",
    "core.training.results",
)


def sources(*folders: str) -> list[Path]:
    files = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    assert files, f"no Python files under {folders}"
    return files


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imports(path: Path, *, at_import_time: bool = False) -> tuple[tuple[str, int], ...]:
    """(module, line) of every import in a file; with at_import_time only of those that importing the file runs."""
    return tuple(walk_imports(path, at_import_time))


def walk_imports(path: Path, at_import_time: bool) -> Iterator[tuple[str, int]]:
    package = module_name(path) if path.name == "__init__.py" else module_name(path).rpartition(".")[0]
    pending: list[ast.AST] = [ast.parse(path.read_text(), str(path))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            yield module, node.lineno
            yield from ((f"{module}.{alias.name}", node.lineno) for alias in node.names)
        inner = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        type_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if not (at_import_time and (inner or type_only)):
            pending.extend(ast.iter_child_nodes(node))


def part_of(module: str) -> str:
    """The part of core that a dotted name belongs to."""
    first = module.split(".")[1] if "." in module else "base"
    return first if first in PARTS else "base"


def may_import(module: str) -> set[str]:
    """The parts of core that a module may import. A command (`cli`) may import all of the spine."""
    part = part_of(module)
    if part in TOP:
        return PARTS
    if part in ROOMS:
        return {"base", part, *SPINE, *ROOMS[part]}
    below = SPINE.index(part) if part in SPINE else 0
    return {"base", part, *(SPINE if "cli" in module.split(".")[-1] else SPINE[:below])}


def is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def arrows(*folders: str) -> list[tuple[Path, int, str]]:
    return [(path, line, module) for path in sources(*folders) for module, line in imports(path)]


def told(found: list[tuple[Path, int, str]]) -> str:
    return "\n".join(f"{path.relative_to(ROOT)}:{line} imports {module}" for path, line, module in found)


def test_core_never_imports_streamlit_or_pages() -> None:
    wrong = [arrow for arrow in arrows("core") if arrow[2].split(".")[0] in ("streamlit", "pages", "streamlit_app")]
    assert not wrong, told(wrong)


def test_every_folder_of_core_has_a_place_in_the_layout() -> None:
    folders = {path.parent.name for path in (ROOT / "core").glob("*/__init__.py")}
    assert folders <= PARTS, f"give {sorted(folders - PARTS)} a place in SPINE or ROOMS"


def test_imports_within_core_point_one_way() -> None:
    wrong = []
    for path, line, module in arrows("core"):
        here = module_name(path)
        if is_within(module, "core") and part_of(module) not in may_import(here):
            wrong.append((path, line, module))
    assert not wrong, told(wrong)


def test_figures_read_results_only() -> None:
    forbidden = (*HEAVY, "core.models", "core.training.trainer", "core.training.session", "core.jobs.worker")
    figures = [arrow for arrow in arrows("core") if arrow[0].stem.split("_")[0] == "figures"]
    assert figures
    wrong = [arrow for arrow in figures if any(is_within(arrow[2], name) for name in forbidden)]
    assert not wrong, told(wrong)


def test_a_room_of_the_pages_imports_itself_and_what_is_shared() -> None:
    wrong = []
    for path, line, module in arrows("pages"):
        room = path.relative_to(ROOT).parts[1]
        own = ("pages.shared", *(() if path.name == room else (f"pages.{room}",)))
        if module.split(".")[0] in ("pages", "streamlit_app") and not any(is_within(module, name) for name in own):
            wrong.append((path, line, module))
    assert not wrong, told(wrong)


def test_the_script_of_a_visit_has_no_folder_called_pages_beside_it() -> None:
    """One would make Streamlit's first session start in its old multipage mode, which greets a link to any page but
    Home with "Page not found": see tests/browser/test_cold_start.py."""
    assert 'st.App("pages/main.py",' in (ROOT / "streamlit_app.py").read_text()
    assert not (ROOT / "pages" / "pages").exists()
    assert sorted(path.name for path in (ROOT / "pages").glob("*.py")) == ["__init__.py", "main.py"]


def test_pages_load_nothing_heavy_when_imported() -> None:
    files = [*sources("pages"), ROOT / "streamlit_app.py"]
    wrong = [
        (path, line, module)
        for path in files
        for module, line in imports(path, at_import_time=True)
        if any(is_within(module, name) for name in (*HEAVY, "captum", "matplotlib"))
    ]
    assert not wrong, told(wrong)


def test_no_raw_html_and_no_pickle() -> None:
    forbidden = (
        "unsafe_allow_html" + "=True",
        "weights_only" + "=False",
        "use_container" + "_width",
        "pickle" + ".load",
    )
    files = [*sources("core", "pages"), ROOT / "streamlit_app.py"]
    found = {str(path.relative_to(ROOT)): word for path in files for word in forbidden if word in path.read_text()}
    assert not found


def imported_by_pages() -> set[str]:
    """Modules of core and pages/shared that the pages import before they draw anything."""
    files = [*sources("pages"), ROOT / "streamlit_app.py"]
    names = {module for path in files for module, _ in imports(path, at_import_time=True)}
    ours = {name for name in names if name.split(".")[0] == "core" or is_within(name, "pages.shared")}
    return {
        name for name in ours if any((ROOT / name.replace(".", "/")).with_suffix(end).exists() for end in ("", ".py"))
    }


@pytest.mark.slow
def test_first_paint_leaves_torch_alone() -> None:
    """In a fresh process: importing torch takes seconds, and none of it belongs before the first page."""
    script = (
        "import importlib, json, sys\n"
        "found = {}\n"
        "for name in json.loads(sys.argv[1]):\n"
        "    importlib.import_module(name)\n"
        "    found[name] = [heavy for heavy in ('torch', 'torchvision') if heavy in sys.modules]\n"
        "print(json.dumps(found))\n"
    )
    names = sorted(imported_by_pages() | set(FIRST_PAINT))
    result = subprocess.run(
        [sys.executable, "-c", script, json.dumps(names)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    first = next((name for name, heavy in json.loads(result.stdout.splitlines()[-1]).items() if heavy), None)
    assert first is None, f"importing {first} loads torch: import it inside the functions that need it"


def test_the_checks_above_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The import walker sees plain, relative and nested imports, and leaves out what only type checkers run."""
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    folder = tmp_path / "core" / "data"
    folder.mkdir(parents=True)
    file = folder / "sample.py"
    file.write_text(
        "from typing import TYPE_CHECKING\nimport json, os.path\nfrom ..jobs import engine\nfrom . import cifar\n"
        "if TYPE_CHECKING:\n    import torch\ndef load():\n    import streamlit\n"
    )
    everything = {module for module, _ in imports(file)}
    assert {"json", "os.path", "core.jobs", "core.jobs.engine", "core.data.cifar", "torch", "streamlit"} <= everything
    first = {module for module, _ in imports(file, at_import_time=True)}
    assert "core.jobs" in first
    assert not first & {"torch", "streamlit"}
    assert part_of("core.jobs.engine") == "jobs"
    assert part_of("core") == "base"
    assert "jobs" not in may_import("core.data.sample")
    assert "jobs" in may_import("core.data.cli")
    assert not may_import("core.training.session") & set(ROOMS)

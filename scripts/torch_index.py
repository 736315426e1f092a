"""Which build of PyTorch to install: prints the options that pip needs, and says on standard error what they mean.

PyPI's build for Linux brings CUDA, about 3 GB to download. Where there is no NVIDIA GPU, PyTorch's own index has the same
version without it, about 200 MB. Only the standard library is used: this runs before anything is installed.
"""

from __future__ import annotations

import argparse
import platform
import re
import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
LIMIT_S = 3.0
"""An index that takes longer to answer is not used."""
MAX_PAGE_BYTES = 5_000_000


def has_nvidia_gpu() -> bool:
    """Whether a driver for an NVIDIA GPU is running."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return Path("/proc/driver/nvidia/version").exists()
    try:
        return subprocess.run([program, "-L"], capture_output=True, timeout=10, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def installed_version() -> str:
    """The version of torch in this environment; empty where there is none."""
    try:
        return version("torch")
    except PackageNotFoundError:
        return ""


def pinned_version(constraints: Path) -> str:
    """The version of torch in a constraints file, without a local label. Raises ValueError where there is none."""
    found = re.search(r"(?m)^torch==([\w.]+)", constraints.read_text())
    if found is None:
        raise ValueError(f"{constraints} pins no version of torch")
    return found.group(1)


def offers(index: str, wanted: str, limit_s: float = LIMIT_S) -> bool:
    """Whether a package index answers in time and lists the CPU build of this version for this machine.

    index: address of a simple repository (PEP 503).
    """
    pages: list[str] = []

    def ask() -> None:
        try:
            with urllib.request.urlopen(f"{index.rstrip('/')}/torch/", timeout=limit_s) as answer:
                pages.append(answer.read(MAX_PAGE_BYTES).decode(errors="replace"))
        except (urllib.error.URLError, OSError, ValueError):
            pass

    # In a thread, since the time-out of a connection covers neither the look-up of its name nor its further addresses.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(limit_s)
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    wheel = re.compile(rf"torch-{re.escape(wanted)}(\+|%2B)cpu-({tag}|py3)-\S*?({platform.machine()}|any)\.whl")
    return any(wheel.search(page) for page in pages)


def choose(index: str, constraints: Path, limit_s: float = LIMIT_S) -> tuple[list[str], str]:
    """Options for pip, and one sentence that says what will be installed."""
    if platform.system() != "Linux":
        return [], "Installing PyTorch's standard build."
    installed = installed_version()
    if installed.partition("+")[0] == pinned_version(constraints):
        return [], f"PyTorch {installed} is installed already."
    if has_nvidia_gpu():
        return [], "An NVIDIA GPU was found: installing PyTorch with CUDA (about 3 GB to download)."
    if offers(index, pinned_version(constraints), limit_s):
        return (
            ["--extra-index-url", index],
            f"No NVIDIA GPU was found: installing PyTorch for the CPU (about 200 MB to download) from {index}.",
        )
    return [], (
        f"No NVIDIA GPU was found, but {index} does not offer PyTorch for the CPU within {limit_s:g} s: installing the "
        "standard build (about 3 GB to download)."
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "--index", default=CPU_INDEX, help="package index with PyTorch's CPU builds (default: %(default)s)"
    )
    parser.add_argument("--constraints", type=Path, default=Path("constraints.txt"))
    options = parser.parse_args(arguments)
    flags, sentence = choose(options.index, options.constraints)
    print(sentence, file=sys.stderr)
    print(" ".join(flags))
    return 0


if __name__ == "__main__":
    sys.exit(main())

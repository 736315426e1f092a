"""Find a Chromium for the browser tests, or install one: `python tests/browser/chromium.py`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MAC_APPS = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
FLAGS = ("--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-background-networking")


def find_chromium() -> str | None:
    """Path of a Chromium that starts: `LAB_CHROMIUM`, one that is installed, or Playwright's own. None if there is none."""
    installed = (os.environ.get("LAB_CHROMIUM"), *(shutil.which(name) for name in NAMES), *MAC_APPS)
    return next((path for path in installed if path and _starts(path)), None) or _playwrights_own()


def install_chromium() -> None:
    """Debian's package where we may install packages, else Playwright's download."""
    if shutil.which("apt-get") and os.geteuid() == 0:
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
            subprocess.run(["apt-get", "-qq", *command], env=environment, check=False)
        if find_chromium():
            return
    subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False)


def _starts(path: str) -> bool:
    """True where the program runs at all; Ubuntu's `chromium-browser` may be a stub that only says to use snap."""
    try:
        return subprocess.run([path, "--version"], capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _playwrights_own() -> str | None:
    """In a process of its own, since Playwright refuses to be started twice in one."""
    script = (
        "from playwright.sync_api import sync_playwright\n"
        "with sync_playwright() as playwright: print(playwright.chromium.executable_path)"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    path = found.stdout.strip()
    return path if path and _starts(path) else None


if __name__ == "__main__":
    if not find_chromium():
        print("No Chromium found for the browser tests: installing one.", flush=True)
        install_chromium()
        if not find_chromium():
            sys.exit("The browser tests need Chromium: install Chromium or Chrome, or set LAB_CHROMIUM to its path.")

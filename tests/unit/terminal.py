"""The command line as a new process, and in this one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core.app import main
from core.jobs import RunStore

ROOT = Path(__file__).resolve().parents[2]


def start(*arguments: str) -> subprocess.Popen[str]:
    """`python -m core` with these arguments."""
    return subprocess.Popen(
        [sys.executable, "-m", "core", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def stop_reading(process: subprocess.Popen[str]) -> None:
    """Close the output of a process, which takes that for its end and for no error."""
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    assert process.wait(120) == 0
    assert process.stderr.read() == ""
    process.stderr.close()


def run_main(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """The same in this process: exit code, standard output and standard error."""
    code = main(list(arguments))
    output, said = capsys.readouterr()
    return code, output, said


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """What a command that succeeds prints as JSON."""
    code, output, said = run_main(capsys, *arguments)
    assert code == 0, said
    return json.loads(output)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What is said of a mistake, which ends as one sentence and leaves no run."""
    before = len(RunStore().list())
    code, output, said = run_main(capsys, *arguments)
    assert (code, output) == (2, "")
    assert len(said.splitlines()) == 1
    assert len(RunStore().list()) == before
    return said

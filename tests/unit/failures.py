"""What is refused in one sentence, and a system that refuses."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from core.common.errors import LabError


@contextlib.contextmanager
def refusal(words: str | None = None) -> Iterator[pytest.ExceptionInfo[LabError]]:
    """What the block does is refused in one sentence, in which this pattern is found."""
    with pytest.raises(LabError, match=words) as caught:
        yield caught
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


def failing(number: int) -> Callable[..., Any]:
    """A function that fails as a call of the system does. number: of `errno`; tests may run as root, whom no file mode stops."""

    def fail(*_: object, **__: object) -> Any:
        raise OSError(number, os.strerror(number))

    return fail

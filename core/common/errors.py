"""The one exception that users see, and how running out of memory is recognised."""


class LabError(ValueError):
    """Something the user can act on. `str(error)` is one sentence: what is wrong and what to do."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether Python or torch, on any device, could not get memory."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text

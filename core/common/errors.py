"""The one exception that users see."""


class LabError(ValueError):
    """Something the user can act on. `str(error)` is one sentence: what is wrong and what to do."""

"""The base of every configuration: a frozen pydantic model whose mistakes are one sentence for people.

One declaration of a field (type, range, default, the sentence under it) is its validation, its JSON, its flag on the command
line and its widget on a page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from core.common.errors import LabError

MAX_NAME = 1000
MAX_SEED = 2**31 - 1


def _check_name(name: str) -> str:
    """By hand: pydantic refuses a path that is not UTF-8 wherever a text has a length."""
    if not 1 <= len(name) <= MAX_NAME:
        raise LabError(f"{name[:60]!r} is not valid: a name has 1 to {MAX_NAME:,} characters.")
    return name


Name = Annotated[str, AfterValidator(_check_name)]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
Count = Annotated[int, Field(ge=1)]
Probability = Annotated[float, Field(ge=0, lt=1)]
"""Of dropping something: a network of which all is dropped learns nothing."""
List = Field(strict=False)
"""In `Annotated[tuple[int, ...], List]`: takes the list that JSON has for a tuple. The items stay as strict as elsewhere."""

LIMITS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}


class Settings(BaseModel):
    """Base of all configurations. Raises LabError for an unknown field, a wrong type or a value outside its range.

    JSON types are kept apart: true is no number, and "3" is not 3. A field with an alias has that name in JSON, as an
    argument and in messages.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        serialize_by_alias=True,
    )

    if not TYPE_CHECKING:  # the signature that a type checker sees is that of the fields

        def __init__(self, /, **values: Any) -> None:
            try:
                super().__init__(**values)
            except ValidationError as error:
                raise LabError(explain_error(error, type(self))) from None

    @classmethod
    def subject(cls) -> str:
        """Whose settings these are, for messages: ` for int8`. Empty where there is only one thing to set."""
        return ""

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """Rebuild from JSON. Raises LabError, for a field that this version does not know too."""
        if not isinstance(values, Mapping):
            raise LabError("The settings are damaged: they must be a mapping of names to values.")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return self.model_dump()

    def replace(self, **changes: Any) -> Self:
        """The same with some fields changed, checked again. Raises LabError."""
        values = {info.alias or name: getattr(self, name) for name, info in type(self).model_fields.items()}
        return type(self)(**values | changes)


def fields_of(kind: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields by the names that JSON, flags and messages have for them, in order."""
    return {info.alias or name: info for name, info in kind.model_fields.items()}


def field_help(info: FieldInfo) -> str:
    """The sentence under a field, as one line without code marks."""
    return " ".join((info.description or "").replace("`", "").split())


def choices(info: FieldInfo) -> tuple[Any, ...]:
    """The values that a field may have, where it names them all; else empty."""
    return get_args(info.annotation) if get_origin(info.annotation) is Literal else ()


def valid_values(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """What a value may be, in words: `a number above 0 and at most 10,000`, `one of adam, sgd`."""
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *more = get_args(annotation)
        return valid_values(inner, [part for item in more for part in getattr(item, "metadata", [item])])
    if origin is Literal:
        return f"one of {', '.join(map(str, get_args(annotation)))}"
    if origin is tuple:
        first, *rest = get_args(annotation)
        count = "" if rest == [Ellipsis] else f"{1 + len(rest)} "
        return f"a list of {count}values, each {valid_values(first)}"
    if annotation is bool:
        return "true or false"
    if annotation is str:
        longest = next((item.max_length for item in metadata if hasattr(item, "max_length")), None)
        return f"a text of 1 to {longest:,} characters" if longest else "a text"
    if annotation in (int, float):
        return ("a whole number" if annotation is int else "a number") + _bounds(metadata)
    return "a mapping of names to values"


def explain_error(error: ValidationError, kind: type[Settings]) -> str:
    """The first mistake as one sentence: `epochs=0 is not valid: epochs must be a number above 0 and at most 10,000.`"""
    found = error.errors(include_url=False)
    known, subject = fields_of(kind), kind.subject()
    unknown = sorted(str(item["loc"][0])[:60] for item in found if item["type"] == "extra_forbidden")
    if unknown:
        names = f" It knows {', '.join(known)}." if 0 < len(known) <= 12 else ""
        return f"There is no setting named {', '.join(unknown)[:200]}{subject} in this version: remove it.{names}"
    first = found[0]
    if first["type"] == "value_error":  # a check of our own, which says it in a sentence
        return str(first["ctx"]["error"])
    name = str(first["loc"][0])
    info = known[name]
    valid = f"{name} must be {valid_values(info.annotation, info.metadata)}."
    if len(first["loc"]) == 1 and (first["type"] == "missing" or first["input"] is None):
        return f"{name} is missing{subject}: {valid}"
    return f"{name}={repr(first['input'])[:60]} is not valid{subject}: {valid}"


def _bounds(metadata: Sequence[Any]) -> str:
    """` above 0 and at most 10,000`, ` from 1 to 50`; empty where all numbers are valid."""
    limits = {
        key: _number(value) for key in LIMITS for item in metadata if (value := getattr(item, key, None)) is not None
    }
    if "ge" in limits and "le" in limits:
        return f" from {limits['ge']} to {limits['le']}"
    return " and".join(f" {word} {limits[key]}" for key, word in LIMITS.items() if key in limits)


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,g}"

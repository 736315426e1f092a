"""What the commands of all rooms share: flags that mean the same everywhere, and flags made from a configuration's fields.

A command is a plain typed function, or an App of such functions where there are verbs below a noun. Positional parameters stand
before `/`, flags after `*`; what a function returns is the exit code, and nothing is 0.
"""

from __future__ import annotations

import json
import shlex
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, TypedDict, TypeVar, get_args, get_origin

from cyclopts import App, CycloptsError, Parameter, Token, UnusedCliTokensError
from cyclopts.help import PlainFormatter

from core.common.errors import LabError
from core.common.output import harmless
from core.common.settings import Settings, field_help, fields_of

Command = TypeVar("Command", bound=Callable[..., Any])


def read_whole(kind: Any, tokens: Sequence[Token]) -> int:
    """A whole number; the library itself would round 1.5."""
    try:
        return int(tokens[0].value)
    except ValueError:
        raise LabError(f"{tokens[0].value[:60]!r} is not a whole number.") from None


def between(low: float, high: float) -> Parameter:
    """Of a flag that takes a number in that range."""

    def check(kind: Any, value: float | None) -> None:
        if value is not None and not low <= value <= high:
            raise LabError(f"It must be a {'whole ' * isinstance(value, int)}number from {low:,} to {high:,}.")

    return Parameter(validator=check)


def read_items(kind: Any, tokens: Sequence[Token]) -> tuple[Any, ...]:
    """The items of a flag that takes `A,B` and may be given several times."""
    pieces = [piece.strip() for token in tokens for piece in token.value.split(",") if piece.strip()]
    if get_args(kind)[0] is not int:
        return tuple(pieces)
    try:
        return tuple(map(int, pieces))
    except ValueError:
        raise LabError(f"{','.join(pieces)[:60]!r} is not valid: give whole numbers, as in 500,2000.") from None


def read_pairs(kind: Any, tokens: Sequence[Token]) -> list[tuple[str, Any]]:
    """Names and values of a flag that takes KEY=VALUE and may be given several times: JSON where it is that, else text."""
    values: list[tuple[str, Any]] = []
    for token in tokens:
        key, equals, text = token.value.partition("=")
        if not equals or not key:
            raise LabError(f"{token.value[:60]!r} is not valid: write it as KEY=VALUE, as in dropout=0.2.")
        try:
            values.append((key, json.loads(text)))
        except ValueError:
            values.append((key, text))
    return values


Json = Annotated[bool, Parameter(name="--json", help="Print as JSON.")]
Whole = Annotated[int, Parameter(converter=read_whole)]
Pairs = Annotated[list[Any], Parameter(converter=read_pairs, metavar="KEY=VALUE")]
"""KEY=VALUE, several times; pairs in the command."""
CheckpointName = Annotated[str, Parameter(help="As listed by: python -m core checkpoints.")]
Device = Annotated[str, Parameter(help="auto, cpu, cuda, cuda:N or mps.")]
RunId = Annotated[str, Parameter(help="As listed by: python -m core runs.")]
RunName = Annotated[str | None, Parameter(help="Name of the run, for people.")]
Detach = Annotated[bool, Parameter(help="Queue the run and return at once.")]


def takes_settings(
    kind: type[Settings], names: Iterable[str] = (), *, defaults: bool = True
) -> Callable[[Command], Command]:
    """Give a command a flag for each field of a configuration. Its parameter `settings` is a dict of those that were given,
    or its default where none was.

    names: of the fields; empty for all. defaults: say the defaults in the help.
    """
    flags: dict[str, Any] = {}
    for name, info in fields_of(kind).items():
        if names and name not in names:
            continue
        hint, reader = _hint_of(info.annotation)
        words = field_help(info)
        if (
            defaults
            and info.annotation is not bool
            and (usual := info.get_default(call_default_factory=True)) not in ({}, "")
        ):
            words += f" [default: {','.join(map(str, usual)) if isinstance(usual, tuple) else usual}]"
        shape = {read_items: "A,B", read_pairs: "KEY=VALUE"}.get(reader) if reader else None
        negative = ("--no-" + name.replace("_", "-"),) if info.annotation is bool else ()
        parameter = Parameter(help=words, converter=reader, metavar=shape, negative=negative)
        flags[name] = Annotated[hint, parameter]

    def change(command: Command) -> Command:
        command.__annotations__["settings"] = Annotated[TypedDict("Flags", flags, total=False), Parameter(name="*")]  # type: ignore[operator]
        return command

    return change


def command_line(*words: str, **flags: Any) -> str:
    """A command of ours as one types it. flags: by name, in order; what is None or empty is left out, a tuple is a list
    between commas, and a mapping repeats its flag as KEY=VALUE."""
    found = ["python", "-m", "core", *words]
    for name, value in flags.items():
        flag = "--" + name.replace("_", "-")
        if isinstance(value, Mapping):
            for key, item in value.items():
                found += [flag, f"{key}={item if isinstance(item, str) else json.dumps(item)}"]
        elif isinstance(value, bool):
            found.append(flag if value else flag.replace("--", "--no-", 1))
        elif value is not None and value != "":
            found += [flag, ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]
    return shlex.join(found)


def changed_settings(settings: Settings, usual: Settings) -> dict[str, Any]:
    """The fields of a configuration that differ from those of another one of its kind, for flags."""
    names = {info.alias or name: name for name, info in type(settings).model_fields.items()}
    found = {flag: getattr(settings, name) for flag, name in names.items()}
    return {flag: value for flag, value in found.items() if value != getattr(usual, names[flag])}


def _hint_of(annotation: Any) -> tuple[Any, Callable[..., Any] | None]:
    """What a flag takes for a field of that type, and what reads it; None for what the library reads well itself."""
    if annotation is int:
        return int, read_whole
    if get_origin(annotation) is tuple:
        item = get_args(annotation)[0]
        return list[get_args(item)[0] if get_origin(item) is Annotated else item], read_items  # type: ignore[misc]
    if get_origin(annotation) is dict:
        return list[Any], read_pairs
    return annotation, None


class Plain(PlainFormatter):
    """Help as text without boxes and colours, filled to the width of the terminal."""

    def _print_plain(self, console: Any, text: str) -> None:
        indent = " " * (len(text) - len(text.lstrip()))
        later = indent + "    " if indent else ""
        filled = [
            textwrap.fill(" ".join(paragraph.split()), console.width, initial_indent=indent, subsequent_indent=later)
            for paragraph in text.split("\n\n")
        ]
        print("\n\n".join(filled), file=console.file)


def new_app(name: str, words: str) -> App:
    """An empty command line, which raises what is wrong instead of ending the process."""
    return App(
        name=name,
        help=words,
        help_format="plaintext",
        help_formatter=Plain(),
        version_flags=(),
        default_parameter=Parameter(negative=(), show_default=_shown),
        exit_on_error=False,
        print_error=False,
        verbose=False,
        suppress_keyboard_interrupt=False,
        result_action="return_value",
    )


def usage_error(error: CycloptsError) -> str:
    """What the library found wrong, as one line that says where to look."""
    if isinstance(error, UnusedCliTokensError):
        words = f"There is no place for {' '.join(error.unused_tokens or [])}."
    else:
        words = str(error)
    words = harmless(" ".join(words.split()))
    command = " ".join(["python -m core", *(error.command_chain or ())])
    return f"{words if len(words) < 300 else words[:300] + '…'} See {command} --help"


def _shown(value: Any) -> str | None:
    """A default in the help, where it says something."""
    return None if value is None or value is False or value == "" else str(value)

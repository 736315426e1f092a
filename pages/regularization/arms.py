"""The choice of what to compare: techniques alone, several together, and their strengths. For a new study and one that grows."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import streamlit as st

from core.common.errors import LabError
from core.models import MODELS
from core.regularization.arms import OR, TOGETHER, Arm, title_of
from core.regularization.techniques import TECHNIQUES, Technique, plain_number, techniques_for
from pages.shared.url import give

STRENGTH_PX = 178
"""Two beside each other."""
ARM = "An arm is one technique, or several together."
OFFERED = {name: kind for name, kind in TECHNIQUES.items() if name != "pipeline"}
"""A pipeline is built under Augmentation, which starts its study."""
TITLES = {name: kind.title for name, kind in TECHNIQUES.items()}
"""What the form calls each technique."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmChoice:
    """Arms as the form holds them."""

    alone: list[str]
    together: list[tuple[str, ...]]
    strengths: dict[str, str]
    """Technique -> its strengths as they are typed."""


def arms_form(prefix: str, model: str, default: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Show the fields; returns the chosen arms as the names of their techniques. prefix: of the fields' keys."""
    alone = st.multiselect(
        "Techniques, each alone",
        list(OFFERED),
        default=list(default),
        format_func=lambda name: _offered(name, model),
        key=f"{prefix}-alone",
        placeholder="Choose techniques",
        wrap=True,
        persist_state="session",
        help="Each is compared with no regularization, which is always trained too.",
    )
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        st.multiselect(
            "Several together, as one more arm",
            list(OFFERED),
            format_func=lambda name: _offered(name, model),
            key=f"{prefix}-together",
            placeholder="Choose two or more",
            wrap=True,
            help=ARM,
        )
        st.button("Add", key=f"{prefix}-add", icon=":material/add:", on_click=_add, args=(prefix,))
    problem = st.session_state.pop(f"{prefix}-problem", None)
    if problem:
        st.error(problem)
    together: list[tuple[str, ...]] = st.session_state.get(f"{prefix}-combinations", [])
    with st.container(horizontal=True, gap="xsmall"):
        for names in together:
            st.button(
                title_of(names),
                key=f"{prefix}-remove-{TOGETHER.join(names)}",
                icon=":material/close:",
                help="Take this arm out",
                on_click=_remove,
                args=(prefix, names),
            )
    chosen = [*((name,) for name in TECHNIQUES if name in alone), *together]
    _strengths(prefix, [name for name in TECHNIQUES if any(name in names for names in chosen)])
    return chosen


def specs(prefix: str, model: str, chosen: list[tuple[str, ...]]) -> tuple[str, ...]:
    """The chosen arms as `core.regularization.arms` writes them. Raises LabError for a strength that is none."""
    usable = techniques_for(model)
    for name in dict.fromkeys(name for names in chosen for name in names):
        if name not in usable:
            raise LabError(f"{TITLES[name]} cannot be used with {MODELS[model].title}: take it out.")
    return tuple(TOGETHER.join(_spec(TECHNIQUES[name], _typed(prefix, name)) for name in names) for names in chosen)


def read_arms(arms: Iterable[Arm]) -> ArmChoice:
    """Such arms as the form holds them. Raises LabError where a technique has other strengths in one arm than in another."""
    strengths: dict[str, str] = {}
    chosen = [arm for arm in arms if arm.names]
    for arm in chosen:
        for part in arm.spec.split(TOGETHER):
            name, _, values = part.partition("=")
            if name not in OFFERED:
                raise LabError("The form cannot show a pipeline: build it under Augmentation.")
            if strengths.setdefault(name, values.replace(OR, " ")) != values.replace(OR, " "):
                raise LabError(f"{TITLES[name]} has two sets of strengths: the form gives all its arms the same.")
    return ArmChoice(
        alone=[arm.names[0] for arm in chosen if len(arm.names) == 1],
        together=[arm.names for arm in chosen if len(arm.names) > 1],
        strengths={name: typed for name, typed in strengths.items() if typed},
    )


def fill_arms(prefix: str, choice: ArmChoice) -> None:
    """Put arms into the form before it is drawn."""
    st.session_state[f"{prefix}-combinations"] = choice.together
    give(f"{prefix}-alone", choice.alone)
    for name, kind in TECHNIQUES.items():
        if kind.unit:
            give(f"{prefix}-strength-{name}", choice.strengths.get(name, plain_number(kind.default)))


def _spec(kind: type[Technique], typed: str) -> str:
    if not kind.unit:
        return kind.name
    if re.search(r"(?<!\d)0,\d", typed):
        raise LabError(f"{kind.title}: write a decimal with a point, such as {plain_number(kind.default)}.")
    values = re.split(r"[\s,;/]+", typed.strip())
    for value in values:
        try:
            float(value)
        except ValueError as error:
            given = f"{value[:40]!r} is no strength" if value else "The strength is empty"
            raise LabError(
                f"{kind.title}: {given}; give a number such as {plain_number(kind.default)}, or several with spaces between "
                "them."
            ) from error
    return f"{kind.name}={OR.join(values)}"


def _typed(prefix: str, name: str) -> str:
    given = st.session_state.get(f"{prefix}-strength-{name}")
    return plain_number(TECHNIQUES[name].default) if given is None else str(given)


def _offered(name: str, model: str) -> str:
    return TITLES[name] if name in techniques_for(model) else f"{TITLES[name]} (not with {MODELS[model].title})"


def _strengths(prefix: str, names: list[str]) -> None:
    """A field for the strength of each technique that has one."""
    with st.expander("Strengths", icon=":material/tune:", key=f"{prefix}-strengths"):
        st.caption(
            "One number, or several with spaces between them: then each is trained, and the best on validation stands for the "
            "technique. Techniques together take the same strengths."
        )
        adjustable = [name for name in names if TECHNIQUES[name].unit]
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
            for name in adjustable:
                kind = TECHNIQUES[name]
                st.text_input(
                    f"{kind.title}: {kind.unit}",
                    value=plain_number(kind.default),
                    key=f"{prefix}-strength-{name}",
                    width=STRENGTH_PX,
                    persist_state="session",
                    help=f"{kind.how} From {kind.low:g} to {kind.high:g}. [{kind.paper}]({kind.url})",
                )
        if not adjustable:
            st.caption("Nothing that was chosen has a strength.")
            return
        with st.container(horizontal=True, gap="small"):
            for key, label, several in (("grid", "Try several of each", True), ("one", "One of each", False)):
                st.button(label, key=f"{prefix}-{key}", on_click=_fill, args=(prefix, adjustable, several))


def _fill(prefix: str, names: list[str], several: bool) -> None:
    for name in names:
        kind = TECHNIQUES[name]
        values = kind.grid if several else (kind.default,)
        st.session_state[f"{prefix}-strength-{name}"] = " ".join(map(plain_number, values))


def _add(prefix: str) -> None:
    picked = st.session_state.get(f"{prefix}-together", [])
    names = tuple(name for name in TECHNIQUES if name in picked)
    there = st.session_state.get(f"{prefix}-combinations", [])
    if len(names) < 2:
        st.session_state[f"{prefix}-problem"] = "Choose two or more techniques to be used together, then press Add."
    elif names in there:
        st.session_state[f"{prefix}-problem"] = f"{title_of(names)} is there already: choose other techniques."
    else:
        st.session_state[f"{prefix}-combinations"] = [*there, names]
        st.session_state[f"{prefix}-together"] = []


def _remove(prefix: str, names: tuple[str, ...]) -> None:
    there = st.session_state.get(f"{prefix}-combinations", [])
    st.session_state[f"{prefix}-combinations"] = [item for item in there if item != names]

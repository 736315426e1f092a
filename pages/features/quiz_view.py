"""Features / Quiz: which of two new images excites the unit more?"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

import streamlit as st

from core.common.errors import LabError
from core.common.pixels import enlarge, from_png
from core.common.progress import Progress
from core.features.quiz import QUESTIONS, Pair, brighter_rule, in_split, make_pairs, score
from core.features.results import Score, Unit
from pages.features.images import SIDE_PX, column, show_real, show_rgb
from pages.features.query import LayerQuery, ask_channel, ask_layer
from pages.features.unit_view import USUAL, unit_of
from pages.shared.dataset_fetch import dataset_or_offer
from pages.shared.elements import clickable_image, show_table
from pages.shared.resources import dataset
from pages.shared.tasks import background
from pages.shared.text import escape_markdown, show_error
from pages.shared.url import give, linked
from pages.shared.url_values import number, one_of

NUMBER, HINTS, ANSWERS, SCORES = "quiz-number", "quiz-hints", "quiz-answers", "quiz-scores"
SIDES = {"L": "Left", "R": "Right"}
KINDS = {"real": "Real", "optimised": "Optimised"}
MOST_NUMBER = 2**31 - 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Quiz:
    pairs: tuple[Pair, ...]
    rule: Score
    """Of always taking the brighter image."""


class Group(NamedTuple):
    """Quizzes whose scores are added."""

    checkpoint: str
    fingerprint: str
    """Two checkpoints may have one title."""
    layer: str
    hints: str


def quiz_view() -> None:
    answer, controls = st.columns([3, 1], gap="medium")
    with controls:
        asked = ask_layer()
        if asked is None:
            return
        channel = ask_channel(asked)
        linked("hints", HINTS, one_of(KINDS, "kind of hint"), "real", options=KINDS)
        hints = str(
            st.segmented_control(
                "Hints", list(KINDS), format_func=KINDS.__getitem__, key=HINTS, required=True, persist_state="session"
            )
        )
        linked("quiz", NUMBER, number(1, MOST_NUMBER, "the quiz"), 1)
        seed = int(
            st.number_input(
                "Quiz number",
                1,
                MOST_NUMBER,
                key=NUMBER,
                persist_state="session",
                help="Another number draws other images.",
            )
        )
        card = asked.reference.card
        this = (Group(card.title, card.fingerprint, asked.layer.name, hints), channel, seed)
        linked("answers", ANSWERS, _read_answers, "", of=this)
    with answer:
        try:
            if dataset_or_offer(asked.dataset, "draw images for the quiz", "quiz"):
                _quiz(asked, channel, hints, seed, this)
        except LabError as error:
            show_error(error)


def _read_answers(text: str) -> str:
    """`LRn`: two answers, L for the left image, R for the right one; n after the last one asks the next question."""
    if not re.fullmatch(rf"[LR]{{0,{QUESTIONS}}}n?", text):
        raise LabError(f"The link has the answers {text[:30]!r}, which is not a row of L and R: the quiz starts anew.")
    return text


def _quiz(asked: LayerQuery, channel: int, hints: str, seed: int, this: tuple[Group, int, int]) -> None:
    unit = unit_of(asked, channel, USUAL)
    if unit is None:
        return

    def work(report: Progress) -> Quiz:
        from core.features.units import real_images, responses_of

        (places, split), made = real_images(dataset(asked.dataset).test, asked.source.most), asked.checkpoint
        values = responses_of(made.model, made.card, asked.layer.name, split, report)[:, channel]
        # With other hints the same pairs would be known already, and the two kinds could not be compared.
        mixed = (seed, list(KINDS).index(hints))
        return Quiz(pairs=in_split(make_pairs(values, mixed), places), rule=brighter_rule(values, split.images, mixed))

    quiz: Quiz | None = background(
        f"quiz-{asked.key}-{channel}-{hints}-{seed}", "start-quiz", work, label="Draw the quiz"
    )
    if quiz is None:
        return
    state = str(st.session_state[ANSWERS])
    answers = [letter == "L" for letter in state.removesuffix("n")]
    if answers and not state.endswith("n"):
        _feedback(asked, quiz, answers, state)
    elif len(answers) < len(quiz.pairs):
        st.markdown(f"## Question {len(answers) + 1} of {len(quiz.pairs)}: which image excites the unit more?")
        with st.container(horizontal=True, gap="small"):
            for letter in "LR":
                _choice(asked, quiz.pairs[len(answers)], letter, state.removesuffix("n"))
        _hints(asked, unit, hints)
    else:
        found = score(quiz.pairs, answers)
        # Who takes a quiz again knows its answers.
        st.session_state.setdefault(SCORES, {}).setdefault(this, found)
        _result(asked, quiz, found, answers)


def _choice(asked: LayerQuery, pair: Pair, letter: str, before: str) -> None:
    side = SIDES[letter]
    clickable_image(
        enlarge(dataset(asked.dataset).test.images[pair.first if letter == "L" else pair.second], 2 * SIDE_PX),
        f"{side} image",
        key=f"quiz-{side.lower()}-{len(before)}",
        alt=f"{side} image of question {len(before) + 1}",
        on_click=give,
        args=(ANSWERS, before + letter),
        width=SIDE_PX,
        shortcut=side,
    )


def _feedback(asked: LayerQuery, quiz: Quiz, answers: list[bool], state: str) -> None:
    """Whether the last answer was right, with the unit's response to each image."""
    pair, last = quiz.pairs[len(answers) - 1], len(answers) == len(quiz.pairs)
    right = answers[-1] == pair.first_wins
    winner = SIDES["L" if pair.first_wins else "R"].lower()
    st.markdown(f"## {'Correct' if right else 'Wrong'}: the {winner} image excites the unit more")
    test = dataset(asked.dataset).test
    with st.container(horizontal=True, gap="small"):
        for side, place, response in zip(SIDES.values(), (pair.first, pair.second), pair.responses, strict=True):
            with column():
                show_rgb(test.images[place], alt=f"{side} image")
                st.caption(f"{side} image: response **{response:.3g}**")
    st.button(
        "Show the result" if last else "Next question",
        key=f"quiz-next-{len(answers)}",
        icon=":material/arrow_forward:",
        type="primary",
        shortcut="Enter",
        on_click=give,
        args=(ANSWERS, f"{state}n"),
    )
    st.caption(f"{score(quiz.pairs, answers).hits} of {len(answers)} correct so far.")


def _hints(asked: LayerQuery, unit: Unit, hints: str) -> None:
    st.markdown(f"**What drives {escape_markdown(unit.title[0].lower() + unit.title[1:])}**")
    with st.container(horizontal=True, gap="small"):
        if hints == "optimised":
            with column():
                show_rgb(from_png(unit.image), alt=f"Image optimised for {unit.title}")
                st.caption("**Optimised** for it")
            return
        test, classes = dataset(asked.dataset).test, asked.source.classes
        for places, word in ((unit.most, "most"), (unit.least, "least")):
            with column():
                show_real(test, places, classes, f"The nine test images that drive it {word}")
                st.caption(f"**Real** images that drive it {word}")


def _result(asked: LayerQuery, quiz: Quiz, found: Score, answers: list[bool]) -> None:
    st.markdown(f"## {found.hits} of {found.n} correct; always the brighter image: {quiz.rule.rate:.0%}")
    test = dataset(asked.dataset).test
    with st.container(horizontal=True, gap="small"):
        for pair, chosen in zip(quiz.pairs, answers, strict=True):
            winner, loser = (pair.first, pair.second) if pair.first_wins else (pair.second, pair.first)
            right = chosen == pair.first_wins
            with st.container(width=72, gap=None):
                show_rgb(test.images[winner], alt="It excites the unit more", width=64)
                show_rgb(test.images[loser], alt="It excites the unit less", width=64)
                st.caption("correct" if right else "**wrong**")
    st.caption("The upper image of each pair excites the unit more.")
    st.button("Another quiz", key="quiz-next", icon=":material/refresh:", type="primary", on_click=_next)
    totals: dict[Group, Score] = {}
    for (group, _, _), each in st.session_state[SCORES].items():
        totals[group] = totals.get(group, Score(hits=0, n=0)) + each
    show_table(
        {
            "Checkpoint": [escape_markdown(group.checkpoint) for group in totals],
            "Layer": [escape_markdown(group.layer) for group in totals],
            "Hints": [KINDS[group.hints] for group in totals],
            "Correct": [f"{each.hits} of {each.n}" for each in totals.values()],
            "95% interval": [f"{each.interval[0]:.0%} to {each.interval[1]:.0%}" for each in totals.values()],
        },
        key="quiz-scores",
    )
    low, high = quiz.rule.interval
    st.caption(
        f"The brighter-image rule: {low:.0%} to {high:.0%} on {quiz.rule.n:,} pairs. By chance it would be 50%. The table counts "
        "each quiz as it was first taken."
    )


def _next() -> None:
    give(NUMBER, st.session_state[NUMBER] % MOST_NUMBER + 1)

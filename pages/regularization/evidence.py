"""What a study says beside its verdicts: worth in training images, strengths, classes, and the networks themselves."""

from __future__ import annotations

import streamlit as st

from core.common.values import signed
from core.regularization.analysis import (
    ArmResult,
    StrengthPoint,
    baseline_point,
    class_changes,
    strengths,
    worth_images,
)
from core.regularization.arms import BASELINE, inside
from core.regularization.figures import sizes as sizes_figure
from core.regularization.figures_technique import class_changes as class_figure
from core.regularization.figures_technique import strength as strength_figure
from core.regularization.results import StudyResult
from core.regularization.techniques import ALL_TECHNIQUES, plain_number
from pages.shared.elements import show_figure
from pages.shared.registry import page_link
from pages.shared.resources import dark
from pages.shared.text import escape_markdown
from pages.shared.url import linked
from pages.shared.url_values import one_of, several_of, write_several

METRIC_PX = 160
SHOWN = 4
"""Arms in the figure of sizes to begin with: more lines than these cannot be told apart at a glance."""


def sizes(result: StudyResult, rows: list[ArmResult], size: int, key: str) -> None:
    """Accuracy against the number of training images, and what a technique is worth in them."""
    if len(result.config.train_sizes) == 1:
        st.caption(
            "This study has one training-set size. With several, this shows what a technique is worth in labelled images."
        )
        return
    titles = {row.arm: row.title for row in rows if row.arm != BASELINE}
    best = sorted(titles, key=lambda arm: -max(row.verdict.effect or -1.0 for row in rows if row.arm == arm))[:SHOWN]
    linked("arms-shown", f"shown-{key}", several_of(titles, "arm", len(titles)), best, write=write_several)
    shown = st.multiselect(
        "Arms",
        list(titles),
        format_func=lambda arm: _unique(titles, arm),
        key=f"shown-{key}",
        wrap=True,
        persist_state="session",
    )
    show_figure(
        sizes_figure(rows, shown, dark=dark()),
        key=f"sizes-{key}",
        alt=f"Accuracy against the number of training images, for no regularization and {len(shown)} arms",
    )
    sentences = [
        f"With {inside(titles[arm])}, {size:,} images do as well as about {_round(count):,} without."
        for arm in shown
        if (count := worth_images(rows, arm, size)) is not None
    ]
    if sentences:
        st.markdown("\n".join(f"- {sentence}" for sentence in sentences))
    else:
        st.caption(
            f"None of these arms is between two measured sizes of no regularization at {size:,} images: choose another size "
            "above."
        )


def strength(result: StudyResult, size: int, key: str) -> None:
    """How validation accuracy depends on the strength of one technique."""
    points = {name: strengths(result, name, size) for name in ALL_TECHNIQUES}
    several = [name for name, found in points.items() if len(found) > 1]
    if not several:
        st.caption(
            "No technique was trained with more than one strength yet. Give it several, such as 0.1 0.3 0.5, and the best on "
            "validation stands for it."
        )
        return
    left, right = st.columns(2, gap="medium")
    linked("technique", f"technique-{key}", one_of(several, "technique"), several[0])
    name = left.selectbox(
        "Technique",
        several,
        format_func=lambda name: ALL_TECHNIQUES[name].title,
        key=f"technique-{key}",
        persist_state="session",
    )
    found = points[name]
    options = [plain_number(point.strength) for point in found]
    best = max(range(len(found)), key=lambda place: found[place].val_mean)
    parse = one_of(options, "strength")
    linked("strength", f"strength-{key}", parse, options[best], of=(size, name), options=options)  # a study grows
    picked = right.select_slider(
        f"Strength ({ALL_TECHNIQUES[name].unit})", options, key=f"strength-{key}", persist_state="session"
    )
    point = found[options.index(picked)]
    base = baseline_point(result, size)
    with st.container(horizontal=True, gap="medium"):
        for label, value, delta in _figures(point, base):
            st.metric(label, value, delta, delta_color="off", delta_arrow="off", width=METRIC_PX)
    st.caption(
        f"Mean of {point.seeds} {'seeds' if point.seeds > 1 else 'seed'}; under it, the difference to no regularization."
    )
    show_figure(
        strength_figure(found, base, name, dark=dark(), at=point.strength),
        key=f"strengths-{key}-{name}",
        alt=f"Accuracy against the strength of {ALL_TECHNIQUES[name].title}; best on validation: {options[best]}",
    )


def _figures(point: StrengthPoint, base: StrengthPoint | None) -> list[tuple[str, str, str | None]]:
    found = []
    for label, field, differs, unit in (
        ("Validation accuracy", "val_mean", False, "%"),
        ("Training accuracy", "train_mean", False, "%"),
        ("Gap", "gap", True, " points"),
    ):
        value, other = getattr(point, field), getattr(base, field, None)
        shown = "–" if value is None else (signed(100 * value) if differs else f"{100 * value:.1f}") + unit
        delta = None if value is None or other is None else f"{signed(100 * (value - other))} points"
        found.append((label, shown, delta))
    return found


def classes(result: StudyResult, rows: list[ArmResult], size: int, key: str) -> None:
    """What one arm does to each class."""
    titles = {row.arm: row.title for row in rows if row.arm != BASELINE}
    if not titles or not any(item.test_per_class for item in result.members):
        st.caption("Classes are compared on the test images, which are looked at once, when all runs are over.")
        return
    linked("arm", f"classes-{key}", one_of(titles, "arm"), next(iter(titles)))
    arm = st.selectbox(
        "Arm",
        list(titles),
        format_func=lambda arm: _unique(titles, arm),
        key=f"classes-{key}",
        persist_state="session",
    )
    found = class_changes(result, arm, size)
    if not found:
        st.caption("This arm has no seed in common with no regularization that was measured on the test images.")
        return
    show_figure(
        class_figure(found, dark=dark()),
        key=f"class-changes-{key}",
        alt=f"Change of accuracy by class with {titles[arm]}: {found[0].label} {100 * found[0].mean:+.1f} points, "
        f"{found[-1].label} {100 * found[-1].mean:+.1f} points",
    )
    st.caption(
        f"Accuracy of each class minus that of no regularization, with {size:,} training images. A dot is a seed. With "
        f"{len(found[0].of_seeds)} seeds, all dots of a class lie on one side by luck alone in "
        f"{100 * min(1.0, 2.0 ** (1 - len(found[0].of_seeds))):.0f}% of classes."
    )


def checkpoints(result: StudyResult, rows: list[ArmResult]) -> None:
    """A link to the network of every arm."""
    found = [(row, _checkpoint(result, row)) for row in rows]
    if not any(name for _, name in found):
        st.caption(
            "There is no checkpoint to open here: a study that ships comes as figures alone; one that is made on this machine "
            "keeps the network of every run."
        )
        return
    st.caption("Try your own images on the network of each arm's chosen strength and first seed.")
    for row, name in found:
        if name:
            with st.container(horizontal=True, gap="medium"):
                link = {"checkpoint": name}
                page_link("images", escape_markdown(row.label), icon=":material/image_search:", view="Classify", **link)
                page_link("attribution", "Explain a prediction", view="Explain", **link)


def _checkpoint(result: StudyResult, row: ArmResult) -> str:
    runs = result.finished_runs(row.variant, row.train_size)
    return next((item.checkpoint for item in runs if item.checkpoint), "")


def _unique(titles: dict[str, str], arm: str) -> str:
    """An arm's title; as it is written where two arms share one."""
    return titles[arm] if list(titles.values()).count(titles[arm]) == 1 else arm


def _round(count: float) -> int:
    """To two digits: a straight line between sizes promises no more."""
    return int(float(f"{count:.2g}"))

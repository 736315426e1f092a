"""Augmentation / Effect, New map and Maps: what transforms do to a checkpoint and to each of its classes."""

from __future__ import annotations

from functools import partial

import streamlit as st

from core.augmentation.config import MapConfig
from core.augmentation.figures import class_heat, strongest
from core.augmentation.kind import MAP
from core.augmentation.results import LOST_POINTS, EffectMap, read_map
from core.checkpoints.store import CheckpointRef, find_checkpoint
from core.common.errors import LabError
from core.common.values import signed
from core.data.dataset import ImageCard
from core.inference.evaluation_store import card_accuracy
from core.jobs import Run, RunStore
from core.training.augmentation import TRANSFORMS
from pages.augmentation.effects import effects_map
from pages.augmentation.help import ADDED_LOSS, AFFINITY
from pages.shared.checkpoint_picker import checkpoint_picker
from pages.shared.cost import answer_s, show_time
from pages.shared.elements import download, folded, show_figure, show_table
from pages.shared.network_query import FIRST
from pages.shared.registry import page_link
from pages.shared.resources import dark
from pages.shared.run_controls import note_nothing_yet, start_job_button
from pages.shared.settings_form import settings_form
from pages.shared.tables import csv_bytes, file_stem, json_bytes
from pages.shared.text import escape_markdown, label_error, show_error
from pages.shared.url import give, linked
from pages.shared.url_values import one_of
from pages.shared.warmup import until_ready

CHOSEN, STRENGTH = "augment-chosen", "augment-by-strength"
LABELS = {"images": "Test images", "train_images": "Training images", "seed": "Seed"}


def read(runs: RunStore, run_id: str) -> EffectMap:
    """What there is of a map. Raises LabError."""
    return read_map(runs.folder(run_id), runs.config(run_id))


def effect_view(found: EffectMap, key: str, run: Run | None) -> None:
    if not found.transforms:
        note_nothing_yet(run, "No transform is measured yet.", "The plain images are answered first.")
        return
    st.markdown(f"## {escape_markdown(found.answer)}")
    names = [item.transform for item in found.transforms]
    worst = min(found.effects, key=lambda effect: effect.worst.points).step.transform
    linked("transform", CHOSEN, one_of(names, "transform"), worst, of=key, options=names)
    effects_map(f"effects-{key}", found, st.session_state[CHOSEN], dark=dark(), on_choose=partial(give, CHOSEN))
    made = " · ".join(escape_markdown(found.made[name]) for name in ("hardware", "date") if found.made.get(name))
    st.caption(f"**Affinity**: {AFFINITY} **Added loss**: {ADDED_LOSS}")
    st.caption(
        f"{escape_markdown(found.title)}, {100 * found.transforms[0].accuracy:.1f}% on {found.config.images:,} plain test images "
        f"in one view{_listed(found)}. Added loss is of {found.config.train_images:,} training images. Larger dots are stronger; "
        f"axes by square root. {made}"
    )
    _classes(found, key)
    folded("All figures of one transform", partial(_table, found, key), key=f"one-{key}", param="figures")
    folded("Files", partial(_files, found, key), key=f"files-{key}", param="files", icon=":material/download:")


def _listed(found: EffectMap) -> str:
    """Why lists of checkpoints say another accuracy, in a clause; empty where they say none."""
    try:
        card = find_checkpoint(found.config.checkpoint).card
    except LabError:
        return ""
    known = card_accuracy(card)
    if known is None or found.config.fingerprint not in ("", card.fingerprint):
        return ""
    views = "in one view" if known.tta == "none" else "each in several views"
    return f" (lists say {100 * known.accuracy:.1f}%, of {known.n:,} images {views})"


def _classes(found: EffectMap, key: str) -> None:
    st.markdown("#### Which class suffers?")
    hidden = found.hidden
    if hidden:
        first = [f"{escape_markdown(words)} hides {escape_markdown(label)}" for words, label in hidden]
        more = f", and {len(first) - 4} more transforms hide a class" if len(first) > 4 else ""
        st.markdown(f"From these strengths on: {'; '.join(first[:4])}{more}.")
    else:
        st.markdown(f"No class surely loses more than {LOST_POINTS:g} points of accuracy.")
    if found.safe:
        st.markdown(f"No class surely loses accuracy with: {', '.join(title.lower() for title in found.safe)}.")
    strengths = [f"{value:g}" for value in sorted(found.config.strengths)]
    linked("strength", STRENGTH, one_of(strengths, "strength"), strengths[-1], of=key, options=strengths)
    strength = float(
        st.segmented_control("Strength", strengths, key=STRENGTH, required=True, persist_state="session") or 1.0
    )
    show_figure(
        class_heat(found, strength, dark=dark()),
        key=f"heat-{key}",
        alt=f"Points that each class loses at strength {strength:g}: "
        + "; ".join(
            f"{effect.words}: {effect.worst.label} {signed(effect.worst.points, 0)}"
            for effect in strongest(found, strength)
        ),
    )
    st.caption(
        f"A number: the accuracy on the class surely falls by more than {LOST_POINTS:g} points. It says what this network no "
        "longer recognises; whether a person still does, the images say."
    )


def _table(found: EffectMap, key: str) -> None:
    names = [item.transform for item in found.transforms]
    name = st.selectbox(
        "Transform", names, format_func=lambda name: TRANSFORMS[name].title, key=CHOSEN, persist_state="session"
    )
    item = next(item for item in found.transforms if item.transform == name)
    show_table(
        {
            "Strength": [escape_markdown(effect.words) for effect in item.effects],
            "Affinity, points": [
                f"{signed(effect.affinity)} ({signed(effect.low)} to {signed(effect.high)})" for effect in item.effects
            ],
            "Added loss, nats": [signed(effect.added_loss, 2) for effect in item.effects],
            "Worst class, points": [
                f"{escape_markdown(effect.worst.label)} {signed(effect.worst.points, 0)} "
                f"({signed(effect.worst.low, 0)} to {signed(effect.worst.high, 0)})"
                for effect in item.effects
            ],
        },
        key=f"effects-table-{key}",
    )
    scale = TRANSFORMS[name].scale
    st.caption(f"Strengths 0 to 1: {scale}." if scale else "This transform is on or off.")


def _files(found: EffectMap, key: str) -> None:
    name = f"augmentation-{file_stem(found.title, 'checkpoint')}"
    rows = (
        {"pipeline": effect.pipeline, "accuracy": effect.accuracy, "affinity": effect.affinity}
        | {"low": effect.low, "high": effect.high, "added_loss": effect.added_loss}
        | {f"{item.label} points": item.points for item in effect.classes}
        for effect in found.effects
    )
    with st.container(horizontal=True, gap="small"):
        download("All numbers and images (JSON)", json_bytes(found.to_dict()), f"{name}.json", key=f"json-{key}")
        download("All effects (CSV)", csv_bytes(rows), f"{name}.csv", key=f"csv-{key}")


def new_map_view() -> None:
    reference = checkpoint_picker("Checkpoint", "checkpoint", param="checkpoint", prefer=FIRST)
    if reference is None:
        return
    with st.container(horizontal=True, gap="small"):
        values = settings_form(
            MapConfig, ("images", "train_images", "seed"), MapConfig().to_dict(), "augment-map-{}", labels=LABELS
        )
    st.text_input("Name", key="augment-map-name", placeholder=reference.label)
    card, config = reference.card, None
    try:
        config = MapConfig(
            checkpoint=reference.name,
            model=card.model,
            dataset=card.image_data.name,
            fingerprint=card.fingerprint,
            **values,
        )
    except LabError as error:
        show_error(label_error(error, LABELS))
    if config is not None:
        _time(config, reference)
    start_job_button("Make the map", MAP, config, key="start-map", name_key="augment-map-name")
    points = MapConfig().points
    st.caption(
        f"It answers the images once for each of {points} transforms and strengths. A stopped map goes on where it was."
    )
    page_link("augmentation", "Look at one that ships", view="Effect")


def _time(config: MapConfig, reference: CheckpointRef) -> None:
    """What the map will take."""
    until_ready()
    try:
        from core.augmentation.cost import map_seconds

        change_s = _change_s(reference.card.dataset.name, _card=reference.card.image_data)
        seconds = map_seconds(config, change_s, answer_s(reference))
    except LabError as error:
        show_error(error)
        return
    show_time(seconds, config.dataset)


@st.cache_resource(max_entries=32, show_spinner="Measuring how fast this machine is")
def _change_s(dataset: str, *, _card: ImageCard) -> float:
    from core.augmentation.cost import change_seconds

    return change_seconds(_card)

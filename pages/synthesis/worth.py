"""Synthesis / Worth: what synthetic images are worth as training data, in the study that ships or in one of this machine."""

from __future__ import annotations

from functools import partial

import streamlit as st

from core.common.errors import LabError
from core.data import dataset_sizes, dataset_title, list_generated
from core.data.generated import read_card
from core.jobs import Run
from core.jobs.store import MAX_NAME
from core.models import MODELS
from core.regularization.figures import sizes as sizes_figure
from core.regularization.kind import STUDY
from core.regularization.results import StudyResult
from core.regularization.store import read_study
from core.regularization.study import StudyConfig
from core.regularization.techniques import IMAGE_MODELS
from core.synthesis.worth import (
    BATCH_SIZE,
    SHIPPED,
    SIZES,
    STEPS,
    SYNTHETIC_IMAGES,
    TITLES,
    WITH,
    WORTH,
    Worth,
    is_worth,
    read_worth,
    round_labels,
    worth_rows,
    worth_study,
)
from pages.shared.elements import download, folded, show_figure, show_table
from pages.shared.registry import page_link
from pages.shared.resources import dark, runs_now, store
from pages.shared.run_controls import job_line, start_job_button
from pages.shared.settings_form import settings_form
from pages.shared.study_cost import check_sizes, show_cost
from pages.shared.tables import file_stem, json_bytes
from pages.shared.text import UNBROKEN, escape_markdown, label_error, show_error
from pages.shared.url import linked
from pages.shared.url_values import one_of

OFFERED_SIZES = (100, 300, 1000, 3000, 10_000, 0)
FIELDS = ("model", "seeds", "steps")
LABELS = {"model": "Classifier", "seeds": "Seeds", "steps": "Steps", "train_sizes": "Real images"}
COLOURS = {"helps": "green", "hurts": "red"}
NAMES = {"helps": "helps", "hurts": "hurts", "noise": "within seed noise", "none": "no verdict", "baseline": "–"}


def render() -> None:
    """The answer of one study, and the form that starts another."""
    studies = {run.id: run for run in runs_now() if run.kind == STUDY.name and is_worth(run.config)}
    names = {SHIPPED: "Example"} if SHIPPED in WORTH.shipped_names() else {}
    names |= {run.id: run.name for run in studies.values()}
    if names:
        linked("worth", "worth-study", one_of(list(names), "study"), next(iter(names)))
        chosen = st.selectbox(
            "Study",
            list(names),
            format_func=lambda name: names.get(name, name),
            key="worth-study",
            persist_state="session",
        )
        try:
            result = WORTH.load_shipped(chosen) if chosen == SHIPPED else read_study(store(), chosen)
            _study(result, chosen, studies.get(chosen))
        except LabError as error:
            show_error(error)
    else:
        st.info("No study of synthetic images is here yet: generate images, then start one below.")
    folded("Start such a study", _form, key="worth-start", param="new", icon=":material/add:")


def _study(result: StudyResult, key: str, run: Run | None) -> None:
    found = read_worth(result)
    st.markdown(f"## {escape_markdown(found.headline)}")
    if run is not None and run.status != "finished":
        job_line(run)
    rows = worth_rows(result)
    if any(row.mean is not None for row in rows):
        figure = sizes_figure(rows, list(dict.fromkeys(row.arm for row in rows)), dark=dark())
        figure.update_xaxes(title_text="real training images to begin with")
        show_figure(
            figure,
            key=f"worth-figure-{key}",
            alt="Accuracy on real images: " + "; ".join(_spoken(found)),
        )
    if found.score_words:
        st.markdown(escape_markdown(found.score_words))
    if found.leak:
        st.warning(escape_markdown(found.leak), icon=":material/flag:")
    st.caption(escape_markdown(_made_of(result, found)))
    folded(
        "All figures",
        partial(_table, found, key),
        key=f"worth-table-{key}",
        param="table",
        icon=":material/table_rows:",
    )
    if run is not None:
        page_link("regularization", "The whole study", view="Studies", study=run.id)


def _spoken(found: Worth) -> list[str]:
    """Every arm at every size, for those who do not see the figure."""
    return [
        f"{TITLES[arm.kind].lower()} {100 * arm.mean:.1f}% at {at.train_size:,}"
        for at in found.sizes
        for arm in at.arms
        if arm.mean is not None
    ]


def _made_of(result: StudyResult, found: Worth) -> str:
    config = result.config
    parts = [
        f"{MODELS[config.model].title} on {dataset_title(config.dataset)}, {found.title}",
        f"{config.steps:,} steps for every arm",
        "1 seed" if config.seeds == 1 else f"{config.seeds} seeds",
        f"measured on the {found.split} images; bands are 95% intervals",
    ]
    return " · ".join([*parts, *(result.made[name] for name in ("hardware", "date") if result.made.get(name))])


def _table(found: Worth, key: str) -> None:
    rows = [(at, arm) for at in found.sizes for arm in at.arms]
    columns = {
        "Arm": [f"{TITLES[arm.kind]}, {at.train_size:,}" for at, arm in rows],
        "Real images": [f"{arm.real:,}" for _, arm in rows],
        "Synthetic images": [f"{arm.synthetic:,}" for _, arm in rows],
        "Accuracy": [_accuracy(arm.mean, arm.half_width) for _, arm in rows],
        "Effect (points)": [arm.verdict.figures or "–" for _, arm in rows],
        "Verdict": [_verdict(arm.verdict.kind) for _, arm in rows],
        "Worth in labels": [
            f"+{round_labels(at.labels):,}" if arm.kind == WITH and at.labels else "–" for at, arm in rows
        ],
    }
    show_table(
        columns
        | {name: [cell.replace(" ", UNBROKEN) for cell in columns[name]] for name in ("Accuracy", "Effect (points)")},
        key=f"worth-{key}",
    )
    st.caption(
        "Effect: difference to the real images alone, with 95% simultaneous intervals over seeds. Worth in labels: how many more "
        "real images do as well, read off their curve."
    )
    download(
        "All figures (JSON)",
        json_bytes(found.to_dict()),
        f"worth-{file_stem(found.title, 'study')}.json",
        key=f"json-{key}",
    )


def _accuracy(mean: float | None, half_width: float | None) -> str:
    if mean is None:
        return "–"
    return f"{100 * mean:.1f}" + ("" if half_width is None else f" ± {100 * half_width:.1f}") + "%"


def _verdict(kind: str) -> str:
    return f":{COLOURS[kind]}[**{NAMES[kind]}**]" if kind in COLOURS else NAMES[kind]


def _form() -> None:
    """A study of one of the sets of this machine."""
    sets = {source.name: source.title for source in list_generated()}
    if not sets:
        st.caption("Generate a set of images first: it appears here.")
        return
    name = st.selectbox("Synthetic images", list(sets), format_func=lambda each: sets.get(each, each), key="worth-set")
    config = None
    try:
        card = read_card(name)
        room = dataset_sizes(card.base).get("train", 0)
        count = st.number_input(
            "How many are added",
            min_value=1,
            max_value=card.count,
            value=min(SYNTHETIC_IMAGES, card.count),
            key=f"worth-count-{name}",
            help="The control arm gets as many extra real images.",
        )
        usual = [size for size in SIZES if size + count <= room]
        chosen = st.multiselect(
            LABELS["train_sizes"],
            [size for size in OFFERED_SIZES if size + count <= room],
            default=usual,
            format_func=lambda size: f"{size or room - count:,}",
            key=f"worth-sizes-{name}-{count}",
        )
        defaults = StudyConfig(batch_size=BATCH_SIZE, steps=STEPS).to_dict()
        with st.container(horizontal=True, gap="small"):
            values = settings_form(
                StudyConfig,
                FIELDS,
                defaults,
                "worth-{}",
                labels=LABELS,
                options={"model": IMAGE_MODELS},
                words={model: MODELS[model].title for model in IMAGE_MODELS},
                increments={"steps": 500},
                width=160,
            )
        config = worth_study(name, chosen, count, **values)
        check_sizes(config)
        show_cost(config)
        if config.seeds == 1:
            st.caption("One seed gives no verdict: take 3.")
    except LabError as error:
        config = None
        show_error(label_error(error, LABELS))
    st.text_input(
        "Name of the study", f"Worth of {sets[name]}"[:MAX_NAME], key=f"worth-name-{name}", max_chars=MAX_NAME
    )
    start_job_button("Start the study", STUDY, config, key="start-worth", name_key=f"worth-name-{name}")

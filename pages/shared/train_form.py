"""The settings of a new run: a recipe, the few that matter, and all others in groups under Advanced."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.checkpoints.backbone import BACKBONES
from core.checkpoints.store import find_checkpoint
from core.common.commands import changed_settings
from core.common.devices import offered_devices
from core.common.errors import LabError
from core.common.settings import choices, field_help, fields_of
from core.common.values import plural
from core.data import (
    DATASETS,
    FOLDER_PREFIX,
    GENERATED_PREFIX,
    TEXT_PREFIX,
    canonical_name,
    dataset_title,
    list_generated,
    stored_texts,
)
from core.data.folder import IMAGE_SIZE, parse_name
from core.models import MODELS
from core.training.config import AUGMENTATION, CLASSIFIERS_ONLY, IMAGES_ONLY, TEXT_ONLY, TrainConfig
from core.training.estimate import training_examples
from core.training.recipes import (
    MOST_EPOCHS,
    base_recipe,
    describe_training,
    evaluations_for,
    fit_to_data,
    measured_result,
)
from core.training.windows import text_windows
from pages.shared.copy_link import not_in_link
from pages.shared.dataset_field import (
    FOLDER,
    FOLDER_KEY,
    TEXT_FILE,
    address_word,
    allowed_name,
    dataset_field,
    folder_field,
    size_field,
    size_query,
    text_card,
    text_field,
    text_upload,
)
from pages.shared.registry import page_link
from pages.shared.resources import text_dataset
from pages.shared.settings_form import label_of, settings_form
from pages.shared.start_field import START_PARAM, start_field
from pages.shared.text import NATS, size
from pages.shared.url import give
from pages.shared.url_settings import PARAM, Changes, keep_settings, linked_settings, to_text, valid_changes

FIELDS = fields_of(TrainConfig)
SHOWN = ("model", "recipe", "init_from", "train_layers", "dataset", "epochs", "seed", "device", "model_config")
GROUPS: dict[str, tuple[str, ...]] = {
    "Optimizer": (
        "optimizer",
        "lr",
        "momentum",
        "bias_lr",
        "head_lr",
        "body_lr_factor",
        "schedule",
        "warmup",
        "grad_clip",
    ),
    "Regularization": (
        *("weight_decay", "l1", "label_smoothing"),
        *("average", "average_decay", "average_every", "early_stopping"),
    ),
    "Augmentation": AUGMENTATION,
    "Data and speed": (
        *(
            "train_images",
            "train_on",
            "extra_dataset",
            "extra_images",
            "extra_only",
            "balance",
            "batch_size",
            "window",
            "state_reset",
        ),
        *("grad_accumulation", "devices", "precision", "compile"),
    ),
    "Evaluation and saving": ("eval_every", "probe_images", "keep", "snapshots", "tta"),
}
"""All fields that are not SHOWN. One that makes others idle stands before them."""
OTHER_TASK = {
    "images": TEXT_ONLY,
    "text": (*IMAGES_ONLY, "head_lr"),
    "generation": (*TEXT_ONLY, *CLASSIFIERS_ONLY, "head_lr", "probe_images", "early_stopping"),
}
"""Fields that mean nothing for a task."""
FEW_RUN_STEPS = 50
"""A whole run with fewer on images is warned of."""
FEW_STEPS = 20
"""Of an epoch: a text that gives fewer is one to learn by heart."""
FITTED = ("epochs", "eval_every")
"""What the form proposes for the size of the dataset, until a person says something else."""
LABELS = {
    "train_images": "Images (0 = all)",
    "balance": "Balance classes",
    "extra_dataset": "Extra images of",
    "extra_images": "Extra images (0 = all)",
    "extra_only": "Extra images only",
    "grad_accumulation": "Pieces per batch",
    "devices": "Devices",
    "lr": "Learning rate",
    "bias_lr": "Rate of biases",
    "head_lr": "Rate of the head",
    "body_lr_factor": "Share of rate for the body",
    "warmup": "Warm-up",
    "grad_clip": "Clip gradients at",
    "l1": "L1 penalty",
    "crop_padding": "Crop shift (px)",
    "auto_augment": "Auto-augment",
    "augmentation": "Pipeline",
    "augmix": "AugMix severity",
    "consistency": "Consistency weight",
    "noise": "Gaussian noise",
    "cutout": "Cutout (px)",
    "mixup": "Mixup (alpha)",
    "cutmix": "CutMix (alpha)",
    "average": "Average weights",
    "average_decay": "Decay of average",
    "average_every": "Average every",
    "early_stopping": "Early stopping",
    "eval_every": "Evaluate every",
    "probe_images": "Probe images",
    "keep": "Keep weights",
    "tta": "Test-time views",
    "compile": "torch.compile",
    "window": "Window (characters)",
}
"""Where a field's own name is not the words for it."""
INCREMENTS = {"l1": 1e-5, "mixup": 0.1, "cutmix": 0.1}
"""What plus and minus add to a field that is usually 0, where a hundredth would be far too much or little."""
SNAPSHOTS = {"images": 6, "text": 0, "generation": 0}
"""What the form proposes. A recipe keeps none: a study is hundreds of runs."""
RESIZING = ("widths", "width")
"""Settings of a model that change how many weights it has."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """What the form begins with: the recipe, fitted to the dataset."""

    task: str
    config: TrainConfig
    recipe: TrainConfig
    examples: int | None
    """Images or characters of an epoch, where that is another dataset than the recipe's and they are known."""

    @property
    def key(self) -> str:
        return _key_of(self.recipe)

    def idle(self, name: str, chosen: Mapping[str, Any]) -> bool:
        """Whether a field does nothing beside what was chosen in those before it."""
        if name == "consistency" and not chosen["augmix"]:
            return True
        if name in AUGMENTATION:
            return self.recipe.train_layers == "head"
        if name == "body_lr_factor":
            return not self.recipe.init_from or self.recipe.train_layers == "head"
        if name == "head_lr":
            return bool(chosen["optimizer"] != "muon")
        if name == "bias_lr":
            return chosen["optimizer"] not in ("muon", "sgd")
        if name in ("extra_images", "extra_only"):
            return not chosen["extra_dataset"]
        if name == "state_reset":
            return not MODELS[self.recipe.model].recurrent
        return name in ("average_decay", "average_every") and chosen["average"] == "none"

    def changed(self, names: list[str]) -> list[str]:
        """Those of the fields that a person has changed, as their widgets will show them."""
        found: dict[str, Any] = {}
        for name in names:
            begins = getattr(self.config, name)
            found[name] = begins if self.idle(name, found) else st.session_state.get(self.key.format(name), begins)
        return [name for name in names if found[name] != getattr(self.config, name)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """A dataset, or what keeps one from being used."""

    name: str = ""
    problem: str = ""
    not_in_link: str = ""
    """What the link does not carry of it, in a sentence."""

    def checked(self) -> str:
        """Its name. Raises LabError where there is none."""
        if not self.name:
            raise LabError(self.problem)
        return self.name


def train_form(
    advanced: DeltaGenerator, task: str = "images", *, in_address: bool = True
) -> tuple[TrainConfig, dict[str, Any]]:
    """The form as a checked config, and what the form begins with for each changed setting in `advanced`, where those are that
    few people change. Raises LabError for a bad value.

    in_address: whether the choices stand in the address.
    """
    recipe = start_field(task, in_address=in_address)
    begin, names = _begin(task, recipe), _names(task)
    if in_address:
        fill = partial(_fill, task, begin)
        linked_settings(_set_key(task), _key_of(recipe), begin, names, fill, shows=partial(_shows, task, begin))
    about, more = st.container(), advanced.container()
    changes: dict[str, Any] = {"dataset": "", "device": ""}
    left, right = st.columns(2)
    with right:
        changes["device"] = st.selectbox(
            "Device", offered_devices(), key="device", help=field_help(FIELDS["device"]), persist_state="session"
        )
    data = _dataset(task, recipe, left, in_address)
    card = st.container(gap="xsmall")
    proposal = _proposal(task, recipe, data.name)
    left, right = st.columns(2)
    for column, name in ((left, "epochs"), (right, "seed")):
        with column:
            changes |= _fields(proposal, [name], {"epochs": 1.0}, width="stretch")
    if changes["epochs"] == proposal.config.epochs != recipe.epochs:
        own, what = DATASETS[recipe.dataset].title, "characters" if task == "text" else "images"
        st.caption(
            f"Suggested for {proposal.examples:,} training {what}: {proposal.config.epochs:g} epochs instead of the recipe's "
            f"{recipe.epochs:g} on {own}."
        )
    with advanced:
        boxes = {group: _group(proposal, group, changes) for group in GROUPS if _grouped(task, group)}
    changed = {name: changes[name] for name in names if changes[name] != getattr(proposal.config, name)}
    if changed.keys() - {"device"}:
        st.button(
            "Back to the recipe",
            key="back-to-recipe",
            icon=":material/restart_alt:",
            type="tertiary",
            on_click=_fill,
            args=(task, begin, {"device": changes["device"]}),
        )
    if in_address:
        valid = valid_changes(changed, proposal.config, names, partial(_shows, task, begin))
        keep_settings(_set_key(task), proposal.key, valid)
        invalid = "A value that is not valid is not in the link." if len(valid) < len(changed) else ""
        for sentence in filter(None, (data.not_in_link, invalid)):
            not_in_link(sentence)
    else:
        st.session_state.pop(_set_key(task), None)  # the form may be changed here: the next address fills it again
    said, words = "", [MODELS[recipe.model].description]
    try:
        # Checked last: an error before would take the fields below it away, and what was entered there with them.
        config = recipe.replace(**changes | {"dataset": data.checked()})
        words.append(f"This run: {describe_training(config)}")
        said = measured_result(config)
    finally:
        more.caption(" ".join(words))
        about.caption(said or words[-1], help=NATS if " nats" in said else None)
    if data.name.startswith(TEXT_PREFIX):
        _text_card(card, data.name, config)
    elif task != "text" and (examples := examples_of(config)):
        steps = math.ceil(config.epochs * (examples // min(config.batch_size, examples)))
        if steps < FEW_RUN_STEPS:
            card.warning(
                f"This run takes only {plural(steps, 'step')}, which teaches little: choose more epochs, a smaller batch, or add "
                "images."
            )
    if config.snapshots:
        boxes["Evaluation and saving"].caption(_room(config))
    return config, {name: getattr(proposal.config, name) for name in changed if name not in SHOWN}


def _key_of(config: TrainConfig) -> str:
    """Of the widgets. One per model and recipe, or checkpoint: another brings its own values, and coming back finds the edited
    ones."""
    start = "" if config.init_from in ("", config.model) else f"-{config.init_from}"
    return f"{{}}-{config.model}-{config.recipe}{start}"


def _proposal(task: str, recipe: TrainConfig, dataset: str) -> Proposal:
    """The recipe with what the form proposes for a dataset; an empty or wrong name proposes nothing."""
    examples = None if dataset == recipe.dataset else _examples(dataset, recipe.train_on)
    fitted = fit_to_data(recipe, examples) if examples else recipe
    key, state = _key_of(recipe), st.session_state
    epochs = state.get(key.format("epochs")) if state.get(f"{key.format('epochs')}-edited") else None
    if examples and epochs and 0 < epochs <= MOST_EPOCHS:
        fitted = fitted.replace(eval_every=evaluations_for(recipe, epochs))
    for name in FITTED:
        if not state.get(f"{key.format(name)}-edited"):
            state[key.format(name)] = getattr(fitted, name)
    config = fitted.replace(snapshots=SNAPSHOTS[task])
    return Proposal(task=task, recipe=recipe, config=config, examples=examples)


def _begin(task: str, recipe: TrainConfig) -> TrainConfig:
    """What the form begins with on the dataset of the recipe."""
    return recipe.replace(snapshots=SNAPSHOTS[task])


def _names(task: str) -> list[str]:
    """The fields whose changes the address carries, each before those that depend on it."""
    return ["epochs", "seed", "device", *(name for group in GROUPS for name in _grouped(task, group))]


def _grouped(task: str, group: str) -> list[str]:
    """The fields of a group that mean something for the task."""
    return [name for name in GROUPS[group] if name not in OTHER_TASK[task]]


def _set_key(task: str) -> str:
    return f"{task}-set"


def _shows(task: str, begin: TrainConfig, config: TrainConfig) -> bool:
    """Whether the form offers such choices."""
    offered = config.device in offered_devices() and config.optimizer in _optimizers(task)
    return offered and config.extra_dataset in _extra_sets(begin)


def _extra_sets(begin: TrainConfig) -> dict[str, str]:
    """What may be added to the images of a dataset, with its title. Folders are not offered: a server that is open to others
    must not read any."""
    sets = {"": "None"} | {source.name: source.title for source in list_generated()}
    return sets | ({begin.extra_dataset: dataset_title(begin.extra_dataset)} if begin.extra_dataset else {})


def _optimizers(task: str) -> list[str]:
    return [name for name in choices(FIELDS["optimizer"]) if not (name == "muon" and task == "text")]


@st.cache_data(ttl=60, max_entries=32, show_spinner=False)
def _examples(dataset: str, train_on: str) -> int | None:
    """How many images or characters an epoch has: of a folder, whose files are counted, not at every touch of the form."""
    return training_examples(TrainConfig(dataset=dataset, train_on=train_on)) if dataset else None


def examples_of(config: TrainConfig) -> int | None:
    """The same for a config, as the form counted it."""
    return _examples(config.dataset, config.train_on)


def _note_edit(key: str) -> None:
    st.session_state[f"{key}-edited"] = True


def _fields(
    proposal: Proposal, names: list[str], increments: Mapping[str, float] = INCREMENTS, **settings: Any
) -> dict[str, Any]:
    text = proposal.task == "text"
    extra = _extra_sets(proposal.recipe)
    return settings_form(
        TrainConfig,
        names,
        {name: getattr(proposal.config, name) for name in names},
        proposal.key,
        labels=LABELS | ({"batch_size": "Streams"} if text else {}),
        options={"optimizer": _optimizers(proposal.task), "extra_dataset": list(extra)},
        words=extra,
        increments=increments,
        disabled=proposal.idle,
        on_change=_note_edit,
        **settings,
    )


def _group(proposal: Proposal, group: str, changes: dict[str, Any]) -> DeltaGenerator:
    """One group of fields; how many were changed stands in its title. Adds their values to `changes`."""
    names = _grouped(proposal.task, group)
    changed = proposal.changed(names)
    # With another title the browser takes it for a new one: it is told that it was open.
    key, title = f"group-{proposal.task}-{group}", f"{group} · {len(changed)} changed" if changed else group
    box = st.expander(title, bool(st.session_state.get(key)), key=key, on_change="rerun")
    with box, st.container(horizontal=True, gap="small"):
        changes |= _fields(proposal, names)
    return box


def value_words(value: object) -> str:
    """The value of a setting for a sentence: `0.006`, `adamw`."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _dataset(task: str, recipe: TrainConfig, place: DeltaGenerator, in_address: bool) -> Chosen:
    """The dataset of the run; `place` takes the list of those that are known."""
    with place:
        if recipe.recipe == "longer":
            st.text_input("Dataset", dataset_title(recipe.dataset), disabled=True, key="longer-dataset")
            try:
                return Chosen(name=canonical_name(recipe.dataset))
            except LabError as error:
                return Chosen(problem=str(error))
        param = "dataset" if in_address else ""
        chosen = text_field(param) if task == "text" else dataset_field(param)
    if chosen == TEXT_FILE:
        uploaded, problem = text_upload()
        missing = "Choose a text file: at least 1,000 characters, at most 20 MB."
        return Chosen(
            name=uploaded, problem=problem or missing, not_in_link="Your text file is not in the link." * bool(uploaded)
        )
    path, missing = folder_field() if chosen == FOLDER else "", ""
    try:
        if chosen == FOLDER and not path:
            page_link("datasets", "Photos on your own computer? Add photos.", view="Add photos")
            raise LabError("Give the path of a folder that holds one folder of images per class.")
        missing = "The path of your folder is not in the link." * bool(path)
        # Whole: a worker has its own working directory.
        name = canonical_name(allowed_name(f"{FOLDER_PREFIX}{path}")) if path else chosen
        if name.startswith(FOLDER_PREFIX):
            name = size_field(name, _usual_size(recipe), in_address=in_address)
        return Chosen(name=name, not_in_link=missing)
    except LabError as error:
        return Chosen(problem=str(error), not_in_link=missing)


def _usual_size(recipe: TrainConfig) -> int | None:
    """The image size that a network wants: a checkpoint's own; None for one that takes photos as they are."""
    if recipe.init_from in BACKBONES:
        return None
    return find_checkpoint(recipe.init_from).card.pixel_data.image_size if recipe.init_from else IMAGE_SIZE


def _text_card(box: DeltaGenerator, name: str, config: TrainConfig) -> None:
    """What training reads of a text, and whether it is too short to learn from."""
    try:
        data = text_dataset(name)
    except LabError:  # removed just now
        return
    steps, warning = text_windows(config, len(data.train)).steps, ""
    if steps < FEW_STEPS:
        warning = (
            f"This text gives {steps} {'step' if steps == 1 else 'steps'} an epoch: the model repeats the same lines until it "
            "knows them by heart. A longer text teaches it more."
        )
    with box:
        text_card(data, warning)


def _room(config: TrainConfig) -> str:
    """What the snapshots take on disk."""
    count = 1 + min(config.snapshots, max(0, math.ceil(config.epochs / config.eval_every) - 1))
    if any(name in config.model_settings for name in RESIZING):
        cost = f"{count} times the size of its weights on disk"
    else:
        one = 4 * MODELS[config.model].parameters
        cost = f"{count} × {size(one)}, about {size(count * one)} on disk"
    return f"Snapshots, to see later how it learned: {cost}. Set Snapshots to 0 to keep none."


def labels() -> dict[str, str]:
    """What the form calls each field, without its unit."""
    return {name: label_of(name, LABELS).partition(" (")[0] for name in FIELDS}


def can_show(config: TrainConfig) -> bool:
    """Whether the form has a field for all that makes a run what it is."""
    recipe = base_recipe(config)
    if recipe is None or recipe.model_settings != config.model_settings:
        return False
    if config.extra_dataset not in _extra_sets(recipe):
        return False
    known = config.dataset in DATASETS or config.dataset.startswith((FOLDER_PREFIX, GENERATED_PREFIX))
    return known or config.dataset in {source.name for source in stored_texts()}


def form_query(config: TrainConfig) -> dict[str, str]:
    """The address of the form with a run's settings; `fill_folder` gives it what no address says."""
    recipe = base_recipe(config)
    assert recipe is not None  # can_show
    task = MODELS[config.model].task
    changed, names = changed_settings(config, _begin(task, recipe)), _names(task)
    if config.dataset != recipe.dataset:  # the form would fit them to the data again
        changed |= {name: getattr(config, name) for name in FITTED}
    text = to_text({name: value for name, value in changed.items() if name in names})
    query = {START_PARAM: config.init_from} if config.init_from else {}
    query |= {"model": config.model, "recipe": config.recipe, "dataset": address_word(config.dataset)}
    query |= size_query(config.dataset)
    return query | ({PARAM: text} if text else {})


def fill_folder(config: TrainConfig) -> None:
    """Put the folder of a run's images into the form."""
    if config.dataset.startswith(FOLDER_PREFIX):
        with suppress(LabError):  # it is gone: the form says so
            st.session_state[FOLDER_KEY] = str(parse_name(config.dataset).root)


def _fill(task: str, begin: TrainConfig, changes: Changes) -> None:
    """Put changes of a recipe into the form, and the recipe's settings elsewhere."""
    give("device", changes.get("device", begin.device))
    for name in (name for name in _names(task) if name != "device"):
        key = _key_of(begin).format(name)
        give(key, changes.get(name, getattr(begin, name)))
        st.session_state[f"{key}-edited"] = name in changes

"""Images / Train: settings on the left, the run of this URL on the right."""

from __future__ import annotations

import streamlit as st

from core.checkpoints import list_checkpoints
from core.data import canonical_name, dataset_status
from core.devices import apple_gpu, nvidia_gpus
from core.errors import LabError
from core.runs.store import MAX_NAME
from core.training.config import TrainConfig
from core.training.estimate import estimate_seconds
from pages.components.frame import active_runs
from pages.components.job_panel import find_run, job_line, job_panel
from pages.components.resources import act, runs_now, store
from pages.components.text import duration, plain, show_error
from pages.components.train_form import in_words, train_form

PARAM = "run"


def train_view() -> None:
    """The whole of the tab."""
    run_id, problem = st.query_params.get(PARAM), ""
    try:
        known = bool(run_id) and find_run(run_id).id == run_id
    except LabError as error:
        known, problem = False, str(error)
    if run_id and known:
        # A link within the page, or a rerun right after Start, leaves the browser's address behind: say it again.
        st.query_params[PARAM] = run_id
        # The run is what one came for, on a phone too: it takes the width, and the form steps back.
        # A key of each run's own, so that the box closes when a new run takes its place.
        with st.expander("New run", icon=":material/add:", key=f"new-run-{run_id}"):
            _new_run()
        job_panel(run_id)
        _others(run_id)
    else:
        settings, live = st.columns([2, 3], gap="large")
        with settings:
            st.markdown("#### New run")
            _new_run()
        with live:
            if problem:
                show_error(problem)
            _nothing_chosen()
    _how_it_works()


def _others(run_id: str) -> None:
    others = [run for run in active_runs() if run.id != run_id]
    if others:
        st.markdown("**Also under way**")
        for run in others:
            job_line(run)


def _new_run() -> None:
    config = None
    form, below, verdict = st.container(), st.container(), st.container()
    with below.expander("Advanced"):
        st.text_input("Name of the run", key="run-name", placeholder="model and recipe", max_chars=MAX_NAME)
        advanced = st.container(horizontal=True, gap="small")
    try:
        with form:
            config = train_form(advanced)
        verdict.caption(plain(_expectation(config)))
    except LabError as error:
        with verdict:  # beside the button that it turns grey, wherever the field is
            show_error(in_words(error))
    if st.button("Start training", key="start", type="primary", icon=":material/play_arrow:", disabled=config is None):
        assert config is not None
        try:
            run_id = store().create(config, st.session_state.get("run-name", "").strip() or None)
            act("submit", run_id)
        except LabError as error:
            show_error(error)
            return
        st.query_params[PARAM] = run_id
        st.rerun()


def _expectation(config: TrainConfig) -> str:
    """How long it will take, and what has to be fetched first; says so where nobody knows."""
    sentences = []
    seconds, images = None, _training_images(config)
    if images:
        best = "cuda:0" if nvidia_gpus() else "mps" if apple_gpu() else "cpu"
        seconds = estimate_seconds(config, best if config.device == "auto" else config.device, images)
    if seconds is None:
        sentences.append("Time: unknown until it was measured here; the run shows it after its first seconds.")
    else:
        sentences.append(f"Time: about {duration(seconds)} on this machine.")
    try:
        status = dataset_status(config.dataset)
        if not status.ready:
            sentences.append(status.sentence)
    except LabError as error:
        sentences.append(str(error))
    return " ".join(sentences)


def _training_images(config: TrainConfig) -> int | None:
    """How many pictures an epoch has; of a folder only the card of an earlier run on it knows, without a walk through it."""
    if config.dataset == "cifar10":
        sizes = {"train": 45_000, "validation": 5_000}
    else:
        try:
            name = canonical_name(config.dataset)
        except LabError:
            return None
        cards = (reference.card.dataset for reference in list_checkpoints())
        sizes = next((card.sizes for card in cards if card.name == name), {})
    used = [sizes.get(part) for part in config.train_on.split("+")]
    return sum(used) if all(isinstance(count, int) for count in used) else None


def _nothing_chosen() -> None:
    st.markdown("**Pick a recipe and press Start training.**")
    st.markdown(
        "The run works in a process of its own: you may close this tab, come back by the same address or from Runs, "
        "stop it and resume it exactly where it was. Its checkpoint can be used on every page from the first evaluation on."
    )
    try:
        recent = runs_now()[:5]
    except LabError as error:
        show_error(error)
        return
    if recent:
        st.markdown("**Recent runs**")
        for run in recent:
            job_line(run)


def _how_it_works() -> None:
    with st.expander("How this works", icon=":material/school:"):
        st.markdown(
            "**What training does.** For a batch of $B$ pictures the network gives scores $z$; the loss is the mean "
            "cross-entropy $-\\frac{1}{B}\\sum_i \\log p_{i,y_i}$ in nats, with $p = \\mathrm{softmax}(z)$. Guessing among ten "
            "classes costs $\\ln 10 \\approx 2.303$ nats. The optimizer moves the weights against the gradient, step by step; "
            "one epoch shows every training picture once.\n\n"
            "**The gap.** 5,000 of the 50,000 training pictures are held out. Where training gets better and this validation "
            "set does not, the network is learning its pictures by heart: the shaded gap. Flips, shifts, weight decay and "
            "averaged weights narrow it. Choices are made on validation; the 10,000 test pictures are for the report only.\n\n"
            "**The recipes.** Fast ResNet follows [Jordan 2024, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU]"
            "(https://arxiv.org/abs/2404.00498); Muon is described at [kellerjordan.github.io/posts/muon]"
            "(https://kellerjordan.github.io/posts/muon/); averaged weights in [Izmailov et al. 2018]"
            "(https://arxiv.org/abs/1803.05407); ResNet-18 in [He et al. 2015](https://arxiv.org/abs/1512.03385).\n\n"
            "**Resume.** A run saves weights, optimizer, averages and its place in the data when it is stopped, every minute, "
            "and at the end of an epoch (less often where epochs are so short that saving would cost over 5% of the time). All "
            "that is random follows from the seed and the step, so no random state has to be kept, and on a CPU a resumed "
            "run ends in the very same weights."
        )

"""`synthesize worth start|show`: what synthetic images are worth as training data, for scripts."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import App, Parameter

from core.common.commands import Detach, Json, RunName, Whole, between, takes_settings
from core.common.errors import LabError
from core.common.output import note, print_json, print_table
from core.data.generated import MAX_IMAGES
from core.jobs import open_engine
from core.jobs.foreground import note_state, run_for_result
from core.jobs.run import Run
from core.regularization.cli import announce, check_sizes, plain_settings
from core.regularization.kind import STUDY
from core.regularization.results import StudyResult
from core.regularization.store import read_study
from core.regularization.study import StudyConfig
from core.synthesis.worth import SHIPPED, TITLES, WORTH, read_worth, worth_study

worth = App(name="worth", help="What synthetic images are worth as training data.")
GeneratedId = Annotated[str, Parameter(help="A set of generated images: generated:ID, or its id alone.")]
StudyId = Annotated[str, Parameter(help="A study of synthetic images, as listed by: python -m core runs.")]
FLAGS = ("model", "train_sizes", "seeds", "steps", "batch_size", "evaluations", "lr", "device")


@worth.command
@takes_settings(StudyConfig, FLAGS, defaults=False)
def start(
    generated_id: GeneratedId,
    /,
    *,
    synthetic_images: Annotated[Whole, between(0, MAX_IMAGES)] = 0,
    name: RunName = None,
    detach: Detach = False,
    as_json: Json = False,
    settings: dict[str, Any] | None = None,
) -> int:
    """Train with and without synthetic images, and with as many more real ones, and compare.

    The study is one of python -m core study: resume it there, and add arms, sizes or seeds. Of --train-sizes, 0 is as many real
    images as leave room for more; the default is 100,1000,0.

    Args:
        synthetic_images: How many are added; 0 for 5,000, or all where there are fewer.
    """
    given = plain_settings(settings)
    sizes = {"sizes": given.pop("train_sizes")} if "train_sizes" in given else {}
    config = worth_study(generated_id, synthetic_images=synthetic_images, **sizes, **given)
    engine = open_engine()
    check_sizes(config)
    announce(config, engine, 0)

    def show_result(run: Run) -> None:
        _print(read_study(engine.store, run.id), as_json)

    study_id = engine.store.create(config, name or _name(config), kind=STUDY.name)
    return run_for_result(engine, study_id, "study", show_result, detach=detach, as_json=as_json)


@worth.command
def show(study_id: StudyId = SHIPPED, /, *, as_json: Json = False) -> None:
    """Print what synthetic images were worth, in the study that ships or in one of this machine."""
    if study_id in WORTH.shipped_names():
        _print(WORTH.load_shipped(study_id), as_json)
        return
    if study_id == SHIPPED:
        raise LabError("No study of synthetic images ships with this version: start one, or give the id of a study.")
    engine = open_engine()
    run = engine.state(study_id)
    _print(read_study(engine.store, study_id), as_json)
    note_state(run, "study")


def _name(config: StudyConfig) -> str:
    from core.data import dataset_title

    return f"Worth of {dataset_title(config.extra_dataset)}"


def _print(result: StudyResult, as_json: bool) -> None:
    found = read_worth(result)
    if as_json:
        print_json(found.to_dict())
        return
    print(found.headline)
    for sentence in filter(None, (found.score_words, found.leak)):
        print(sentence)
    rows = [
        {
            "real": f"{at.train_size:,}",
            "arm": TITLES[arm.kind],
            "accuracy": "-" if arm.mean is None else f"{arm.mean:.1%}",
            "±": "-" if arm.half_width is None else f"{100 * arm.half_width:.1f}",
            "seeds": arm.seeds,
            "verdict": arm.verdict.words,
        }
        for at in found.sizes
        for arm in at.arms
    ]
    if not rows:
        note("No run has finished yet.")
        return
    print_table(rows, list(rows[0]))
    print(f"Accuracy on the {found.split} images, which are real: mean and half of its 95% interval, in points.")

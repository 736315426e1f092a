"""Ship what a set of generated images is worth: `python -m scripts.make_worth GENERATED_ID [--study RUN_ID] [flags]`.

The study is done in this process, its runs one after the other in one more, with a thread each. Its id is printed first: with
--study it goes on where it stopped, and one that has finished is only written again.
"""

from __future__ import annotations

import argparse
import json
import os

from core.common.paths import ensure_folder, write_atomic
from core.jobs import RunStore
from core.jobs.worker import do_run
from core.regularization.cli import with_provenance
from core.regularization.kind import STUDY
from core.regularization.store import read_study
from core.synthesis.worth import BATCH_SIZE, SHIPPED, SIZES, STEPS, WORTH, read_worth, worth_study


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("generated_id")
    parser.add_argument("--study", help="go on with this study")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--synthetic-images", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE)
    parser.add_argument("--model", default="simple_cnn")
    given = vars(parser.parse_args(arguments))
    os.environ["OMP_NUM_THREADS"] = "1"  # the study keeps as many processes as it has threads
    store, study_id = RunStore(), given.pop("study")
    if not study_id:
        config = worth_study(given.pop("generated_id"), **given, device="cpu")
        study_id = store.create(config, "Worth of synthetic images", kind=STUDY.name)
    print(study_id, flush=True)
    if store.get(study_id).status != "finished":
        do_run(store, study_id)
    run = store.get(study_id)
    if run.status != "finished":
        raise SystemExit(f"{run.message} Go on with it: --study {study_id}")
    result = with_provenance(read_study(store, study_id), run)
    write_atomic(ensure_folder(WORTH.shipped) / f"{SHIPPED}.json", json.dumps(result.to_dict(), indent=1) + "\n")
    print(read_worth(result).headline)


if __name__ == "__main__":
    main()

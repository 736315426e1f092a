"""`data`, `models`, `checkpoints`: what there is."""

from __future__ import annotations

import argparse
from typing import Any

from core.common.output import Bar, note, print_json, print_table


def add(subcommands: Any) -> None:
    parser = subcommands.add_parser("data", help="list datasets, or fetch one")
    parser.add_argument(
        "name", nargs="?", help="a dataset: cifar10, tiny_shakespeare, shakespeare_complete, folder:PATH or text:PATH"
    )
    parser.add_argument("--fetch", action="store_true", help="fetch it if it is not on this machine, and check it")
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.set_defaults(command=data)
    parser = subcommands.add_parser("models", help="list architectures and their recipes")
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.set_defaults(command=models)
    parser = subcommands.add_parser("checkpoints", help="list checkpoints, those that ship and those of runs")
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.set_defaults(command=checkpoints)


def data(options: argparse.Namespace) -> int:
    from core.data import DATASETS, dataset_status

    names = [options.name] if options.name else list(DATASETS)
    rows = []
    for name in names:
        if options.fetch:
            load_with_bar(name)
        status = dataset_status(name)
        rows.append(
            {
                "name": name,
                "title": DATASETS[name].title if name in DATASETS else name,
                "ready": status.ready,
                "size_bytes": status.size_bytes,
                "folder": str(status.folder),
                "message": status.sentence,
            }
        )
    if options.json:
        print_json(rows)
    else:
        for row in rows:
            print(f"{row['name']}: {row['message']}")
    return 0


def models(options: argparse.Namespace) -> int:
    from core.models import model_info
    from core.training.recipes import RECIPES, describe_recipe

    rows = [
        row | {"recipes": {name: describe_recipe(row["name"], name) for name in RECIPES.get(row["name"], {})}}
        for row in model_info()
    ]
    if options.json:
        print_json(rows)
        return 0
    for row in rows:
        print(
            f"{row['name']} ({row['task']}): {row['description']} {row['parameters']:,} parameters. Source: {row['source']}."
        )
        for name, described in row["recipes"].items():
            print(f"  {name}: {described}")
    return 0


def checkpoints(options: argparse.Namespace) -> int:
    from core.checkpoints.store import list_checkpoints

    rows = [
        {
            "name": ref.name,
            "title": ref.card.title,
            "origin": ref.origin,
            "task": ref.card.task,
            "model": ref.card.model,
            "dataset": ref.card.dataset.name,
            "test_accuracy": ref.card.metrics.get("test_accuracy"),
            "val_accuracy": ref.card.metrics.get("val_accuracy"),
            "val_loss_nats": ref.card.metrics.get("val_loss_nats"),
            "parameters": ref.card.parameters,
            "size_bytes": ref.card.size_bytes,
            "folder": str(ref.folder),
        }
        for ref in list_checkpoints()
    ]
    if options.json:
        print_json(rows)
        return 0
    if not rows:
        note("No checkpoints yet. Train one: python -m core train")
    columns = ["name", "title", "origin", "task", "model", "test_accuracy", "val_loss_nats", "parameters", "size_bytes"]
    print_table(rows, columns)
    return 0


def load_with_bar(name: str, task: str | None = None) -> Any:
    """Load a dataset; where it has to be fetched, with progress on stderr. task: `images` or `text`, what it must hold;
    None: anything. Raises LabError."""
    from core.data import load_dataset, load_images, load_text

    load = {None: load_dataset, "images": load_images, "text": load_text}[task]
    bar, stage = Bar(), [""]

    def show(fraction: float, words: str) -> None:
        new = words.partition(" (")[0]
        bar.show(fraction or None, words, now=new != stage[0])
        stage[0] = new

    try:
        return load(name, show)
    finally:
        bar.close()

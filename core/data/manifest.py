"""Lists of images with their classes: a CSV file, or annotations in COCO's JSON. Source: cocodataset.org, "Data format".

In a CSV file, the column whose values name files is found by looking; the label stands in a column of a usual name, or in
the only other one, or there is a column of 0 and 1 for each class (Roboflow's `_classes.csv`).
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from core.common.errors import LabError
from core.common.values import plural

if TYPE_CHECKING:
    from core.data.layout import ImageFile, Notes

LABEL_COLUMNS = ("label", "class", "category", "class_name", "label_name", "target", "species", "breed")
SPLIT_COLUMNS = ("split", "set", "subset", "partition")
MAX_MANIFEST_BYTES = 200_000_000
LOOKED_AT = 50
"""Rows by which the columns are told apart."""


@dataclass(frozen=True, slots=True)
class Row:
    file: ImageFile
    label: str
    split: str


class _Files:
    """The images below a folder, by what a manifest may call them."""

    def __init__(self, files: Iterable[ImageFile], base: Path) -> None:
        self.count = 0
        self._base = base
        # By the whole path, by that without its ending, by the name, by that without its ending. None: several are called so.
        self._by_name: tuple[dict[str, ImageFile | None], ...] = ({}, {}, {}, {})
        for file in files:
            self.count += 1
            path = PurePosixPath(file.path.relative_to(base).as_posix())
            for names, name in zip(self._by_name, (path, path.with_suffix(""), path.name, path.stem), strict=True):
                names[str(name)] = None if str(name) in names else file

    def find(self, name: str) -> ImageFile | None:
        path = PurePosixPath(name.strip().replace("\\", "/"))
        for names, key in zip(self._by_name, (str(path), str(path), path.name, path.name), strict=True):
            if (file := names.get(key)) and self._agree(path, file):
                return file
        return None

    def _agree(self, path: PurePosixPath, file: ImageFile) -> bool:
        """Whether the folders in both paths are the same, from the innermost, as far as both name some."""
        there = file.path.relative_to(self._base).parts
        return all(first == second for first, second in zip(path.parts[-2::-1], there[-2::-1], strict=False))


def read_manifests(base: Path, folders: Mapping[str, Path], notes: Notes) -> list[Row] | None:
    """The rows of all lists below `base`: in each split's folder, else in `base` or its `annotations/`. None where there are
    none. Raises LabError for one that cannot be understood."""
    from core.data.layout import image_files, split_of

    places = [(path, split) for split, path in folders.items()] if folders else []
    lists = [(file, split) for path, split in places for file in _lists_in(path)]
    if not lists:
        lists = [(file, "") for place in (base, base / "annotations") if place.is_dir() for file in _lists_in(place)]
    if not lists:
        return None
    rows: list[Row] = []
    known: dict[Path, _Files] = {}
    listed: set[Path] = set()
    problems: list[tuple[Path, LabError]] = []
    for path, split in lists:
        below = path.parent if split else base
        if below not in known:
            known[below] = _Files(image_files(below, 0, notes), below)
        read = _coco if path.suffix.lower() == ".json" else _csv
        by_name = split or next(
            (s for part in path.stem.replace("-", "_").split("_") if (s := split_of(part))), "train"
        )
        try:
            found = read(path, known[below], by_name, notes)
        except LabError as error:  # another list may say it all
            problems.append((path, error))
            continue
        before = len(rows)
        for row in found:
            if row.file.path not in listed:
                listed.add(row.file.path)
                rows.append(row)
        if again := len(found) - (len(rows) - before):
            notes.sentences.append(f"{plural(again, 'row')} of {path.name} left out: the image is listed before.")
    if problems and len(problems) == len(lists):
        raise problems[0][1]
    notes.sentences.extend(f"A list is not used: {error}" for _, error in problems)
    unused = [path for path, _ in problems]
    names = dict.fromkeys(path.name for path, _ in lists if path not in unused)
    notes.sentences.append(f"Classes read from {', '.join(names)}.")
    if unlisted := sum(files.count for files in known.values()) - len(listed):
        notes.sentences.append(f"{plural(unlisted, 'image')} left out: in no list.")
    return rows


def _lists_in(folder: Path) -> list[Path]:
    from core.data.layout import is_junk

    files = sorted(item for item in folder.iterdir() if item.is_file() and not is_junk(item.name))
    files = [item for item in files if "submission" not in item.stem.lower()]  # of a contest: its labels are made up
    return [item for item in files if item.suffix.lower() == ".csv"] or [
        item for item in files if item.suffix.lower() == ".json" and b'"annotations"' in _content(item)
    ]


def _content(path: Path) -> bytes:
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise LabError(f"{path.name} is larger than {MAX_MANIFEST_BYTES // 10**6} MB: split it.")
    return path.read_bytes()


def _csv(path: Path, files: _Files, split: str, notes: Notes) -> list[Row]:
    from core.data.layout import split_of

    text = _content(path).decode("utf-8-sig", errors="replace")
    try:
        dialect: Any = csv.Sniffer().sniff(text[:8192], delimiters=",;\t|")
    except csv.Error:
        dialect = csv.excel
    try:
        table = list(csv.reader(io.StringIO(text), dialect))
    except csv.Error as error:
        raise LabError(f"{path.name} is not a CSV file that can be read ({error}): save it again.") from error
    rows = [row for row in table[1:] if any(cell.strip() for cell in row)]
    header = [cell.strip().lower() for cell in table[0]] if table else []
    if not rows or len(header) < 2:
        raise LabError(f"{path.name} has no rows with a file and a label: add a header, and a row for each image.")
    rows = [row + [""] * (len(header) - len(row)) for row in rows]
    hits = [sum(files.find(row[column]) is not None for row in rows[:LOOKED_AT]) for column in range(len(header))]
    name = max(range(len(header)), key=lambda column: hits[column])
    if not hits[name]:
        raise LabError(
            f"No column of {path.name} names images in this folder (first row: {rows[0][0][:60]!r}): correct it."
        )
    where = next((column for column, title in enumerate(header) if title in SPLIT_COLUMNS), None)
    others = [column for column in range(len(header)) if column not in (name, where)]
    label = _label_column(path, header, rows, others)
    found, missing, unclear = [], 0, 0
    for row in rows:
        file = files.find(row[name])
        if label is None:
            ones = [column for column in others if row[column].strip() in ("1", "1.0", "True", "true")]
            words = table[0][ones[0]].strip() if len(ones) == 1 else ""
        else:
            words = row[label].strip()
        missing += file is None
        unclear += file is not None and not words
        if file is not None and words:
            own = split_of(row[where].strip()) if where is not None else None
            found.append(Row(file, words, own or split))
    _count_left_out(path, missing, unclear, notes)
    return found


def _label_column(path: Path, header: list[str], rows: list[list[str]], others: list[int]) -> int | None:
    """The column of the label; None where each class has a column of 0 and 1."""
    named = [column for column in others if header[column] in LABEL_COLUMNS]
    if named or len(others) == 1:
        return (named or others)[0]
    values = {row[column].strip().lower() for row in rows for column in others}
    if values <= {"0", "1", "0.0", "1.0", "true", "false"}:
        return None
    raise LabError(f"It is unclear which column of {path.name} holds the class: call it label.")


def _coco(path: Path, files: _Files, split: str, notes: Notes) -> list[Row]:
    try:
        content = json.loads(_content(path))
        names = {entry["id"]: str(entry["name"]) for entry in content["categories"]}
        labels: dict[Any, set[str]] = {}
        for entry in content["annotations"]:
            labels.setdefault(entry["image_id"], set()).add(names[entry["category_id"]])
        images = [(str(entry["file_name"]), labels.get(entry["id"], set())) for entry in content["images"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise LabError(f"{path.name} is not in COCO's format ({type(error).__name__}): export it again.") from error
    found, missing, unclear = [], 0, 0
    for name, classes in images:
        file = files.find(name)
        missing += file is None
        unclear += file is not None and len(classes) != 1
        if file is not None and len(classes) == 1:
            found.append(Row(file, min(classes), split))
    _count_left_out(path, missing, unclear, notes)
    return found


def _count_left_out(path: Path, missing: int, unclear: int, notes: Notes) -> None:
    if missing:
        notes.sentences.append(f"{plural(missing, 'row')} of {path.name} left out: the image is not there.")
    if unclear:
        notes.sentences.append(f"{plural(unclear, 'image')} in {path.name} left out: without a class, or with several.")

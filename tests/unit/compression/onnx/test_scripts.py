"""The script beside an exported file answers as the app does, where there is nothing but what the script names.

What is held: the script runs in a separate process, with `-I -S` (no site-packages, no environment, no current folder), and
with one folder of links to NumPy, ONNX Runtime, Pillow and the HEIC reader. Any other import would fail. On 61 files of
all kinds it gives the app's probabilities within 1e-4 and the app's warning; on 22 prompts the app's characters.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.util
import io
import json
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from core.checkpoints.store import Calibration, Card, Checkpoint, DistanceScore
from core.common.errors import LabError
from core.compression.methods.int8 import to_int8
from core.compression.onnx.export import compare_export, compare_network, export_onnx, script
from core.compression.onnx.scripts import classify as image_script
from core.compression.onnx.scripts import write as text_script
from core.compression.program import Program, export_program, program_script
from core.compression.steps import Int8
from core.data import normalize
from core.data.dataset import TextCard
from core.data.decode import MAX_BYTES, decode_image, model_input
from core.inference import text
from core.inference.generate import read_prompt, write
from core.inference.images import answers_of, classify, warning_scores
from core.inference.neighbours import kept_features, without_head
from core.inference.onnx_network import OnnxNetwork, onnx_inputs
from core.inference.sampling import SamplingConfig
from tests.unit.compression.compressible import network, random_images
from tests.unit.data.test_colour_profile import ADOBE, P3, profile
from tests.unit.data.test_decode import EDIT, VALID, encode, photo, png

NAMED = {
    "classify.py": ("numpy", "onnxruntime", "PIL", "pi_heif"),
    "write.py": ("numpy", "onnxruntime"),
}
"""Script -> what its first lines say to install."""


def image_files() -> dict[str, bytes]:
    rgb = photo(90, 120)
    image, alpha = Image.fromarray(rgb), np.linspace(0, 255, 90 * 120).astype(np.uint8).reshape(90, 120)
    rgba = Image.fromarray(np.dstack([rgb, alpha]))
    grey16 = np.linspace(0, 65535, 90 * 120).reshape(90, 120).astype(np.uint16)
    frames = [Image.new("RGB", (40, 40), colour) for colour in ((200, 30, 0), (0, 255, 0), (0, 0, 255))]
    found = {
        "rgb.png": encode(image, "PNG"),
        "transparent.png": encode(rgba, "PNG"),
        "grey-alpha.png": encode(rgba.convert("LA"), "PNG"),
        "palette-transparent.png": encode(image.convert("P"), "PNG", transparency=3),
        "one-colour-transparent.png": encode(image, "PNG", transparency=(255, 0, 0)),
        "one-bit.png": encode(image.convert("1"), "PNG"),
        "grey.png": encode(image.convert("L"), "PNG"),
        "grey-16.png": encode(Image.fromarray(grey16), "PNG"),
        "grey-16-transparent.png": encode(Image.fromarray(grey16), "PNG", transparency=int(grey16[40, 40])),
        "colour-16.png": png(120, 90, 16, 2, b"".join(b"\0" + row.tobytes() for row in rgb.astype(">u2") * 257)),
        "display-p3.png": encode(image, "PNG", icc_profile=P3),
        "transparent-adobe.png": encode(rgba, "PNG", icc_profile=ADOBE),
        "grey-gamma.png": encode(image.convert("L"), "PNG", icc_profile=profile("Grey", (), (1.0,), b"GRAY")),
        "broken-profile.png": encode(image, "PNG", icc_profile=P3[:200]),
        "animated.png": encode(frames[0], "PNG", save_all=True, append_images=frames[1:]),
        "square-32.png": encode(Image.fromarray(photo(32, 32)), "PNG"),
        "one-pixel.png": encode(Image.new("RGB", (1, 1), (9, 90, 200)), "PNG"),
        "narrow.png": encode(Image.fromarray(photo(700, 9)), "PNG"),
        "large.png": encode(Image.fromarray(photo(1400, 1800)), "PNG"),
        "plain.jpg": encode(image, "JPEG"),
        "progressive.jpg": encode(image, "JPEG", progressive=True),
        "grey.jpg": encode(image.convert("L"), "JPEG"),
        "cmyk.jpg": encode(image.convert("CMYK"), "JPEG"),
        "display-p3.jpg": encode(image, "JPEG", icc_profile=P3),
        "broken-exif.jpg": encode(image, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"),
        "large.jpg": encode(Image.fromarray(photo(2400, 1600)), "JPEG"),
        "two-images.mpo": encode(image, "MPO", save_all=True, append_images=[image.transpose(Image.Transpose(0))]),
        "lossy.webp": encode(image, "WEBP"),
        "transparent.webp": encode(rgba, "WEBP", lossless=True),
        "animated.webp": encode(frames[0], "WEBP", save_all=True, append_images=frames[1:]),
        "plain.bmp": encode(image, "BMP"),
        "palette.bmp": encode(image.convert("P"), "BMP"),
        "palette.gif": encode(image, "GIF"),
        "transparent.gif": encode(image.convert("P"), "GIF", transparency=5),
        "animated.gif": encode(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "lzw.tif": encode(image, "TIFF", compression="tiff_lzw"),
        "cmyk.tif": encode(image.convert("CMYK"), "TIFF"),
        "grey-16.tif": encode(Image.fromarray(grey16), "TIFF"),
        "float.tif": encode(Image.fromarray(grey16.astype(np.float32) - 100), "TIFF"),
        "pages.tif": encode(frames[0], "TIFF", save_all=True, append_images=frames[1:]),
        "plain.avif": encode(image, "AVIF"),
        "transparent.avif": encode(rgba, "AVIF"),
        "plain.heic": encode(image, "HEIF"),
        "named-otherwise.txt": encode(image, "PNG"),
    }
    for kind, suffix in (("JPEG", "jpg"), ("PNG", "png"), ("TIFF", "tif"), ("HEIF", "heic")):
        for orientation in (2, 5, 6, 8):
            exif = Image.Exif()
            exif[0x0112] = orientation
            found[f"turned-{orientation}.{suffix}"] = encode(image, kind, exif=exif.tobytes())
    text_chunk = (
        len(long := b"note\0\0" + zlib.compress(b"a" * 3_000_000)).to_bytes(4, "big") + b"zTXt" + long + b"nope"
    )
    whole = found["rgb.png"]
    found["long-note-and-wrong-checksum.png"] = whole[:33] + text_chunk + whole[33:]
    return found


FILES = image_files()
REFUSED = {
    "empty.png": b"",
    "text.png": b"no image at all",
    "cut.jpg": FILES["plain.jpg"][:300],
    "too-large.bmp": b"BM" + bytes(MAX_BYTES),
    "bomb.png": png(8000, 6251, 8, 2, b""),
}
PROMPTS = (
    *("", "ROMEO:\n", "ROMEO:\\n", "To be", "tO bE", "naïve café", "cafe\u0301", "“Who’s there?”", "em—dash…"),
    *("tab\there", "Straße, Œuvre, æther", "\ufeffmark", "zero\u200bwidth", "soft\xadhyphen", "line\r\nfeeds\rhere"),
    *("日本語", "👩‍👩‍👧 family", "\u2028", "ﬁne ½ ²", "the end " * 12, "\x00\x07", "Ünï" * 5),
)
VOCABULARY = "\n !,-.:?'" + "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@functools.cache
def classifier(kind: str) -> Checkpoint:
    """An untrained network that tells images apart. kind: what is particular about its card."""
    made = network("simple_cnn", seed=3, widths=(8, 8))
    tta = {"flip": "flip", "flip+shift": "flip+shift"}.get(kind, "none")
    data = dataclasses.replace(made.card.image_data, fit="whole" if kind == "whole" else "crop")
    images = np.stack([model_input(decode_image(file).rgb, 32, data.fit) for file in FILES.values()])
    card = dataclasses.replace(made.card, dataset=data, tta=tta)
    made = dataclasses.replace(made, card=card)
    if kind == "int8":
        made = to_int8(made, random_images(64)[0], Int8(images=64))
    if kind == "distance":
        known = without_head(made.model)(torch.from_numpy(onnx_inputs(made.card, images[::3] // 2 + 60)))
        made = dataclasses.replace(made, features=kept_features(known))
    by = DistanceScore(energy_mean=-3.0, energy_sd=0.5, distance_mean=0.1, distance_sd=0.05, threshold=0.0)
    calibration = Calibration(temperature=0.7, energy_threshold=0.0, distance=by if kind == "distance" else None)
    scores = warning_scores(answers_of(made, images), calibration)  # a threshold that half of the files are above
    middle = float(scores.sort().values[len(scores) // 2 - 1 : len(scores) // 2 + 1].mean())
    if calibration.distance:
        calibration = dataclasses.replace(calibration, distance=dataclasses.replace(by, threshold=middle))
    else:
        calibration = dataclasses.replace(calibration, energy_threshold=None if kind == "no warning" else middle)
    return dataclasses.replace(made, card=dataclasses.replace(made.card, calibration=calibration, tta=tta))


@functools.cache
def writer(name: str) -> Checkpoint:
    config: dict[str, Any] = (
        {"context": 20, "width": 24, "layers": 2, "heads": 2} if name == "char_gpt" else {"width": 24}
    )
    made = network(name, seed=1, vocabulary=len(VOCABULARY), **config)
    for parameter in made.model.parameters():
        parameter.mul_(3)  # so that what was read before matters
    data = TextCard(name="verses", title="Verses", vocabulary="".join(sorted(VOCABULARY)))
    return dataclasses.replace(made, card=dataclasses.replace(made.card, dataset=data))


def run_alone(folder: Path, card: Card, data: bytes, *arguments: str, named: tuple[str, ...] = ()) -> Any:
    """The finished process of a script that finds nothing but what it names. named: of that, what is installed."""
    name = "write.py" if card.task == "text" else "classify.py"
    installed = folder / "installed"
    if not installed.exists():
        installed.mkdir()
        for package in named or NAMED[name]:
            spec = importlib.util.find_spec(package)
            assert spec is not None
            assert spec.origin is not None
            origin = Path(spec.origin)
            source = origin.parent if origin.name == "__init__.py" else origin
            (installed / source.name).symlink_to(source)
            for beside in source.parent.iterdir():  # shared libraries, and the extension of a package in two parts
                wanted = {"PIL": "pillow", "pi_heif": "pi_heif"}.get(package, package)
                if beside.name.lower().startswith((f"{wanted}.libs", f"_{package}.")):
                    (installed / beside.name).symlink_to(beside)
    (folder / "it's a net.onnx").write_bytes(data)
    lines = script(card, "/elsewhere/it's a net.onnx")
    (folder / name).write_text(lines)
    begin = f"import runpy, sys; sys.path.append({str(installed)!r}); runpy.run_path({name!r}, run_name='__main__')"
    command = [sys.executable, "-I", "-S", "-W", "ignore::UserWarning", "-c", begin, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["plain", "flip", "flip+shift", "whole", "distance", "int8", "no warning"])
def test_images_are_answered_as_in_the_app(kind: str, tmp_path: Path) -> None:
    checkpoint = classifier(kind)
    for name, data in FILES.items():
        (tmp_path / name).write_bytes(data)
    done = run_alone(tmp_path, checkpoint.card, export_onnx(checkpoint), "--json", *FILES)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["file"] for answer in answers] == list(FILES)
    labels, warned, differences = checkpoint.card.image_data.classes, set(), []
    for answer, (name, data) in zip(answers, FILES.items(), strict=True):
        pixels = model_input(decode_image(data).rgb, 32, checkpoint.card.image_data.fit)
        expected = classify(checkpoint, pixels[None])[0]
        assert list(answer["probabilities"]) == list(labels)
        found = np.array(list(answer["probabilities"].values()))
        assert found == pytest.approx(np.array(expected.probabilities), abs=1e-4), name
        assert answer["probably_none_of_these"] == expected.likely_none_of_these, name
        warned.add(expected.likely_none_of_these)
        differences.append(found)
    assert warned == ({False} if kind == "no warning" else {True, False}), "the files must tell warnings apart"
    assert np.std(differences, axis=0).max() > 0.01, "the files must give different answers"


@pytest.mark.slow
def test_people_see_probabilities_and_the_warning_and_what_was_refused(tmp_path: Path) -> None:
    checkpoint = classifier("plain")
    names = ["rgb.png", "large.jpg", *REFUSED]
    for name in names:
        (tmp_path / name).write_bytes((FILES | REFUSED)[name])
    done = run_alone(tmp_path, checkpoint.card, export_onnx(checkpoint), *names, "missing.png")
    assert done.returncode == 1
    expected = classify(checkpoint, model_input(decode_image(FILES["rgb.png"]).rgb, 32)[None])[0]
    label, probability = expected.top[0]
    assert done.stdout.splitlines()[:2] == ["rgb.png", f"{probability:8.1%}  {label}"]
    several = [decode_image(FILES[name]).rgb for name in ("rgb.png", "large.jpg")]
    warned = [classify(checkpoint, model_input(rgb, 32)[None])[0].likely_none_of_these for rgb in several]
    assert done.stdout.count("Probably none of these classes.") == sum(warned)
    assert [line.split(" was not read: ")[0] for line in done.stderr.splitlines()] == [*REFUSED, "missing.png"]


@pytest.mark.slow
def test_without_the_heic_reader_it_says_what_to_install(tmp_path: Path) -> None:
    checkpoint = classifier("plain")
    for name in ("plain.heic", "plain.avif"):
        (tmp_path / name).write_bytes(FILES[name])
    named = ("numpy", "onnxruntime", "PIL")
    done = run_alone(tmp_path, checkpoint.card, export_onnx(checkpoint), "plain.heic", "plain.avif", named=named)
    assert "pip install pi-heif" in done.stderr
    assert "plain.avif" in done.stdout


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(range(len(VALID))), st.lists(EDIT, max_size=4))
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_damaged_file_that_the_app_reads_is_read_the_same(which: int, edits: list[tuple[str, float, bytes]]) -> None:
    data = VALID[which]
    for kind, place, content in edits:
        at = int(place * len(data))
        data = data[:at] + (b"" if kind == "cut" else content) + data[at + (0 if kind == "insert" else len(content)) :]
    try:
        expected = decode_image(data).rgb
    except LabError:
        with contextlib.suppress(Exception):  # as Pillow raises it; it may read what only a count of frames refuses
            image_script.read_image(data)
        return
    found = image_script.read_image(data)
    assert np.array_equal(found, expected)
    for fit in ("crop", "whole"):
        assert np.array_equal(image_script.model_input(found, 24, fit), model_input(expected, 24, fit))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["char_lstm", "char_gru", "char_gpt"])
def test_prompts_are_gone_on_from_as_in_the_app(name: str, tmp_path: Path) -> None:
    checkpoint = writer(name)
    data = export_onnx(checkpoint)
    cases: list[dict[str, Any]] = [{}, {"temperature": 0.0}, {"top_k": 3, "seed": 7}, {"top_p": 0.5, "no_repeat": 2}]
    (tmp_path / "net.onnx").write_bytes(data)
    network = text_script.open_network(tmp_path / "net.onnx")
    seen = set()
    for index, prompt in enumerate(PROMPTS):
        case = cases[index % len(cases)]
        expected = list(write(checkpoint, prompt, SamplingConfig(length=45, **case)))
        reading = read_prompt(checkpoint, prompt)
        shown, replaced = text_script.read_prompt(prompt, network[1])
        assert shown == reading.text
        if text.read(prompt, network[1]).text:
            assert replaced == dict(reading.replaced)
        found = list(text_script.write(network, shown, 45, **case))
        assert "".join(item[0] for item in found) == "".join(item.character for item in expected), repr(prompt)
        assert [item[1] for item in found] == pytest.approx([item.probability for item in expected], abs=1e-4)
        seen.add("".join(item[0] for item in found))
    assert len(seen) > len(PROMPTS) // 2, "prompts must be gone on from differently"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["char_lstm", "char_gpt"])
def test_the_script_writes_alone(name: str, tmp_path: Path) -> None:
    checkpoint = writer(name)
    data = export_onnx(checkpoint)
    asked = ("café \\n", "--length", "60", "--temperature", "1.5", "--seed", "3")
    done = run_alone(tmp_path, checkpoint.card, data, *asked)
    assert done.returncode == 0, done.stderr
    expected = write(checkpoint, asked[0], SamplingConfig(length=60, temperature=1.5, seed=3))
    assert done.stdout == "cafe \n" + "".join(item.character for item in expected) + "\n"
    assert done.stderr == "The model does not know 'é': it read 'e'.\n"
    done = run_alone(tmp_path, checkpoint.card, data, "--length", "5", "--json")
    found = json.loads(done.stdout)
    expected = list(write(checkpoint, "", SamplingConfig(length=5)))
    assert found["text"] == "".join(item.character for item in expected)
    assert found["probabilities"] == pytest.approx([item.probability for item in expected], abs=1e-4)


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=40), st.sets(st.characters(), min_size=1, max_size=30))
def test_any_text_is_read_as_in_the_app(prompt: str, characters: set[str]) -> None:
    for vocabulary in ("".join(sorted(characters)), VOCABULARY):
        expected = text.read(prompt, vocabulary)
        shown, replaced = text_script.read(prompt, vocabulary)
        assert (shown, replaced) == (expected.text, dict(expected.replaced))


def test_both_know_the_same_characters() -> None:
    assert text_script.LOOKALIKES == text.LOOKALIKES
    assert tuple(rule[1:] for rule in normalize.RULES) == text_script.RULES


def test_the_script_names_what_it_needs_and_nothing_else() -> None:
    for card in (classifier("plain").card, writer("char_gpt").card):
        lines = script(card, "net.onnx")
        first = lines.split('"""')[1]
        for package in ("numpy", "onnxruntime", *(("pillow",) if card.task == "images" else ())):
            assert package in first
        assert "core" not in {word.split(".")[0] for word in lines.split()}


def test_int8_is_exact_where_the_processor_adds_up_in_16_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this processor is: the option is set, and in its arithmetic the file answers as the checkpoint does."""
    import onnxruntime

    (tmp_path / "net.onnx").write_bytes(export_onnx(classifier("int8")))
    options: list[Any] = []
    opened = onnxruntime.InferenceSession

    def note(path: Any, given: Any, **more: Any) -> Any:
        options.append(given)
        return opened(path, given, **more)

    monkeypatch.setattr(onnxruntime, "InferenceSession", note)
    image_script.open_network(tmp_path / "net.onnx")
    assert options[0].get_session_config_entry("session.x64quantprecision") == "1"


def test_the_file_gives_distances_and_an_export_that_differs_is_refused() -> None:
    checkpoint = classifier("distance")
    assert checkpoint.features is not None
    data = export_onnx(checkpoint)
    images = random_images(40)[0]
    logits, far = OnnxNetwork(data).run(onnx_inputs(checkpoint.card, images))
    expected = answers_of(checkpoint, images)
    assert logits == pytest.approx(expected.logits.numpy(), abs=1e-4)
    assert expected.distances is not None
    assert far == pytest.approx(expected.distances.numpy(), abs=1e-3)
    assert compare_export(checkpoint, data, images) < 1e-3
    other = dataclasses.replace(checkpoint, features=checkpoint.features.flip(1))
    with pytest.raises(LabError, match="differ"):
        compare_export(other, data, images)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["flip+shift", "distance"])
def test_a_program_of_torch_export_answers_as_the_app(kind: str, tmp_path: Path) -> None:
    """Its script in this process: a link to all of PyTorch's libraries is no emptier environment."""
    checkpoint = classifier(kind)
    data = export_program(checkpoint)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert not any(b".py" in archive.read(name) for name in archive.namelist() if name.endswith("json"))
    assert compare_network(checkpoint, Program(data), None) < 1e-3
    script_of = import_script(tmp_path, program_script(checkpoint.card, "net.pt2"))
    (tmp_path / "net.pt2").write_bytes(data)
    network, about = script_of.open_network(tmp_path / "net.pt2")
    for name, file in list(FILES.items())[::3]:
        pixels = model_input(decode_image(file).rgb, 32, checkpoint.card.image_data.fit)
        expected = classify(checkpoint, pixels[None])[0]
        probabilities, warned = script_of.answer(network, about, pixels)
        assert probabilities == pytest.approx(np.array(expected.probabilities), abs=1e-4), name
        assert warned == expected.likely_none_of_these, name


@pytest.mark.slow
def test_a_gpt_leaves_as_a_program_and_recurrent_and_int8_networks_do_not(tmp_path: Path) -> None:
    checkpoint = writer("char_gpt")
    data = export_program(checkpoint)
    assert compare_network(checkpoint, Program(data), None) < 1e-3
    script_of = import_script(tmp_path, program_script(checkpoint.card, "net.pt2"))
    (tmp_path / "net.pt2").write_bytes(data)
    network = script_of.open_network(tmp_path / "net.pt2")
    found = script_of.write(network, "ROMEO:\n", 45)
    expected = write(checkpoint, "ROMEO:\n", SamplingConfig(length=45))
    assert "".join(item[0] for item in found) == "".join(item.character for item in expected)
    with pytest.raises(LabError, match="fixes the length of a recurrent network"):
        export_program(writer("char_lstm"))
    with pytest.raises(LabError, match="computes in int8"):
        export_program(classifier("int8"))


def import_script(folder: Path, lines: str) -> Any:
    (folder / "script.py").write_text(lines)
    assert "onnxruntime" not in lines
    spec = importlib.util.spec_from_file_location("script", folder / "script.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

"""Bench on small networks: a network against itself, against a damaged copy, without data, without ONNX; and on text."""

from __future__ import annotations

import dataclasses
import json
import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from core.checkpoints.store import Card, Checkpoint
from core.common.errors import LabError
from core.compression.measuring import measure, measure_text
from core.compression.measuring.measure import Bench
from core.compression.measuring.notes import about_int8
from core.compression.methods.int8 import to_int8
from core.compression.results import SUBJECTS, measurement_from_dict
from core.compression.steps import Int8, TrainQuantized
from core.data import TextDataset, load_text
from core.inference.evaluation import calibrate, evaluate, split_answers
from core.inference.images import logits_of
from core.inference.text import evaluate_text
from core.models import build_model
from tests.tiny_text import write_text
from tests.unit.builders import synthetic
from tests.unit.compression.quick_measuring import MEMORY, quicken

pytestmark = pytest.mark.slow

DATA = synthetic(held_out=200)
SMALL = {"width": 24, "embedding": 8, "layers": 2, "dropout": 0.0}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch)


def classifier(seed: int = 0, **settings: Any) -> Checkpoint:
    torch.manual_seed(seed)
    config = {"classes": 4, "widths": (8, 8)} | settings
    model = build_model("simple_cnn", config).eval().requires_grad_(False)
    card = Card(title=f"Network {seed}", model="simple_cnn", model_config=config, dataset=DATA.card)
    return Checkpoint(f"network-{seed}", card, model)


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> TextDataset:
    return load_text(f"text:{write_text(tmp_path_factory.mktemp('text'), 20_000)}")


def writer(data: TextDataset, name: str = "char_gru", seed: int = 0, **settings: Any) -> Checkpoint:
    torch.manual_seed(seed)
    config = {"vocabulary": len(data.card.vocabulary)} | (settings or SMALL)
    model = build_model(name, config).eval().requires_grad_(False)
    return Checkpoint(name, Card(title="Writer", model=name, model_config=config, dataset=data.card), model)


def with_card(checkpoint: Checkpoint, **card: Any) -> Checkpoint:
    return dataclasses.replace(checkpoint, card=dataclasses.replace(checkpoint.card, **card))


def test_a_network_against_itself() -> None:
    original = classifier()
    before = {name: value.clone() for name, value in original.model.state_dict().items()}
    threads = torch.get_num_threads()
    stages: list[tuple[float, str]] = []
    bench = Bench(original, 1234, DATA, threads=2, on_progress=lambda *stage: stages.append(stage))
    first, answers = bench.measure_original()
    again, same = bench.measure(original, 1234, id="1-nothing", title="nothing", number=1)
    assert torch.get_num_threads() == threads
    assert all(torch.equal(value, before[name]) for name, value in original.model.state_dict().items())

    assert (first.id, first.title, first.number, first.stored_bytes) == ("original", "original", 0, 1234)
    assert first.delta_points is first.p_value is first.disagreements is None
    assert set(first.latency_ms) == set(SUBJECTS)
    assert all(found.original_p50 == found.p50 <= found.p95 for found in first.latency_ms.values())
    assert first.threads == 2
    assert first.memory_bytes == MEMORY

    assert (again.delta_points, again.p_value, again.disagreements) == (0.0, 1.0, 0)
    assert again.delta_interval is not None
    assert again.delta_interval[0] < 0 < again.delta_interval[1]
    assert again.accuracy == first.accuracy
    assert answers is not None
    assert same is not None
    assert answers.dtype == np.int16
    assert np.array_equal(answers, same)
    answered = [share for share, words in stages if words.startswith("answer ")]
    assert answered[0] == 0.0
    assert max(answered) < 1
    assert {"time in PyTorch at batch 1", "time in ONNX Runtime at batch 64", "peak memory"} <= {
        words for _, words in stages
    }


def test_figures_are_those_of_the_evaluation() -> None:
    original, other = classifier(), classifier(1)
    first, answers = Bench(original, 0, DATA).measure_original()
    found, others = Bench(original, 0, DATA).measure(other, 0, id="1-x", title="x", number=1)
    one, two = (evaluate(checkpoint, DATA.test, "none") for checkpoint in (original, other))
    assert first.accuracy == one.accuracy
    assert first.accuracy_interval == one.interval
    assert first.per_class == tuple(item.accuracy for item in one.per_class)
    assert first.images == 200
    assert found.delta_points == pytest.approx(100 * (two.accuracy - one.accuracy))
    assert answers is not None
    assert others is not None
    assert np.array_equal(answers, logits_of(original, DATA.test.images, "none").argmax(1).numpy())
    assert found.disagreements == int((answers != others).sum())
    right = [row == DATA.test.labels for row in (answers, others)]
    lost = int((right[0] & ~right[1]).sum())
    gained = int((right[1] & ~right[0]).sum())
    assert lost + gained > 0
    assert found.p_value == pytest.approx(stats.binomtest(lost, lost + gained).pvalue)
    assert (first.size_bytes or 0) > 4 * first.parameters
    assert first.export_error is not None
    assert first.export_error < 1e-3


@pytest.mark.parametrize(
    ("train_on", "split", "images"), [("train", "validation", 200), ("train+validation", "test", 100)]
)
def test_a_variant_is_calibrated_on_images_that_it_did_not_train_on(train_on: str, split: str, images: int) -> None:
    variant = with_card(classifier(1), recipe={"train_on": train_on})
    found, _ = Bench(classifier(), 0, DATA).measure(variant, 0, id="1-x", title="x", number=1)
    assert found.calibration is not None
    assert (found.calibration.split, found.calibration.images) == (split, images)
    wanted = calibrate(variant.card, DATA, partial(split_answers, variant, tta="none"))
    assert found.calibration.temperature == pytest.approx(wanted.temperature, rel=1e-3)
    assert found.calibration.energy_threshold == pytest.approx(wanted.energy_threshold, abs=1e-4)
    assert found.calibration.misses is not None
    assert wanted.misses is not None
    assert found.calibration.misses.by_kind == pytest.approx(wanted.misses.by_kind, abs=0.03)
    sized = dataclasses.replace(DATA.card, sizes={"test": len(DATA.test)})
    told = evaluate(with_card(variant, calibration=found.calibration, dataset=sized), DATA.test, "none")
    assert (found.ece, found.flagged) == (pytest.approx(told.ece, abs=1e-3), pytest.approx(told.flagged, abs=0.011))


def test_results_survive_json() -> None:
    found, _ = Bench(classifier(), 5, DATA).measure(classifier(1), 5, id="1-x", title="x")
    assert found.calibration is not None
    assert measurement_from_dict(json.loads(json.dumps(dataclasses.asdict(found)))) == found


def test_a_machine_that_tells_no_memory_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "peak_memory", lambda *arguments, **named: None)
    found, _ = Bench(classifier(), 5, None).measure_original()
    assert found.memory_bytes is None
    assert "Peak memory could not be measured on this machine." in found.notes


def test_the_answers_of_the_original_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[str] = []

    class Counted(measure.ImageBench):
        def _test_logits(self, checkpoint: Checkpoint, *arguments: Any) -> Any:
            counted.append(checkpoint.name)
            return super()._test_logits(checkpoint, *arguments)

    monkeypatch.setattr(measure, "ImageBench", Counted)
    bench = Bench(classifier(), 0, DATA)
    bench.measure(classifier(1), 0, id="1-x", title="x")
    bench.measure_original()
    bench.measure(classifier(2), 0, id="2-x", title="x")
    assert sorted(counted) == ["network-0", "network-1", "network-2"]


def test_without_a_dataset_the_rest_is_measured() -> None:
    for data, words in (
        (None, "is not on this machine"),
        (dataclasses.replace(DATA, card=dataclasses.replace(DATA.card, classes=("x", "y"))), "no longer has"),
        (dataclasses.replace(DATA, test=dataclasses.replace(DATA.test, labels=DATA.test.labels[:0])), "no test images"),
        (synthetic(side=36), "32x32"),
    ):
        found, answers = Bench(classifier(), 0, data).measure_original()
        assert answers is None
        assert found.accuracy is None
        assert found.macs
        assert found.latency_ms
        assert any(words in note for note in found.notes), found.notes


def test_without_an_onnx_file_pytorch_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(checkpoint: Checkpoint) -> bytes:
        raise LabError("It has an operator that ONNX lacks.")

    original = classifier()
    monkeypatch.setattr(measure, "export_onnx", fails)
    found, answers = Bench(original, 0, DATA).measure_original()
    assert answers is not None
    assert np.array_equal(answers, logits_of(original, DATA.test.images, "none").argmax(1).numpy())
    assert found.size_bytes is found.memory_bytes is found.export_error is None
    assert set(found.latency_ms) == {"torch_b1", "torch_b64"}
    assert any("operator that ONNX lacks" in note for note in found.notes)


def test_an_export_that_differs_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: Any) -> float:
        raise LabError("The logits differ by 3.")

    monkeypatch.setattr(measure, "compare_export", fails)
    found, _ = Bench(classifier(), 0, DATA).measure_original()
    assert found.export_error is None
    assert "The logits differ by 3." in found.notes


def test_slower_and_zeros_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def timed(calls: Any) -> np.ndarray:
        return np.array([[5.0] * 9, [4.0] * 9][: len(calls)])

    bench = Bench(classifier(), 0, DATA)
    other = classifier(1)
    with torch.no_grad():
        other.model.conv2.weight.zero_()
    monkeypatch.setattr(measure, "interleaved", timed)
    found, _ = bench.measure(other, 0, id="1-x", title="x")
    assert found.latency_ms["onnx_b1"].original_p50 == 4.0
    assert (found.latency_ms["onnx_b1"].p50, found.latency_ms["onnx_b1"].rounds) == (5.0, 9)
    assert sum("Slower than the original" in note for note in found.notes) == 4
    assert any("are zero" in note for note in found.notes)
    first, _ = bench.measure_original()
    assert not any("Slower" in note for note in first.notes)


def test_a_remedy_is_named_where_int8_loses_much() -> None:
    card = classifier().card
    (said,) = about_int8(card, True, -0.51)
    assert said == "It loses 0.51 points against the original: quantization-aware training before int8 may help."
    assert about_int8(card, True, -0.5) == about_int8(card, True, None) == about_int8(card, False, -9.0) == []
    steps = [TrainQuantized().to_dict(), Int8().to_dict()]
    tried = dataclasses.replace(card, compression={"original": "x", "steps": steps})
    assert about_int8(tried, True, -9.0) == []
    tried = dataclasses.replace(card, compression={"original": "x", "steps": steps[1:]})
    assert about_int8(tried, True, -9.0) == about_int8(card, True, -9.0)


def test_int8_that_loses_much_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    made = to_int8(classifier(), DATA.train.images, Int8(images=32))
    bench = Bench(classifier(), 0, DATA)
    bench.measure_original()
    monkeypatch.setattr(measure.ImageBench, "_accuracy", lambda self, answers, original: {"delta_points": -3.0})
    found, _ = bench.measure(made, 0, id="1-int8", title="int8")
    assert sum("quantization-aware training" in note for note in found.notes) == 1
    found, _ = bench.measure(classifier(1), 0, id="1-x", title="x")
    assert not any("quantization-aware training" in note for note in found.notes)


def test_a_smaller_network_is_measured_as_it_is() -> None:
    bench = Bench(classifier(), 0, DATA)
    first, _ = bench.measure_original()
    found, _ = bench.measure(classifier(1, widths=(4, 4)), 0, id="1-x", title="x")
    assert found.parameters < first.parameters
    assert (found.macs or 0) < (first.macs or 0)
    assert (found.size_bytes or 0) < (first.size_bytes or 0)


def test_other_questions_are_refused(play: TextDataset) -> None:
    bench = Bench(classifier(), 0, None)
    other = with_card(classifier(), dataset=dataclasses.replace(DATA.card, classes=("p", "q", "r", "s")))
    with pytest.raises(LabError, match="different classes"):
        bench.measure(other, 0, id="1-x", title="x")
    large = with_card(classifier(), dataset=dataclasses.replace(DATA.card, image_size=64))
    with pytest.raises(LabError, match="different sizes"):
        bench.measure(large, 0, id="1-x", title="x")
    with pytest.raises(LabError, match="writes text"):
        bench.measure(writer(play), 0, id="1-x", title="x")
    spoken = writer(play)
    foreign = with_card(spoken, dataset=dataclasses.replace(play.card, vocabulary=play.card.vocabulary + "ß"))
    with pytest.raises(LabError, match="different characters"):
        Bench(spoken, 0, None).measure(foreign, 0, id="1-x", title="x")
    for threads in (0, 257, 1.5, True):
        with pytest.raises(LabError, match="from 1 to 256"):
            Bench(classifier(), 0, None, threads=threads)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["char_gru", "char_gpt"])
def test_text_against_itself_and_another(play: TextDataset, name: str) -> None:
    settings = SMALL if name == "char_gru" else {"width": 16, "heads": 2, "layers": 1, "context": 16}
    original = writer(play, name, **settings)
    bench = Bench(original, 77, play)
    first, answers = bench.measure_original()
    expected = evaluate_text(original, play.validation)
    assert answers is None
    assert first.loss_nats == pytest.approx(expected.loss_nats)
    assert first.accuracy == pytest.approx(expected.accuracy)
    assert first.images == expected.characters
    assert first.size_bytes == 4 * first.parameters
    assert first.latency_ms == {}
    assert (first.characters_per_s or 0) > 0
    assert first.characters_per_s == first.original_characters_per_s
    assert first.delta_nats is None
    assert measure_text.NOT_MEASURED in first.notes
    same, _ = bench.measure(original, 77, id="1-x", title="x")
    assert (same.delta_nats, same.delta_nats_interval) == (0.0, (0.0, 0.0))
    assert measure_text.NOT_MEASURED not in same.notes, "once is enough"
    found, _ = bench.measure(writer(play, name, 1, **settings), 77, id="1-x", title="x")
    assert found.delta_nats == pytest.approx((found.loss_nats or 0) - (first.loss_nats or 0))
    assert found.delta_nats_interval is not None
    assert found.delta_nats_interval[0] < (found.delta_nats or 0) < found.delta_nats_interval[1]


def test_text_in_8_bits_is_measured_as_it_writes(play: TextDataset) -> None:
    original = writer(play)
    bench = Bench(original, 0, play)
    first, _ = bench.measure_original()
    found, _ = bench.measure(with_card(original, storage="int8"), 0, id="1-int8", title="int8")
    assert (found.size_bytes or math.inf) < 0.6 * (first.size_bytes or 0)
    assert found.delta_nats is not None
    assert 0 < abs(found.delta_nats) < 0.01, "inputs are rounded, and little is lost"
    stored, _ = bench.measure(with_card(original, storage="coded"), 0, id="1-coded", title="coded")
    assert stored.size_bytes == first.size_bytes
    assert stored.delta_nats == 0
    assert any("become float32 again" in note for note in stored.notes)


def test_reading_step_by_step_gives_the_same_losses(play: TextDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """In float32 the stepper's losses are the model's own, long text in parts with a warm-up included."""
    from core.inference.decoding import RecurrentStepper
    from core.inference.text import character_losses

    tokens = torch.from_numpy(np.concatenate([play.train[:18_000]]))
    for name in ("char_lstm", "char_gru", "char_rnn"):
        model: Any = writer(play, name).model
        with torch.no_grad():
            expected, _ = character_losses(model, tokens, 0)
            found, _ = character_losses(measure_text._StepwiseReader(RecurrentStepper(model)), tokens, 0)  # type: ignore[arg-type]
        assert torch.allclose(found, expected, atol=1e-4)


def test_a_machine_without_8_bit_products_says_so(play: TextDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    original = writer(play)
    real = measure_text.stepper

    def fails(model: Any, precision: str = "float32") -> Any:
        if precision == "int8":
            raise RuntimeError("Didn't find engine for operation quantized::linear_prepack NoQEngine")
        return real(model, precision)

    monkeypatch.setattr(measure_text, "stepper", fails)
    found, _ = Bench(original, 0, play).measure(with_card(original, storage="int8"), 0, id="1-int8", title="int8")
    assert found.characters_per_s is None
    assert found.delta_nats == 0
    assert any("8-bit arithmetic is not available" in note for note in found.notes)


def test_text_without_its_dataset(play: TextDataset) -> None:
    other = dataclasses.replace(play, card=dataclasses.replace(play.card, vocabulary="ab☃"))
    for data, words in ((None, "is not on this machine"), (other, "no longer has the characters")):
        found, _ = Bench(writer(play), 0, data).measure_original()
        assert found.loss_nats is None
        assert found.characters_per_s
        assert any(words in note for note in found.notes)


def test_slower_writing_is_said(play: TextDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(writer(play), 0, None)
    monkeypatch.setattr(measure_text, "interleaved", lambda calls: np.array([[8.0] * 9, [4.0] * 9][: len(calls)]))
    found, _ = bench.measure(writer(play, seed=1), 0, id="1-x", title="x")
    assert found.characters_per_s == pytest.approx(32 / 8e-3)
    assert "Slower than the original when it writes: 0.50 times as fast." in found.notes

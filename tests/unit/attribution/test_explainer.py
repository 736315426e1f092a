"""Asking a checkpoint why: sums that hold, the same answer from all threads, nothing left behind, mistakes in a sentence."""

from __future__ import annotations

import copy
import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from captum import attr
from torch import nn

import core.attribution.explainer
from core.attribution.baselines import BASELINES
from core.attribution.explainer import Explainer
from core.attribution.method import AttributionRequest
from core.attribution.methods.registry import METHODS, QUICK, SLOW, get_method
from core.checkpoints.store import Checkpoint
from core.common.errors import LabError
from tests.unit.attribution.planted import DATA, TARGET, hooks, normalised, planted, random_image, small

pytestmark = pytest.mark.filterwarnings("ignore:Setting:UserWarning")
PIXELS = DATA.test.images[0]
GREY = np.full((32, 32, 3), 128, dtype=np.uint8)
COUNTED: dict[str, dict[str, Any]] = {
    "integrated_gradients": {"steps": 75, "max_gap": 1},
    "smoothgrad": {"samples": 75},
    "occlusion": {},
    "feature_ablation": {},
    "kernel_shap": {"samples": 75},
    "lime": {"samples": 75},
}
"""Methods that tell how far they are, with settings for several calls of the network."""


def rise(checkpoint: Checkpoint, base: torch.Tensor, target: int) -> tuple[float, float]:
    """Logit of the image, and its rise over the baseline, in double precision."""
    model = copy.deepcopy(checkpoint.model).double()
    with torch.no_grad():
        both = model(torch.cat([normalised(PIXELS, checkpoint.card), base]).double())[:, target].tolist()
    return both[0], both[0] - both[1]


@pytest.mark.parametrize("baseline", BASELINES)
def test_integrated_gradients_sum_to_the_rise_of_the_logit(baseline: str) -> None:
    checkpoint = small()
    explainer = Explainer(checkpoint)
    found = explainer.attribute(
        get_method("integrated_gradients", {"steps": 300, "max_gap": 1}), PIXELS, 1, baseline=baseline
    )
    wanted = rise(checkpoint, explainer.baseline(baseline, PIXELS), 1)[1]
    assert abs(wanted) > 0.01
    assert found.values.sum(dtype=np.float64) == pytest.approx(wanted, rel=0.01)
    assert found.gap < 0.01
    few = explainer.attribute(
        get_method("integrated_gradients", {"steps": 2, "max_gap": 1}), PIXELS, 1, baseline=baseline
    )
    assert few.gap == pytest.approx(abs(few.values.sum(dtype=np.float64) - wanted) / abs(wanted), rel=1e-3)
    assert few.gap > found.gap


def test_integrated_gradients_take_more_steps_until_the_gap_is_small() -> None:
    """From 2 steps on: at 2, 4, 8 or 16, whichever is the first below the gap, and at 16 where none is."""
    explainer = Explainer(small())

    def gap(steps: int, max_gap: float) -> float:
        settings = {"steps": steps, "max_gap": max_gap}
        found = explainer.attribute(get_method("integrated_gradients", settings), PIXELS, 1, baseline="black")
        assert found.gap is not None
        return found.gap

    plain = {steps: gap(steps, 1) for steps in (2, 4, 8, 16)}
    for wanted in (0.0001, *(value * 1.01 for value in plain.values())):
        first = next((steps for steps, value in plain.items() if value <= wanted), 16)
        assert gap(2, min(1, wanted)) == pytest.approx(plain[first], rel=1e-3)


@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize(
    ("name", "config"), [("simple_cnn", {}), ("fast_resnet", {}), ("fast_resnet", {"depth": 3, "dropout": 0.2})]
)
def test_deeplift_sums_to_the_rise_of_the_logit(name: str, config: dict[str, Any], baseline: str) -> None:
    checkpoint = small(name, **config)
    explainer = Explainer(checkpoint)
    found = explainer.attribute(get_method("deeplift"), PIXELS, 3, baseline=baseline)
    wanted = rise(checkpoint, explainer.baseline(baseline, PIXELS), 3)[1]
    assert found.values.sum(dtype=np.float64) == pytest.approx(wanted, rel=1e-3, abs=1e-6)
    assert found.gap < 1e-3


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("simple_cnn", {}),
        ("simple_cnn", {"batch_norm": True, "dropout": 0.3, "spatial_dropout": 0.3}),
        ("fast_resnet", {}),
        ("fast_resnet", {"dropout": 0.3, "spatial_dropout": 0.3}),
        ("fast_resnet", {"changed_layers": {"blocks.0.norm": {"removed": True}, "head": {"rank": 3}}}),
    ],
)
def test_lrp_is_input_times_gradient_where_all_is_relu(name: str, config: dict[str, Any]) -> None:
    """Ancona et al., arXiv:1711.06104. What is between the layers, dropped out or not, changes nothing."""
    checkpoint = small(name, **config)
    explainer = Explainer(checkpoint)
    lrp, product = (explainer.attribute(get_method(kind), PIXELS, 2) for kind in ("lrp", "input_x_gradient"))
    largest = np.abs(product.values).max()
    assert largest > 0
    np.testing.assert_allclose(lrp.values, product.values, atol=1e-4 * largest)
    logit = rise(checkpoint, explainer.baseline("black", PIXELS), 2)[0]
    assert lrp.gap == pytest.approx(abs(lrp.values.sum(dtype=np.float64) - logit) / abs(logit), rel=1e-3)
    for module in checkpoint.model.modules():  # without biases and norms, nothing is kept on the way
        if getattr(module, "bias", None) is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.zeros_(module.running_mean)
    assert Explainer(checkpoint).attribute(get_method("lrp"), PIXELS, 2).gap == pytest.approx(0, abs=1e-3)


def test_a_method_that_sums_to_nothing_has_no_gap() -> None:
    explainer = Explainer(planted())
    told = {
        name
        for name in (*QUICK, *SLOW)
        if explainer.attribute(get_method(name), random_image(), TARGET, baseline="mean").gap is not None
    }
    assert told == {"integrated_gradients", "deeplift", "gradient_shap", "lrp"}


def test_one_value_a_pixel() -> None:
    explainer = Explainer(small())
    for name in ("saliency", "input_x_gradient", "grad_cam"):
        found = explainer.attribute(get_method(name), PIXELS, 0)
        values = found.values.astype(np.float64)
        wanted = {"saliency": values.max(0), "input_x_gradient": values.sum(0), "grad_cam": values[1]}[name]
        np.testing.assert_allclose(found.pixels, wanted, rtol=1e-5, atol=1e-7)
        assert found.pixels.shape == (32, 32)
        np.testing.assert_array_equal(found.inputs, normalised(PIXELS, explainer.card).numpy()[0])


def test_baselines_are_what_they_are_called() -> None:
    explainer = Explainer(planted())
    mean, std = 0.4, 0.25
    assert torch.allclose(explainer.baseline("black", random_image()), torch.tensor(-mean / std))
    assert not explainer.baseline("mean", random_image()).any()
    noise = [explainer.baseline("noise", random_image(), seed) * std + mean for seed in (0, 0, 1)]
    assert torch.equal(noise[0], noise[1])
    assert not torch.equal(noise[0], noise[2])
    assert 0 <= noise[0].min() < 0.05 < 0.95 < noise[0].max() <= 1
    inputs, blurred = explainer.inputs(random_image()), explainer.baseline("blur", random_image())
    assert blurred.std() < inputs.std() / 2
    assert float(blurred.mean()) == pytest.approx(float(inputs.mean()), abs=0.05)


@pytest.mark.parametrize(
    ("pixels", "target", "options", "words"),
    [
        (np.zeros((8, 8, 3), np.uint8), 0, {}, "32x32 pixels"),
        (np.zeros((32, 32), np.uint8), 0, {}, "32x32 pixels"),
        (np.zeros((1, 32, 32, 3), np.uint8), 0, {}, "32x32 pixels"),
        (np.zeros((32, 32, 3), np.float32), 0, {}, "32x32 pixels"),
        (PIXELS, 4, {}, "no class 4: choose one from 0 to 3"),
        (PIXELS, -1, {}, "no class -1"),
        (PIXELS, 0, {"baseline": "white"}, "black, mean, blur, noise"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(
    pixels: np.ndarray, target: int, options: dict[str, str], words: str
) -> None:
    with pytest.raises(LabError, match=words):
        Explainer(small()).attribute(get_method("saliency"), pixels, target, **options)


@pytest.mark.parametrize(("pixels", "baseline"), [(GREY, "blur"), (GREY * 0, "black"), (GREY * 0, "blur")])
@pytest.mark.parametrize("name", [*QUICK, *SLOW])
def test_a_baseline_that_is_the_image_is_refused_where_one_is_used(
    name: str, pixels: np.ndarray, baseline: str
) -> None:
    explainer, method = Explainer(small()), get_method(name)
    if method.uses_baseline:
        with pytest.raises(LabError, match=f"same as its baseline \\({baseline}\\).*choose another baseline"):
            explainer.attribute(method, pixels, 1, baseline=baseline)
    else:
        assert np.isfinite(explainer.attribute(method, pixels, 1, baseline=baseline).values).all()


def test_weights_that_overflow_are_one_sentence() -> None:
    checkpoint = small()
    with torch.no_grad():
        checkpoint.model.get_submodule("head").weight.fill_(3e38)
        checkpoint.model.get_submodule("conv2").weight.fill_(1e30)
    with pytest.raises(LabError, match="overflows"):
        Explainer(checkpoint).attribute(get_method("saliency"), PIXELS, 1)


def test_the_same_question_gives_the_same_map_and_disturbs_no_generator() -> None:
    explainer = Explainer(small())
    for name in (*QUICK, *SLOW):
        kind = METHODS[name]
        method = get_method(name, COUNTED.get(name))
        torch.manual_seed(77)
        np.random.seed(77)
        first, second, other = (explainer.attribute(method, PIXELS, 1, seed=seed).values for seed in (3, 3, 4))
        drawn = torch.rand(3).tolist(), np.random.random(3).tolist()
        torch.manual_seed(77)
        np.random.seed(77)
        assert drawn == (torch.rand(3).tolist(), np.random.random(3).tolist()), name
        assert np.array_equal(first, second), name
        assert np.array_equal(first, other) != kind.random, name


def test_threads_get_the_maps_that_they_get_alone() -> None:
    """Two explainers, and one that is shared, asked at once by methods that draw from the generators all threads share."""
    one, two = Explainer(small()), Explainer(small("fast_resnet"))
    asked = [
        (explainer, get_method(name, COUNTED.get(name)), target)
        for target in (0, 3)
        for name in ("smoothgrad", "gradient_shap", "kernel_shap", "lime", "deeplift", "guided_backprop", "lrp")
        for explainer in (one, two)
    ]

    def ask(question: tuple[Explainer, Any, int]) -> np.ndarray:
        explainer, method, target = question
        return explainer.attribute(method, PIXELS, target, seed=1).values

    alone = [ask(question) for question in asked]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(ask, asked))
    for question, wanted, found in zip(asked, alone, together, strict=True):
        assert np.array_equal(wanted, found), question[1].name


def test_looking_into_a_network_disturbs_no_other_thread() -> None:
    """torch.fx's own tracer would: while it works, all networks of the process do as it says."""
    looked_into, used = Explainer(small("fast_resnet", depth=3)), small()
    inputs = normalised(PIXELS, used.card)
    with torch.no_grad():
        wanted = used.model(inputs)
    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(lambda: [looked_into.refusal(get_method("lrp")) for _ in range(30)])
        rounds = 0
        while not looking.done() or not rounds:
            with torch.no_grad():
                assert torch.equal(used.model(inputs), wanted)
            rounds += 1
        assert len(set(looking.result())) == 1


class Stop(BaseException):
    """As Streamlit stops a script: no Exception."""


def test_who_waits_for_others_to_draw_holds_nobody_up_and_can_be_stopped() -> None:
    explainer, waits = Explainer(small()), threading.Event()
    ended = threading.Event()

    def tell(share: float) -> None:
        waits.set()
        if ended.is_set():
            raise Stop

    with ThreadPoolExecutor(1) as pool:
        with core.attribution.explainer._DRAWING:  # as while somebody's KernelSHAP draws for minutes
            waiting = pool.submit(explainer.attribute, get_method("smoothgrad"), PIXELS, 1, on_progress=tell)
            assert waits.wait(20)
            assert explainer.attribute(get_method("saliency"), PIXELS, 1).values.any()
            ended.set()
            assert isinstance(waiting.exception(20), Stop)
        assert explainer.attribute(get_method("smoothgrad"), PIXELS, 1).values.any()


def test_a_slow_method_lets_others_draw_while_its_network_computes() -> None:
    """KernelSHAP waits in its network until somebody else's SmoothGrad is done, and both maps are those that they are alone."""
    slow, quick = small("fast_resnet"), Explainer(small())
    methods = get_method("kernel_shap", {"samples": 20}), get_method("smoothgrad", {"samples": 4})
    alone = Explainer(slow).attribute(methods[0], PIXELS, 1).values, quick.attribute(methods[1], PIXELS, 1).values
    computing, done = threading.Event(), threading.Event()

    def wait(*_: object) -> None:
        computing.set()
        assert done.wait(60)

    slow.model.register_forward_pre_hook(wait)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(Explainer(slow).attribute, methods[0], PIXELS, 1)
        assert computing.wait(60)
        np.testing.assert_array_equal(quick.attribute(methods[1], PIXELS, 1).values, alone[1])
        done.set()
        np.testing.assert_array_equal(waiting.result(60).values, alone[0])


@pytest.mark.parametrize("name", COUNTED)
def test_a_stop_leaves_nothing_behind(name: str) -> None:
    checkpoint, method = small(), get_method(name, COUNTED[name])
    explainer = Explainer(checkpoint)
    wanted = explainer.attribute(method, PIXELS, 1).values
    hooked = hooks(explainer._model)
    shares: list[float] = []

    def stop(share: float) -> None:
        shares.append(share)
        if len(shares) == 2:
            raise Stop

    torch.manual_seed(5)
    np.random.seed(5)
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    with pytest.raises(Stop):
        explainer.attribute(method, PIXELS, 1, on_progress=stop)
    assert 0 < shares[0] < shares[1] < 1
    assert torch.equal(states[0], torch.get_rng_state())
    assert np.array_equal(states[1], np.random.get_state()[1])
    assert hooks(explainer._model) == hooks(checkpoint.model) == hooked
    assert np.array_equal(explainer.attribute(method, PIXELS, 1).values, wanted)


@pytest.mark.parametrize("name", ["deeplift", "guided_backprop", "lrp", "guided_grad_cam"])
def test_a_failure_within_a_hooking_method_leaves_nohooks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint, method = small(), get_method(name)
    explainer = Explainer(checkpoint)
    wanted = explainer.attribute(method, PIXELS, 1).values
    hooked = hooks(explainer._model)

    def fail(*arguments: object, **named: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr("torch.autograd.grad", fail)
        with pytest.raises(MemoryError):
            explainer.attribute(method, PIXELS, 1)
    assert hooks(explainer._model) == hooked
    assert np.array_equal(explainer.attribute(method, PIXELS, 1).values, wanted)


def test_logits_and_probabilities_are_those_of_the_network_at_its_temperature() -> None:
    checkpoint = small()
    calibrated = dataclasses.replace(checkpoint.card.calibration, temperature=2.5)
    checkpoint = dataclasses.replace(checkpoint, card=dataclasses.replace(checkpoint.card, calibration=calibrated))
    explainer = Explainer(checkpoint)
    inputs = torch.randn(70, 3, 32, 32)  # more than go through at once
    with torch.no_grad():
        wanted = checkpoint.model(inputs)
    torch.testing.assert_close(explainer.logits(inputs), wanted)
    torch.testing.assert_close(explainer.probabilities(inputs), torch.softmax(wanted / 2.5, 1))


def test_many_samples_of_gradient_shap_go_through_a_few_at_a_time() -> None:
    """And are the mean of all of them, as if Captum had been asked in parts."""
    model, inputs, base = small().model, normalised(PIXELS, small().card), torch.zeros(1, 3, 32, 32)
    found = Explainer(small()).attribute(get_method("gradient_shap", {"samples": 60}), PIXELS, 2, seed=4).values
    torch.manual_seed(4)
    np.random.seed(4)
    shap = attr.GradientShap(model)
    parts = [
        count * shap.attribute(inputs, baselines=base, target=2, n_samples=count, stdevs=0.1) for count in (25, 25, 10)
    ]
    np.testing.assert_allclose(found, (sum(parts) / 60)[0].detach().numpy(), rtol=1e-4, atol=1e-7)
    sizes: list[int] = []
    clone_model = copy.deepcopy(model)
    clone_model.get_submodule("conv2").register_forward_hook(lambda module, given, output: sizes.append(len(output)))
    question = AttributionRequest(inputs=inputs.clone().requires_grad_(), target=2, baseline=base, seed=0)
    get_method("gradient_shap", {"samples": 60}).attribute(clone_model, question)
    assert sizes == [25, 25, 10]

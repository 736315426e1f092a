"""Networks: a file is brought, answers, is kept, and goes through the pages."""

from __future__ import annotations

import pytest
from safetensors.torch import save
from streamlit.testing.v1 import AppTest
from torchvision.models import mobilenet_v3_small

from core.checkpoints.store import load_checkpoint
from core.networks.store import kept_networks
from pages.shared import tasks
from tests.app.conftest import Open, click, follow, rerun, texts, wait_for
from tests.unit.networks.files import HEAD, WEIGHTS, Attends, Small, answers_only, export, graph


def settled(at: AppTest) -> AppTest:
    wait_for(lambda: all(task.done for task in tasks._tasks().values()))
    return rerun(at)


def give(open_page: Open, data: bytes, name: str = "mine.onnx") -> AppTest:
    at = open_page("networks")
    return settled(rerun(at.file_uploader(key="network-file-0").set_value((name, data, "application/octet-stream"))))


def test_a_file_is_read_answers_is_kept_and_deleted(open_page: Open) -> None:
    at = give(open_page, export(Small(), (2, 3, 32, 32)))
    assert "2 Conv" in texts(at)
    assert "parameters" in texts(at)
    at = settled(click(at, "try-network"))
    assert not kept_networks(), "nothing is kept before a person says so"
    at = click(at, "keep-network")
    assert "No dataset here has its classes" in texts(at)
    (network,) = kept_networks()
    assert load_checkpoint(network).onnx
    gone = open_page("networks", view="One network", network="gone")
    assert "not here any more" in "".join(warning.value for warning in gone.warning)
    at = click(at, "delete-network")
    assert not kept_networks()
    assert "There are no networks here yet" in texts(at)


def test_weights_say_what_they_are(open_page: Open) -> None:
    model = mobilenet_v3_small(num_classes=7)
    at = give(open_page, save(model.state_dict()), "mine.safetensors")
    assert "MobileNetV3 Small, 7 classes" in texts(at)
    assert at.selectbox(key="network-0-architecture").value == "mobilenet_v3_small"
    at = settled(click(at, "try-network"))
    assert "keep-network" in {button.key for button in at.button}


def test_weights_of_no_architecture_are_one_sentence(open_page: Open) -> None:
    at = give(open_page, save(Small().state_dict()), "mine.safetensors")
    assert "ONNX" in "".join(error.value for error in at.error)
    assert "try-network" not in {button.key for button in at.button}


def test_a_kept_network_answers_on_the_pages(open_page: Open, ten_classes: None) -> None:
    at = give(open_page, export(Small(), (2, 3, 32, 32)))
    at = rerun(at.selectbox(key="network-0-dataset").set_value("cifar10"))
    at = click(settled(click(at, "try-network")), "keep-network")
    name = kept_networks()[0].name
    assert "says" in texts(follow(at, "images", checkpoint=name, example="ship"))
    at = settled(click(follow(at, "images", view="Evaluate", checkpoint=name), "evaluate"))
    assert "Test accuracy on" in texts(at) or any(metric.label.startswith("Test accuracy") for metric in at.metric)


def test_a_network_without_gradients_is_explained_by_methods_that_only_ask(open_page: Open, ten_classes: None) -> None:
    at = rerun(give(open_page, answers_only(10)).selectbox(key="network-0-dataset").set_value("cifar10"))
    at = click(settled(click(at, "try-network")), "keep-network")
    assert "no layer here for the operator ConvTranspose" in texts(at)
    name = kept_networks()[0].name
    at = settled(follow(at, "attribution", checkpoint=name, example="ship"))
    assert "these methods only ask it" in texts(at)
    offered = {button.key for button in at.button if (button.key or "").startswith("add-")}
    assert offered == {"add-occlusion", "add-feature_ablation", "add-kernel_shap", "add-lime"}
    at = settled(click(at, "add-occlusion"))
    assert "remove-occlusion" in {button.key for button in at.button}
    at = settled(follow(at, "features", checkpoint=name))
    assert "runs only in ONNX Runtime" in "".join(error.value for error in at.error)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (graph(HEAD, WEIGHTS, inputs=(("x", ["N", 3, 8, 8]), ("z", [1]))), "takes 2 inputs"),
        (b"no network", "no ONNX file"),
    ],
)
def test_what_cannot_be_taken_is_one_sentence_and_the_box_is_there_again(
    open_page: Open, data: bytes, said: str
) -> None:
    at = give(open_page, data)
    assert said in "".join(error.value for error in at.error)
    assert at.file_uploader(key="network-file-1") is not None
    assert not kept_networks()


def test_another_class_count_is_said_before_anything_is_kept(open_page: Open) -> None:
    at = give(open_page, export(Attends(), (2, 3, 16, 16)))
    at = rerun(at.text_area(key="network-0-classes").set_value("cat\ndog"))
    at = settled(click(at, "try-network"))
    assert "5 classes, and 2 are named" in "".join(error.value for error in at.error)

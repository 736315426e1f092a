"""Attention against a written-out softmax, planted heads, and removal against what it must leave alone."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from core.attention import results
from core.attention.config import HeadsConfig, RemoveHeadsConfig, parse_head
from core.attention.explanation import _divergence, explain_attention
from core.attention.image import head_accuracies, image_heads
from core.attention.job import build_report
from core.attention.kind import HEADS
from core.attention.removal import find_without, save_without, without_heads
from core.attention.results import HeadReport, find_report, read_report
from core.attention.roles import ROLES, RoleSums, measure_roles, name_head, text_roles
from core.attention.rollout import roll_out
from core.attention.text import forward_with, text_heads
from core.attention.worth import cheapest, count_windows, head_losses, joint_losses, make_windows, window_seconds
from core.attribution.explainer import Explainer
from core.attribution.methods.registry import get_method
from core.checkpoints.store import Card, Checkpoint, find_checkpoint, load_checkpoint, save_checkpoint
from core.common.errors import LabError
from core.compression.methods.lowrank import factorise
from core.compression.steps import LowRank
from core.data import load_text
from core.data.dataset import TextCard
from core.inference.images import logits_of
from core.inference.text import character_losses
from core.jobs import RunStore
from core.jobs.job import Job
from core.models import build_model
from core.models.heads import list_heads
from tests.unit.builders import synthetic
from tests.unit.in_process import finish, follow

VOCABULARY = "\n :.abcdefghABCDEFGH"
PLAY = "AB:\nabc abc.\nde abcde\n\nCD:\nabc def abc\nfgh.\n\n" * 12


def gpt(**config: Any) -> Checkpoint:
    torch.manual_seed(0)
    values = {"vocabulary": len(VOCABULARY), "width": 24, "layers": 3, "heads": 3, "context": 32} | config
    model = build_model("char_gpt", values).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.mul_(4.0 if parameter.ndim == 2 else 1.0)
    card = Card(
        title="Writer",
        model="char_gpt",
        model_config=values,
        dataset=TextCard(name="t", title="T", vocabulary=VOCABULARY),
    )
    return Checkpoint("parent", card, model)


def vision(**config: Any) -> Checkpoint:
    torch.manual_seed(0)
    data = synthetic().card
    values = {"classes": 4, "image_size": 32, "width": 16} | config
    model = build_model("compact_transformer", values).eval().requires_grad_(False)
    return Checkpoint("seer", Card(title="Seer", model="compact_transformer", model_config=values, dataset=data), model)


def tokens_of(text: str) -> np.ndarray:
    return np.array([VOCABULARY.index(character) for character in text])


def plant_previous_character(checkpoint: Checkpoint, layer: int, head: int) -> None:
    """Queries and keys of that head are positions, shifted by one, and large."""
    model: Any = checkpoint.model
    attention, width = model.blocks[layer].attention, model.config.width
    rows = slice(head * attention.head_size, (head + 1) * attention.head_size)
    angles = torch.arange(model.config.context)[:, None] * torch.tensor([0.9, 0.37, 0.11, 0.03])
    waves = torch.cat([angles.cos(), angles.sin()], 1)  # (T, 8): a rotation by one step is a linear map
    model.embed.weight.mul_(0.02)
    model.position.weight.zero_()
    model.position.weight[:, :8] = waves
    query, key, _ = attention.qkv.weight.view(3, width, width)
    query[rows], key[rows] = 0.0, 0.0
    for place, step in enumerate([0.9, 0.37, 0.11, 0.03]):
        key[head * attention.head_size + place, place] = 30.0
        key[head * attention.head_size + 4 + place, 4 + place] = 30.0
        query[head * attention.head_size + place, [place, 4 + place]] = torch.tensor([math.cos(step), math.sin(step)])
        query[head * attention.head_size + 4 + place, [place, 4 + place]] = torch.tensor(
            [-math.sin(step), math.cos(step)]
        )


def test_weights_are_a_written_out_softmax_and_give_the_models_own_answer() -> None:
    checkpoint = gpt()
    model: Any = checkpoint.model
    text = PLAY[:30]
    found = text_heads(checkpoint, text)
    attention = model.blocks[0].attention
    with torch.no_grad():
        inner = model.blocks[0].norm1(model.enter(torch.from_numpy(tokens_of(text))[None]))
        query, key, _ = attention.qkv(inner)[0].split(24, 1)
        for head in range(3):
            part = slice(8 * head, 8 * head + 8)
            for row in range(30):
                scores = key[: row + 1, part] @ query[row, part] / math.sqrt(8)
                expected = (scores.double() - scores.max()).exp()
                np.testing.assert_allclose(
                    found.weights[0][head, row, : row + 1], expected / expected.sum(), rtol=1e-4, atol=1e-6
                )
                assert not found.weights[0][head, row, row + 1 :].any()
        expected = model(torch.from_numpy(tokens_of(text))[None])[0][0, -1].softmax(0)
    for layer in (*found.weights, found.rollout[None]):
        np.testing.assert_allclose(layer.sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-5)


def test_a_long_prompt_keeps_its_end_and_a_short_one_is_refused() -> None:
    found = text_heads(gpt(), PLAY[:50])
    assert (found.text, found.dropped) == (PLAY[18:50], 18)
    with pytest.raises(LabError, match="two characters"):
        text_heads(gpt(), "a")
    recurrent = load_checkpoint("char_rnn")
    with pytest.raises(LabError, match="choose a GPT"):
        text_heads(recurrent, "abc")


def test_rollout_of_the_identity_is_the_identity_and_that_of_one_step_back_reaches_further() -> None:
    identity = np.repeat(np.eye(5)[None], 2, 0)
    np.testing.assert_array_equal(roll_out([identity, identity]), np.eye(5))
    back = np.eye(5, k=-1)
    back[0, 0] = 1
    np.testing.assert_allclose(roll_out([back[None], back[None]])[4], [0, 0, 0.25, 0.5, 0.25])
    assert not np.array_equal(back.diagonal(), np.full(5, 0.5))  # what is given is left alone


def test_roles_point_where_the_rule_says() -> None:
    text = "\nAB:\nabc abc"
    expected = {
        "previous": (5, {4}),
        "same": (9, {5}),
        "repeat": (11, {8}),
        "line": (7, {4, 5}),
        "speaker": (8, {1, 2, 3}),
        "self": (3, {3}),
        "first": (6, {0}),
    }
    for name, (row, places) in expected.items():
        assert set(np.flatnonzero(ROLES[name].targets(text)[row])) == places, name
    assert set(np.flatnonzero(ROLES["repeat"].targets("abcXabc")[6])) == {3}
    assert not ROLES["speaker"].targets("abc abc").any()
    for role in ROLES.values():
        assert not np.triu(role.targets(PLAY[:60]), 1).any()  # nothing points ahead


def test_a_planted_previous_character_head_is_named_so_and_noise_is_not() -> None:
    checkpoint = gpt()
    plant_previous_character(checkpoint, 0, 1)
    trained, untrained = measure_roles(checkpoint, tokens_of(PLAY), 8)
    heads = list_heads(checkpoint.model)
    shares = [{name: float(values[place]) for name, values in trained.items()} for place in range(len(heads))]
    assert shares[heads.index((0, 1))]["previous"] > 0.9
    assert name_head(shares[heads.index((0, 1))], untrained) == "previous"
    noise = RoleSums.empty(40)
    random = np.random.default_rng(0)
    for _ in range(5):
        weights = np.tril(random.exponential(size=(40, 60, 60)))
        noise.add(PLAY[:60], weights / weights.sum(-1, keepdims=True))
    means = noise.means()
    control = {name: float(values.mean()) for name, values in means.items()}
    assert {
        name_head({name: float(values[head]) for name, values in means.items()}, control) for head in range(40)
    } == {""}


def test_the_cost_of_a_head_is_that_of_a_network_without_it() -> None:
    checkpoint = gpt()
    windows, scored = make_windows(tokens_of(PLAY), 32, 200)
    assert windows.shape == (9, 33)
    assert scored == 24
    losses = np.concatenate(list(head_losses(checkpoint.model, windows, scored)))
    assert losses.shape == (9, 10)
    whole = character_losses(checkpoint.model, torch.from_numpy(windows[0]), 1)[0][-24:].mean() / math.log(2)
    assert losses[0, 0] == pytest.approx(float(whole), abs=1e-5)
    for place, (layer, head) in enumerate(list_heads(checkpoint.model)):
        smaller = without_heads(checkpoint, [f"{layer}.{head}"])
        others = joint_losses(checkpoint.model, [(smaller.model, layer)], windows, scored)
        np.testing.assert_allclose(losses[:, 1 + place], others[:, 0], atol=2e-5)
    np.testing.assert_array_equal(np.concatenate(list(head_losses(checkpoint.model, windows, scored, 8))), losses[8:])


@pytest.mark.parametrize(("length", "characters"), [(300, 200), (66, 10**6), (500, 24), (500, 25)])
def test_windows_are_counted_without_a_text(length: int, characters: int) -> None:
    made, scored = make_windows(tokens_of((PLAY * 2)[:length]), 32, max(characters, 48))
    assert count_windows(length, 32, max(characters, 48)) == (len(made), scored)
    assert window_seconds(gpt().model) > 0


def test_a_silent_head_costs_nothing_and_goes_first() -> None:
    checkpoint = gpt()
    checkpoint.model.blocks[1].attention.out.weight[:, 8:16] = 0
    windows, scored = make_windows(tokens_of(PLAY), 32, 200)
    losses = np.concatenate(list(head_losses(checkpoint.model, windows, scored)))
    report = build_report(checkpoint, "Writer", tokens_of(PLAY), windows, scored, losses)
    silent = next(head for head in report.heads if head.name == "1.1")
    assert silent.cost_bits == pytest.approx(0, abs=1e-6)
    assert [len(joint.heads) for joint in report.joint] == [1, 2, 3, 4, 5, 6]
    assert HeadReport.from_dict(report.to_dict()) == report
    assert report.characters == 9 * 24
    assert report.role_characters == 32 * (len(PLAY) // 32)


def test_each_layer_keeps_a_head() -> None:
    costs = [((0, 0), 0.1), ((0, 1), 0.2), ((1, 0), 0.3), ((1, 1), 0.0)]
    assert cheapest(costs, [2, 2], 10) == [(1, 1), (0, 0)]
    assert cheapest(costs, [2, 2], 1) == [(1, 1)]


def test_a_network_without_heads_is_a_checkpoint_like_any_other(tmp_path: Path) -> None:
    parent = gpt()
    kept = {name: value.clone() for name, value in parent.model.state_dict().items()}
    made = without_heads(parent, ["0.0", "2.1", "2.2"])
    assert [block.attention.heads for block in made.model.blocks] == [2, 3, 1]
    assert made.card.parameters == sum(p.numel() for p in parent.model.parameters()) - 3 * 4 * 8 * 24
    save_checkpoint(tmp_path / "smaller", made.model, made.card)
    again = load_checkpoint(str(tmp_path / "smaller"))
    tokens = torch.from_numpy(tokens_of(PLAY[:20]))[None]
    with torch.no_grad():
        whole, state = again.model(tokens)
        assert [part[0].shape[1] for part in state] == [2, 3, 1]
        first, state = again.model(tokens[:, :12])  # the incremental way gives the same
        rest, _ = again.model(tokens[:, 12:], state)
        torch.testing.assert_close(torch.cat([first, rest], 1), whole)

        def silence(layer: int, weights: torch.Tensor) -> torch.Tensor:
            weights = weights.clone()
            for head in {0: [0], 2: [1, 2]}.get(layer, []):
                weights[:, head] = 0
            return weights

        torch.testing.assert_close(forward_with(parent.model, tokens, silence), whole)
    assert all(torch.equal(value, kept[name]) for name, value in parent.model.state_dict().items())


def test_heads_keep_their_numbers_through_removals_and_on_the_card(tmp_path: Path) -> None:
    parent = gpt()
    once = without_heads(parent, ["1.0"])
    save_checkpoint(tmp_path / "once", once.model, once.card)
    loaded = load_checkpoint(str(tmp_path / "once"))
    assert text_heads(loaded, PLAY[:20]).heads == ("0.0", "0.1", "0.2", "1.1", "1.2", "2.0", "2.1", "2.2")
    twice = without_heads(loaded, ["1.1", "2.0"])
    assert twice.card.model_config["changed_layers"] == {
        "blocks.1.attention": {"heads": 1, "kept": [2]},
        "blocks.2.attention": {"heads": 2, "kept": [1, 2]},
    }
    at_once = without_heads(parent, ["2.0", "1.1", "1.0"])
    assert list_heads(at_once.model) == list_heads(twice.model) == [(0, 0), (0, 1), (0, 2), (1, 2), (2, 1), (2, 2)]
    for name, value in at_once.model.state_dict().items():
        assert value.equal(twice.model.state_dict()[name])
    with pytest.raises(LabError, match=r"heads 1, 2 there"):
        without_heads(loaded, ["1.0"])
    before = {"changed_layers": {"blocks.1.attention": {"heads": 2}}}  # from before numbers were kept
    old = dataclasses.replace(parent, model=build_model("char_gpt", parent.card.model_config | before).eval())
    assert without_heads(old, ["1.0"]).card.model_config["changed_layers"] == {"blocks.1.attention": {"heads": 1}}


def test_the_same_heads_removed_twice_are_one_checkpoint(tmp_path: Path, lab_home: Path) -> None:
    parent = gpt()
    save_checkpoint(tmp_path / "writer", parent.model, parent.card)

    def without(*heads: str) -> RemoveHeadsConfig:
        name = str(tmp_path / "writer")
        return RemoveHeadsConfig(checkpoint=name, heads=heads, model="char_gpt", dataset="t")

    assert find_without(without("0.1", "1.2")) is None
    saved = save_without(without("0.1", "1.2"))
    assert find_without(without("1.2", "0.1")) == save_without(without("1.2", "0.1")) == saved
    assert save_without(without("0.1")) != saved
    parent.model.embed.weight.add_(1)
    save_checkpoint(tmp_path / "writer", parent.model, parent.card)
    assert save_without(without("0.1", "1.2")) != saved, "it was trained on"
    assert len(RunStore().list()) == 3


def test_roles_of_a_text_are_those_of_its_own_attention() -> None:
    checkpoint = gpt()
    text = PLAY[:32]
    found, untrained = text_roles(checkpoint, text_heads(checkpoint, text))
    expected, expected_untrained = measure_roles(checkpoint, tokens_of(text))
    assert untrained == pytest.approx(expected_untrained)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-6)


@pytest.mark.parametrize(
    ("heads", "words"),
    [
        (["3.0"], "layers 0 to 2"),
        (["0.3"], "heads 0 to 2"),
        (["1.0", "1.1", "1.2"], "no head left"),
        (["x"], "not a head"),
        (["1"], "not a head"),
    ],
)
def test_a_head_that_cannot_go_is_one_sentence(heads: list[str], words: str) -> None:
    with pytest.raises(LabError, match=words):
        without_heads(gpt(), heads)
    with pytest.raises(LabError, match="no attention"):
        without_heads(load_checkpoint("simple_cnn"), ["0.0"])


def test_a_card_with_other_heads_is_refused() -> None:
    for heads in (0, 4, True, "2"):
        with pytest.raises(LabError, match="heads"):
            build_model(
                "char_gpt", gpt().card.model_config | {"changed_layers": {"blocks.0.attention": {"heads": heads}}}
            )
    for kept in ([0], [0, 3], [1, 0], [0, 0], [0, True], "01"):
        with pytest.raises(LabError, match="kept"):
            build_model(
                "char_gpt",
                gpt().card.model_config | {"changed_layers": {"blocks.0.attention": {"heads": 2, "kept": kept}}},
            )
    with pytest.raises(LabError, match="no attention heads"):
        build_model("simple_cnn", {"changed_layers": {"conv1": {"heads": 1}}})


def test_tokens_of_an_image_attend_and_the_answer_is_their_sum() -> None:
    checkpoint = vision()
    pixels = synthetic().test.images[0]
    found = image_heads(checkpoint, pixels)
    assert (found.side, len(found.weights), found.weights[0].shape) == (8, 2, (2, 64, 64))
    for rows in (*found.weights, found.rollout, found.pooling, found.answer):
        np.testing.assert_allclose(rows.sum(-1), 1, atol=1e-5)
    with pytest.raises(LabError, match="Compact Transformer"):
        image_heads(load_checkpoint("simple_cnn"), pixels)
    explained = Explainer(checkpoint).attribute(get_method("attention_rollout"), pixels, 0).values[0]
    np.testing.assert_allclose(explained[::4, ::4].ravel(), found.answer, atol=1e-6)


def test_gradient_rollout_follows_the_class_and_both_refuse_other_networks() -> None:
    checkpoint = vision()
    pixels = synthetic().test.images[0]
    explainer = Explainer(checkpoint)
    first, second = (explainer.attribute(get_method("gradient_rollout"), pixels, target).values for target in (0, 1))
    assert first.min() >= 0
    assert not np.allclose(first, second)
    plain = (explainer.attribute(get_method("attention_rollout"), pixels, target).values for target in (0, 1))
    np.testing.assert_array_equal(*plain)
    for name in ("attention_rollout", "gradient_rollout"):
        with pytest.raises(LabError, match="vision Transformer"):
            Explainer(load_checkpoint("simple_cnn")).attribute(get_method(name), pixels, 0)


def test_a_silent_head_of_a_vision_transformer_costs_no_image() -> None:
    checkpoint = vision(layers=2, heads=2)
    checkpoint.model.blocks[0].attention.out.weight[:, :8] = 0
    shares: list[float] = []
    found = head_accuracies(checkpoint, synthetic().test, 40, lambda share, words: shares.append(share))
    assert [each.name for each in found] == ["0.0", "0.1", "1.0", "1.1"]
    assert (found[0].cost_points, found[0].p_value) == (0, 1)
    assert shares == sorted(shares)
    only = head_accuracies(vision(layers=1, heads=1), synthetic().test, 20, lambda share, words: None)
    assert [each.name for each in only] == ["0.0"]


def test_heads_and_factors_in_either_order(tmp_path: Path) -> None:
    """Low rank after a removal leaves that layer alone; a removal after it is one sentence, and heads can still be measured."""
    smaller = without_heads(vision(width=64), ["0.1"])
    both = factorise(smaller, LowRank(energy=0.5))
    save_checkpoint(tmp_path / "both", both.model, both.card)
    pixels = synthetic().test.images[:4]
    torch.testing.assert_close(logits_of(load_checkpoint(str(tmp_path / "both")), pixels), logits_of(both, pixels))
    factors = factorise(vision(width=64), LowRank(energy=0.5))
    with pytest.raises(LabError, match="in factors"):
        without_heads(factors, ["0.1"])
    assert len(head_accuracies(factors, synthetic().test, 8, lambda share, words: None)) == 4


def test_weights_that_are_no_numbers_and_damaged_results_are_one_sentence() -> None:
    broken = gpt()
    broken.model.norm.weight.fill_(float("nan"))
    with pytest.raises(LabError, match="damaged"):
        text_heads(broken, PLAY[:20])
    blind = vision()
    blind.model.tokenizer[0].weight.fill_(float("nan"))
    with pytest.raises(LabError, match="damaged"):
        image_heads(blind, synthetic().test.images[0])
    values = results.REPORTS.load_shipped("char_gpt").to_dict()
    for change in ({"heads": []}, {"heads": [values["heads"][0] | {"role": "x"}]}, {"untrained": {"previous": None}}):
        with pytest.raises(LabError, match="make it again"):
            HeadReport.from_dict(values | change)
    with pytest.raises(LabError, match="at least 10"):
        explain_attention(gpt(), PLAY[:5])


def test_divergence_is_symmetric_and_one_bit_at_most() -> None:
    rows = torch.rand(4, 9).softmax(1), torch.rand(4, 9).softmax(1)
    torch.testing.assert_close(_divergence(*rows), _divergence(*rows[::-1]))
    apart = torch.eye(2)
    torch.testing.assert_close(_divergence(apart, apart.flip(0)), torch.ones(2))
    torch.testing.assert_close(_divergence(apart, apart), torch.zeros(2))


def test_attention_that_nothing_reads_explains_nothing_and_one_that_is_read_does() -> None:
    """With no output of attention, any attention gives the answer. A head that copies what it looks at gives another."""
    checkpoint = gpt()
    for block in checkpoint.model.blocks:
        block.attention.out.weight.zero_()
    found = explain_attention(checkpoint, PLAY[:30])
    assert found.permuted_same == 1
    assert found.adversarial_jsd > 0.3
    assert found.answer.startswith("No")
    np.testing.assert_allclose([sum(found.usual), sum(found.adversarial)], 1, rtol=1e-5)
    last = text_heads(checkpoint, PLAY[:30]).weights[-1][:, -1]
    np.testing.assert_allclose(found.usual, last.mean(0), atol=1e-6)
    assert np.abs(np.subtract(found.usual, found.adversarial)).max() > 0.05
    writer = gpt(heads=1)
    for block in writer.model.blocks:
        block.attention.out.weight.mul_(20)
        block.attention.qkv.weight.mul_(3)
    read = explain_attention(writer, PLAY[:30])
    assert read.permuted_same < 1
    assert max(read.permuted_tvd) > 0.05
    assert all(0 <= value <= 1 for value in (*read.permuted_tvd, read.adversarial_tvd))


def test_a_stop_is_heard_within_every_stage() -> None:
    shares: dict[str, list[float]] = {}
    explain_attention(gpt(), PLAY[:30], 0, lambda share, words: shares.setdefault(words, []).append(share))
    assert len(shares) == 3
    every = [share for stage in shares.values() for share in stage]
    assert every == sorted(every)
    assert [len(stage) >= count for stage, count in zip(shares.values(), (50, 150, 1), strict=True)] == [True] * 3
    for words, stage in shares.items():

        def stop(share: float, said: str, at: tuple[str, float] = (words, stage[-1])) -> None:
            if (said, share) == at:
                raise KeyError(said)

        with pytest.raises(KeyError, match=words):
            explain_attention(gpt(), PLAY[:30], 0, stop)


def test_heads_are_measured_as_a_run_that_goes_on_where_it_stopped(
    monkeypatch: pytest.MonkeyPatch, lab_home: Path, tmp_path: Path
) -> None:
    text = tmp_path / "play.txt"
    text.write_text(PLAY * 20)
    name = f"text:{text}"
    dataset = load_text(name)
    parent = gpt(vocabulary=len(dataset.card.vocabulary))
    card = Card(title="Writer", model="char_gpt", model_config=parent.card.model_config, dataset=dataset.card)
    save_checkpoint(tmp_path / "writer", parent.model, card)
    config = HeadsConfig(checkpoint=str(tmp_path / "writer"), characters=1000)
    store = RunStore()
    run_id = store.create(config, None, kind=HEADS.name)
    run = finish(store, run_id)
    assert run.status == "finished", run.message
    found = read_report(store.folder(run_id), store.config(run_id))
    assert run.message == found.answer
    assert len(found.heads) == 9
    half = store.create(config, None, kind=HEADS.name)
    with monkeypatch.context() as patch:
        patch.setattr(Job, "stop_wanted", lambda job: "Stopped as asked" if job.value("step") else "")
        stopped = finish(store, half)
    assert (stopped.status, stopped.step, stopped.saved_step, stopped.keeps_work) == ("stopped", 8, 8, True)
    finish(store, half)
    again = read_report(store.folder(half), config)
    found_part, again_part = (results.REPORTS.read_part(store.folder(each)) for each in (run_id, half))
    assert dataclasses.replace(again, made={}) == dataclasses.replace(found, made={}), "bit for bit"
    saved = save_without(
        RemoveHeadsConfig(checkpoint=config.checkpoint, heads=("0.1",), model="char_gpt", dataset=name)
    )
    changed = {"blocks.0.attention": {"heads": 2, "kept": [0, 2]}}
    assert find_checkpoint(saved).card.model_config["changed_layers"] == changed
    assert find_report(find_checkpoint(config.checkpoint).card.fingerprint, store) in (found_part, again_part)
    assert find_report(find_checkpoint(saved).card.fingerprint, store) is None
    output, _ = follow("attention", "worth", "show", run_id, "--json")
    assert json.loads(output)["heads"][0]["layer"] == 0


def test_a_text_too_short_is_one_sentence() -> None:
    with pytest.raises(LabError, match="too short"):
        make_windows(np.zeros(40, np.int64), 32, 1000)
    assert parse_head("12.3") == (12, 3)


def test_losses_in_bits() -> None:
    checkpoint = gpt()
    windows, scored = make_windows(tokens_of(PLAY), 32, 100)
    logits = checkpoint.model(torch.from_numpy(windows[:1, :-1]))[0][0, -scored:]
    expected = F.cross_entropy(logits, torch.from_numpy(windows[0, 1:][-scored:])) / math.log(2)
    assert next(head_losses(checkpoint.model, windows, scored))[0, 0] == pytest.approx(float(expected), abs=1e-5)


def test_what_ships_is_of_the_checkpoint_that_ships() -> None:
    assert results.REPORTS.shipped_names() == ("char_gpt",)
    found: HeadReport = results.REPORTS.load_shipped("char_gpt")
    card = find_checkpoint("char_gpt").card
    assert found.fingerprint == card.fingerprint
    assert len(found.heads) == 36
    assert found.characters >= 100_000
    assert found.made["hardware"]
    assert found.bits_per_character == pytest.approx(card.metrics["val_bits_per_character"], abs=0.1)
    assert max(found.heads, key=lambda head: head.cost_bits).role == "previous"

"""One step of a recurrent cell, against PyTorch's own."""

from __future__ import annotations

import json
import math

import pytest
import torch

from core.app import main
from core.checkpoints.store import Checkpoint, find_checkpoint, load_checkpoint
from core.common.errors import LabError
from core.language.figures import term_bars
from core.language.recurrence import GATES, recurrent_step
from core.models import clone_model

SIGN = {"σ": lambda x: 1 / (1 + math.exp(-x)), "tanh": math.tanh}


@pytest.fixture(scope="module", params=["char_rnn", "char_lstm"])
def checkpoint(request: pytest.FixtureRequest) -> Checkpoint:
    return load_checkpoint(find_checkpoint(request.param))


def test_a_step_is_that_of_the_network(checkpoint: Checkpoint) -> None:
    model = clone_model(checkpoint.model).double().eval()
    vocabulary = checkpoint.card.text_data.vocabulary
    tokens = torch.tensor([[vocabulary.index(character) for character in "ROMEO"]])
    with torch.inference_mode():
        logits, state = model(tokens)
    for layer in range(len(state)):
        found = recurrent_step(checkpoint, "ROMEO", layer, 7)
        assert found.after == pytest.approx(float(state[layer][0][0, 7]), rel=1e-10)
        assert _combine(found) == pytest.approx(found.after, rel=1e-9)
        width, gates = model.config.width, [name for name, _ in GATES[model.cell]]
        module, before = model.layers[layer], _before(model, tokens)
        x = model.embed(tokens[0, -1]) if layer == 0 else state[layer - 1][0][0]
        sums = torch.nn.functional.linear(x, module.weight_ih_l0, module.bias_ih_l0)
        sums = sums + torch.nn.functional.linear(before[layer][0][0], module.weight_hh_l0, module.bias_hh_l0)
        for gate in found.gates:
            assert gate.total == pytest.approx(float(sums[gates.index(gate.name) * width + 7]), rel=1e-9, abs=1e-12)
            assert sum(term.product for term in gate.terms) + gate.rest + gate.bias == pytest.approx(gate.total)
            assert len(gate.terms) + gate.others == len(x) + width
            figure = term_bars(gate, dark=False)
            assert sum(figure.data[0].x) == pytest.approx(gate.total)
    best = logits[0, -1].softmax(0).topk(2)
    assert [character for character, _ in found.next[:2]] == [vocabulary[place] for place in best.indices.tolist()]
    assert [p for _, p in found.next[:2]] == pytest.approx(best.values.tolist())


def _before(model, tokens: torch.Tensor):  # type: ignore[no-untyped-def]
    """The state before the last character."""
    with torch.inference_mode():
        return model(tokens[:, :-1])[1]


def _combine(found) -> float:  # type: ignore[no-untyped-def]
    gates = {gate.name: SIGN[gate.function](gate.from_input + gate.from_state + gate.bias) for gate in found.gates}
    if found.cell == "rnn":
        return gates["h"]
    if found.cell == "gru":
        return (1 - gates["z"]) * gates["n"] + gates["z"] * found.before
    memory = gates["f"] * found.memory_before + gates["i"] * gates["g"]
    assert memory == pytest.approx(found.memory)
    return gates["o"] * math.tanh(memory)


def test_a_gru_too() -> None:
    from core.language.recurrence import _gates
    from core.models.char_rnn import CharRNN, CharRNNConfig

    torch.manual_seed(0)
    model = CharRNN(CharRNNConfig(vocabulary=4, embedding=3, width=5, layers=1, dropout=0), "gru").double().eval()
    h, tokens = torch.randn(1, 5, dtype=torch.float64), torch.tensor([[2]])
    with torch.inference_mode():
        _, after = model(tokens, [(h,)])
        r, z, n = _gates(model, 0, 3, model.embed(tokens[0, 0]), h[0])
    assert (1 - z.value) * n.value + z.value * float(h[0, 3]) == pytest.approx(float(after[0][0][0, 3]), rel=1e-10)
    assert sum(term.product for term in n.terms) == pytest.approx(n.from_input + n.from_state)  # all 8 of them
    assert 0 < r.value < 1


def test_what_is_not_there(checkpoint: Checkpoint) -> None:
    for text, layer, unit in (("", 0, 0), ("a" * 2001, 0, 0), ("a", 9, 0), ("a", 0, 100_000)):
        with pytest.raises(LabError):
            recurrent_step(checkpoint, text, layer, unit)


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["foundations", "recurrence", "ROMEO", "--checkpoint", "char_rnn", "--unit", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["gates"][0]["value"] == pytest.approx(found["after"])

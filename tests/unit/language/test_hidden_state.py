"""Inside a recurrent network: held against PyTorch's own modules, finite differences and hand-made cells."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from core.common.errors import LabError
from core.common.theme import PAPER
from core.data.dataset import ImageCard
from core.language.figures import (
    FLOOR,
    PER_ROW,
    SPELLED_OUT,
    diverging,
    gradient_curves,
    hidden_heatmap,
    unit_over_text,
)
from core.language.hidden_state import (
    MAX_CHARACTERS,
    best_units,
    correlations,
    gradient_norms,
    hidden_states,
    ordering,
    text_features,
    untrained,
)
from tests.tiny_text import play
from tests.unit.language.small import VOCABULARY, checkpoint, tokens

TEXT = play(160)
CELLS = ("rnn", "gru", "lstm")


@pytest.mark.parametrize("cell", CELLS)
def test_h_is_what_the_model_itself_puts_out(cell: str) -> None:
    tiny = checkpoint(f"char_{cell}")
    found = hidden_states(tiny, TEXT)
    with torch.no_grad():
        expected, _ = tiny.model.hidden(tokens(TEXT))
    assert found.states.dtype == np.float32
    np.testing.assert_array_equal(found.states, torch.cat(expected).numpy())
    assert (found.cells is not None) == (cell == "lstm")


def test_c_is_the_lstms_own_after_every_prefix() -> None:
    tiny = checkpoint("char_lstm")
    found = hidden_states(tiny, TEXT[:40])
    assert found.cells is not None
    for end in range(1, 41):
        _, after = tiny.model.hidden(tokens(TEXT[:end]))
        for layer, (h, c) in enumerate(after):
            np.testing.assert_allclose(found.states[layer, end - 1], h[0], atol=1e-6)
            np.testing.assert_allclose(found.cells[layer, end - 1], c[0], atol=1e-6)


def test_unknown_characters_are_read_as_their_stand_ins() -> None:
    tiny = checkpoint("char_gru")
    found = hidden_states(tiny, "Café\r\nnoir")
    assert found.text == "Cafe\nnoir"
    assert found.replaced == (("é", "e"),)
    np.testing.assert_array_equal(found.states, hidden_states(tiny, "Cafe\nnoir").states)


def test_the_checkpoint_stays_as_it_is() -> None:
    tiny = checkpoint("char_lstm")
    before = {name: value.clone() for name, value in tiny.model.state_dict().items()}
    hidden_states(tiny, TEXT)
    gradient_norms(tiny, TEXT, lags=10)
    assert not tiny.model.training
    assert all(torch.equal(value, before[name]) for name, value in tiny.model.state_dict().items())
    assert all(not p.requires_grad and p.grad is None for p in tiny.model.parameters())
    # In training mode dropout would act, and switching it off would be seen by whoever trains it.
    tiny.model.train()
    np.testing.assert_array_equal(hidden_states(tiny, TEXT).states, hidden_states(checkpoint("char_lstm"), TEXT).states)
    assert tiny.model.training


def test_only_recurrent_language_models_and_readable_texts() -> None:
    tiny = checkpoint("char_rnn")
    with pytest.raises(LabError, match="Tiny is a GPT and carries no hidden state"):
        hidden_states(dataclasses.replace(tiny, card=dataclasses.replace(tiny.card, model="char_gpt")), "a")
    images = ImageCard(name="x", title="X", classes=("a", "b"), mean=(0, 0, 0), std=(1, 1, 1))
    card = dataclasses.replace(tiny.card, model="simple_cnn", dataset=images)
    for look in (hidden_states, gradient_norms):
        with pytest.raises(LabError, match="is a Simple CNN"):
            look(dataclasses.replace(tiny, card=card), "a text")
        with pytest.raises(LabError, match="no text"):
            look(tiny, "")
        with pytest.raises(LabError, match="2,001 characters"):
            look(tiny, "a" * (MAX_CHARACTERS + 1))
    with pytest.raises(LabError, match="at least 3"):
        gradient_norms(tiny, "ab")
    with pytest.raises(LabError, match="rnn, gru, lstm"):
        untrained("elman", tiny)
    with pytest.raises(LabError, match="variance, quotes"):
        ordering(np.zeros((1, 2)), "rhyme", "a")


MARKED = """FIRST CITIZEN:
"Before we part," he said, 'tis late.

Anna of the Mill:
He told us: 'don't go' and 'stay': the gods' will.
And so it ends:"""


def marked(name: str) -> list[str]:
    """The stretches of MARKED that a tracker marks."""
    shown = "".join(c if on else "\0" for c, on in zip(MARKED, text_features(MARKED)[name]))
    return [part for part in shown.split("\0") if part]


def test_trackers_mark_what_they_say() -> None:
    assert marked("quotes") == ['"Before we part,', "'don't go", "'stay"]
    # "And so it ends:" is what a name may look like too; four words of small letters are none.
    assert marked("speaker") == ["FIRST CITIZEN", "Anna of the Mill"]
    assert marked("capitals") == ["FIRST", "CITIZEN", "B", "A", "M", "H", "A"]
    assert marked("word")[:9] == ["FIRST", "CITIZEN", "Before", "we", "part", "he", "said", "tis", "late"]
    assert "don't" in marked("word")
    line = text_features("ab\nabcd\n")["line"]
    np.testing.assert_allclose(line, [0.25, 0.5, 0, 0.25, 0.5, 0.75, 1, 0])
    for text in (MARKED, ""):
        assert {value.shape for value in text_features(text).values()} == {(len(text),)}


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("“Ja, ja”, sagt er", "“Ja, ja"),
        ('an "open quote\n\nthat never ends', ""),
        ("'Tis the gods' will", ""),
        ("the dogs' tails", ""),
        ("'What, ho!' he cried", "'What, ho!"),
    ],
)
def test_quotes_are_told_from_apostrophes(text: str, inside: str) -> None:
    assert "".join(c for c, on in zip(text, text_features(text)["quotes"]) if on) == inside


def test_correlations_are_pearsons() -> None:
    random = np.random.default_rng(0)
    values, feature = random.normal(size=(50, 7)).astype(np.float32), random.normal(size=50).astype(np.float32)
    expected = [np.corrcoef(values[:, cell], feature)[0, 1] for cell in range(7)]
    np.testing.assert_allclose(correlations(values, feature), expected, atol=1e-6)
    values[:, 3] = 0.7  # a cell that never changes follows nothing
    assert correlations(values, feature)[3] == 0
    assert not correlations(values, np.ones(50, dtype=np.float32)).any()


@pytest.mark.parametrize("name", text_features("a"))
@pytest.mark.parametrize("sign", [1, -1])
def test_a_planted_cell_comes_first(name: str, sign: int) -> None:
    random = np.random.default_rng(1)
    values = 0.5 * random.normal(size=(len(MARKED), 20)).astype(np.float32)
    values[:, 13] = sign * 0.05 * text_features(MARKED)[name] + 0.001 * values[:, 13]
    assert ordering(values, name, MARKED)[0] == 13
    values[:, 4] *= 3
    by_variance = ordering(values, "variance", MARKED)
    assert by_variance[0] == 4
    assert by_variance[-1] == 13
    assert sorted(by_variance) == list(range(20))


def test_gradients_of_an_rnn_are_the_product_of_its_jacobians() -> None:
    """d h_{t+1} / d h_t = diag(1 - h_{t+1}²) W_hh, written out with numpy; one layer, every end of the text."""
    tiny = checkpoint("char_rnn", layers=1, width=5, seed=3)
    text, lags = TEXT[:12], 4
    h = hidden_states(tiny, text).states[0].astype(np.float64)
    w_hh = tiny.model.layers[0].weight_hh_l0.numpy().astype(np.float64)
    head = tiny.model.head.weight.numpy().astype(np.float64)
    logits = tiny.model(tokens(text))[0][0].numpy().astype(np.float64)
    norms = []
    for end in range(lags, len(text) - 1):
        p = np.exp(logits[end]) / np.exp(logits[end]).sum()
        p[VOCABULARY.index(text[end + 1])] -= 1
        gradient, of_end = p @ head, []
        for t in range(end, end - lags - 1, -1):
            of_end.append(np.linalg.norm(gradient))
            gradient = gradient @ (np.diag(1 - h[t] ** 2) @ w_hh)
        norms.append(of_end)
    mean = np.mean(norms, axis=0)
    np.testing.assert_allclose(gradient_norms(tiny, text, lags=lags), mean / mean[0], rtol=1e-4)


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_are_finite_differences(cell: str) -> None:
    """What a small change of everything carried does to the loss, with PyTorch's own cells and two layers."""
    tiny = checkpoint(f"char_{cell}", width=4)
    tiny.model.double()
    text, lags = TEXT[:9], 3
    read = tokens(text)
    ends = range(lags, len(text) - 1)

    def loss(state: list[tuple[torch.Tensor, ...]], start: int, end: int) -> float:
        logits, _ = tiny.model(read[:, start + 1 : end + 1], state)
        return float(F.cross_entropy(logits[0, -1:], read[0, end + 1 : end + 2]))

    found = gradient_norms(tiny, text, lags=lags)
    sums = np.zeros(lags + 1)
    for end in ends:
        last = tiny.model.hidden(read[:, : end + 1])[0][-1][0, -1].requires_grad_()
        wanted = F.cross_entropy(tiny.model.logits(last[None]), read[0, end + 1 : end + 2])
        sums[0] += float(torch.autograd.grad(wanted, last)[0].norm())
        for lag in range(1, lags + 1):
            _, state = tiny.model.hidden(read[:, : end - lag + 1])
            squares = 0.0
            for layer, parts in enumerate(state):
                for place, part in enumerate(parts):
                    for unit in range(part.shape[1]):
                        ends_of = []
                        for change in (1e-5, -1e-5):
                            moved = part.clone()
                            moved[0, unit] += change
                            changed = [list(each) for each in state]
                            changed[layer][place] = moved
                            ends_of.append(loss([tuple(each) for each in changed], end - lag, end))
                        squares += ((ends_of[0] - ends_of[1]) / 2e-5) ** 2
            sums[lag] += squares**0.5
    np.testing.assert_allclose(found, sums / sums[0], rtol=1e-5)


def test_small_weights_forget_and_an_open_gate_does_not() -> None:
    rnn, lstm = checkpoint("char_rnn", layers=1), checkpoint("char_lstm", layers=1)
    rnn.model.layers[0].weight_hh_l0.mul_(0.1)
    lstm.model.layers[0].bias_ih_l0[12:24] = 8.0  # forget gates at 0.9997
    forgotten, kept = (gradient_norms(each, TEXT, lags=40) for each in (rnn, lstm))
    assert forgotten[0] == kept[0] == 1
    assert forgotten[20] < 1e-15
    assert kept[40] > 0.2 * kept[1] > 0.01
    # A short text gives fewer lags.
    assert [len(gradient_norms(rnn, TEXT[:length])) for length in (3, 50)] == [2, 49]
    assert len(gradient_norms(rnn, TEXT, lags=30)) == 31


def test_untrained_has_the_shape_and_comes_from_its_seed() -> None:
    trained = checkpoint("char_lstm", seed=9)
    random = torch.random.get_rng_state()
    same, again, other = (untrained("rnn", trained, seed) for seed in (1, 1, 2))
    assert torch.equal(random, torch.random.get_rng_state())
    assert same.card.model == "char_rnn"
    assert same.card.title == "Untrained RNN"
    assert same.card.metrics == {}
    assert same.card.model_config == trained.card.model_config
    assert same.card.parameters == sum(parameter.numel() for parameter in same.model.parameters())
    assert hidden_states(same, TEXT).states.shape == hidden_states(trained, TEXT).states.shape
    np.testing.assert_array_equal(hidden_states(same, TEXT).states, hidden_states(again, TEXT).states)
    assert not np.array_equal(hidden_states(same, TEXT).states, hidden_states(other, TEXT).states)
    assert same.card.fingerprint != other.card.fingerprint != trained.card.fingerprint
    assert not same.model.training
    tied = checkpoint("char_gru", width=6, tied=True)
    assert untrained("lstm", tied).model.head is None


def test_followers_are_the_best_cells_beside_those_of_chance() -> None:
    random = np.random.default_rng(2)
    values, others = random.normal(size=(len(MARKED), 9)), random.normal(size=(len(MARKED), 30))
    values[:, 7] = -text_features(MARKED)["speaker"]
    found = {each.tracker: each for each in best_units(values, others, MARKED)}
    assert found["speaker"].unit == 7
    assert found["speaker"].r == pytest.approx(-1)
    assert found["line"].untrained_baseline == pytest.approx(
        np.abs(correlations(others, text_features(MARKED)["line"])).max()
    )
    assert [each.tracker for each in best_units(values[:3], others[:3], "abc")] == ["line"]


def states(count: int, cells: int = 4) -> np.ndarray:
    return np.random.default_rng(3).uniform(-1, 1, (count, cells)).astype(np.float32)


@pytest.mark.parametrize("dark", [False, True])
def test_the_signed_scale_has_zero_in_the_page_and_even_ends(dark: bool) -> None:
    stops = [
        (place, [int(str(colour)[at : at + 2], 16) / 255 for at in (1, 3, 5)]) for place, colour in diverging(dark)
    ]
    luminance = [float(np.dot([0.2126, 0.7152, 0.0722], np.power(rgb, 2.2))) for _, rgb in stops]
    assert diverging(dark)[2] == [0.5, PAPER[dark]]
    away = [abs(value - luminance[2]) for value in luminance]
    assert away[0] > away[1] + 0.1 > 0.2
    assert away[4] > away[3] + 0.1 > 0.2
    assert luminance[0] == pytest.approx(luminance[4], abs=0.05)
    assert luminance[1] == pytest.approx(luminance[3], abs=0.1)


@pytest.mark.parametrize("dark", [False, True])
def test_a_short_text_is_spelled_out_below_its_columns(dark: bool) -> None:
    text = "A b\n<i>"
    figure = hidden_heatmap(states(7), text, ["3", "1", "0", "2"], dark=dark)
    assert figure.layout.xaxis.ticktext == ("A", "·", "b", "↵", "&lt;", "i", ">")
    np.testing.assert_allclose(figure.data[0].z, states(7).T)
    assert figure.layout.yaxis.ticktext == ("3", "1", "0", "2")
    assert len(set(figure.data[0].x)) == 7
    assert not any("<i>" in name for name in figure.data[0].x)


def test_up_to_120_characters_stand_in_two_rows_that_a_telephone_can_show() -> None:
    for text in (play(61), play(100), play(SPELLED_OUT), "x" * SPELLED_OUT):
        figure = hidden_heatmap(states(len(text)), text, list("abcd"), dark=False)
        first, second = figure.data
        assert len(first.x) + len(second.x) == len(text)
        assert max(len(first.x), len(second.x)) <= PER_ROW
        np.testing.assert_array_equal(np.hstack([first.customdata, second.customdata]), states(len(text)).T)
        assert figure.layout.xaxis.range == figure.layout.xaxis2.range
        assert figure.layout.yaxis.domain[0] > figure.layout.yaxis2.domain[1]
        assert figure.layout.yaxis2.domain[0] >= 0


def test_a_long_text_has_its_lines_as_ticks_and_c_a_scale_a_row() -> None:
    text = play(1500)
    figure = hidden_heatmap(
        states(1500), text, list("abcd"), dark=True, tracked=("Quotes", text_features(text)["quotes"])
    )
    assert 3 < len(figure.layout.xaxis.tickvals) <= 12
    for place, label in zip(figure.layout.xaxis.tickvals, figure.layout.xaxis.ticktext):
        assert place == 0 or text[place - 1] == "\n"
        assert text[place:].startswith(label.rstrip("…"))
    # c is drawn in each row's own scale and told as it is.
    values = states(30) * np.array([1, 10, 100, 0], dtype=np.float32)
    scaled = hidden_heatmap(values, play(30), list("abcd"), dark=False, symbol="c").data[0]
    assert np.abs(scaled.z).max(1).tolist() == pytest.approx([1, 1, 1, 0])
    np.testing.assert_array_equal(scaled.customdata, values.T)
    assert figure.layout.yaxis.ticktext[0] == "Quotes"
    np.testing.assert_array_equal(figure.data[0].z[0], text_features(text)["quotes"])


def test_a_cell_over_the_text_keeps_every_character() -> None:
    text = f"{'word ' * 30}\n\n{'x' * 130}\nend"
    values = states(len(text), 1)[:, 0]
    trace = unit_over_text(values, text, dark=False).data[0]
    shown = ~np.isnan(trace.z.astype(float))
    np.testing.assert_allclose(trace.z[shown], values, rtol=1e-6)
    signs = np.array(trace.text)[shown]
    assert "".join(signs).replace("↵", "\n") == text.replace(" ", "")
    assert trace.z.shape[1] <= PER_ROW
    assert unit_over_text(values[:1], "\n", dark=True).data[0].text[0][0] == "↵"


def test_curves_are_told_apart_and_end_at_the_floor() -> None:
    fading = 10.0 ** -np.arange(0, 20, dtype=float)
    curves = {"mine": fading, "other": fading[:5], "<b>fresh": np.ones(20)}
    models = dict.fromkeys(curves, "char_lstm")
    figure = gradient_curves(curves, dark=False, models=models, untrained=["<b>fresh"])
    first, second, fresh = figure.data
    assert first.line.color != second.line.color
    assert (first.line.dash, fresh.line.dash, fresh.line.color) == ("solid", "dash", first.line.color)
    assert fresh.name == "&lt;b>fresh"
    assert [value for value in first.y if value is not None] == pytest.approx(fading[fading >= FLOOR])
    assert figure.layout.yaxis.type == "log"
    assert figure.layout.yaxis.range[0] <= -12
    assert gradient_curves({"nothing": np.zeros(3)}, dark=True).data[0].y == (None, None, None)

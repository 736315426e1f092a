"""`generate`: text from a tiny language model on the command line, whatever the prompt, the settings and the reader."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from core.app import main
from core.checkpoints.store import Card, find_checkpoint, save_checkpoint
from core.common.output import harmless
from core.data import TextCard, load_text
from core.data.normalize import normalize
from core.inference.generate import MAX_PROMPT
from core.training.config import TrainConfig
from tests.tiny_text import write_text
from tests.unit.terminal import ROOT, refused, run_main


@pytest.fixture(scope="module")
def writer(home: Path) -> str:
    """The name of a network that learned a little of a play."""
    from core.training.session import TrainSession
    from core.training.trainer import train

    config = TrainConfig(
        model="char_rnn",
        model_config={"width": 32, "embedding": 16, "layers": 1, "dropout": 0.0},
        dataset=f"text:{write_text(home, 10_000)}",
        epochs=2,
        batch_size=8,
        window=32,
        lr=5e-3,
        grad_clip=1.0,
    )
    session = TrainSession.start(config, load_text(config.dataset), "cpu")
    for _ in train(session):
        pass
    for which in ("best", "last"):
        save_checkpoint(home / "runs" / "writer" / which, session.eval_model(), session.card("Writer"))
    return "writer"


def command(*arguments: str) -> tuple[str, ...]:
    checkpoint = () if "--checkpoint" in arguments else ("--checkpoint", "writer")
    return ("generate", *checkpoint, *arguments)


def ask(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    return run_main(capsys, *command(*arguments))


def wrote(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    code, output, said = ask(capsys, "--json", *arguments)
    assert (code, said) == (0, "")
    assert output.isascii()
    values: dict[str, Any] = json.loads(output)
    return values


def test_a_text_is_written_and_counted(writer: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--prompt", "ANNÀ: 你!", "--length", "80", "--seed", "5")
    values = wrote(capsys, *arguments)
    assert values["checkpoint"] == writer
    assert values["prompt"] == "ANNA:  !"
    assert values["replaced"] == [{"character": "À", "stand_in": "A"}, {"character": "你", "stand_in": " "}]
    assert values["characters"] == len(values["text"]) == 80
    assert 0 < values["bits_per_character"] < 8
    assert values["characters_per_second"] == pytest.approx(80 / values["seconds"], rel=0.01)
    assert 0 < values["first_character_ms"] <= values["seconds"] * 1e3
    settings = {"length": 80, "temperature": 0.8, "top_k": 0, "top_p": 1.0, "no_repeat": 0, "seed": 5, "streams": 1}
    assert settings.items() <= values["settings"].items()
    assert values["settings"]["precision"] == "float32"
    code, output, said = ask(capsys, *arguments)
    assert code == 0
    assert output == f"{values['prompt']}{values['text']}\n"
    assert len(said.splitlines()) == 1
    assert f"{values['bits_per_character']:.3f} bits per character" in said
    assert "characters/s" in said
    assert "'À' as 'A', '你' as ' '" in said
    assert wrote(capsys, *arguments[:-1], "6")["text"] != values["text"]


def test_several_texts_follow_each_other(writer: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--prompt", "BRUNO:", "--length", "30", "--streams", "3")
    values = wrote(capsys, *arguments)
    assert values["characters"] == 90
    assert len(set(values["texts"])) == 3
    assert values["text"] == values["texts"][0]
    code, output, said = ask(capsys, *arguments)
    assert code == 0
    assert output == "".join(f"BRUNO:{text}\n" for text in values["texts"])
    assert said.splitlines()[:2] == ["--- 2 of 3 ---", "--- 3 of 3 ---"]


def test_the_settings_are_those_of_the_writing(writer: str, capsys: pytest.CaptureFixture[str]) -> None:
    surest = [wrote(capsys, "--temperature", "0", "--length", "60", "--seed", seed) for seed in ("1", "2")]
    assert surest[0]["text"] == surest[1]["text"]
    for same in (("--top-k", "1"), ("--top-p", "0")):
        assert wrote(capsys, *same, "--length", "60")["text"] == surest[0]["text"]
    wild = wrote(capsys, "--temperature", "100", "--length", "60")
    assert wild["bits_per_character"] > surest[0]["bits_per_character"]
    once = wrote(capsys, "--temperature", "0", "--length", "200", "--no-repeat", "3")["text"]
    assert len({once[at : at + 3] for at in range(198)}) == 198
    assert wrote(capsys, "--precision", "int8", "--length", "20")["settings"]["device"] == "cpu"
    last = wrote(capsys, "--checkpoint", f"{writer}/last", "--length", "1")
    assert last["checkpoint"] == f"{writer}/last"
    assert last["characters"] == 1


def test_a_checkpoint_in_8_bits_writes_in_them_unless_told_otherwise(
    writer: str, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from core.checkpoints.store import load_checkpoint
    from core.compression.methods.int8 import to_int8
    from core.compression.steps import Int8

    made = to_int8(load_checkpoint(writer), None, Int8())
    save_checkpoint(home / "int8", made.model, made.card)
    asked = ("--checkpoint", str(home / "int8"), "--length", "60")
    usual = wrote(capsys, *asked)
    assert (usual["settings"]["precision"], usual["settings"]["device"]) == ("int8", "cpu")
    explicit, plain = (wrote(capsys, *asked, "--precision", precision) for precision in ("int8", "float32"))
    assert (usual["text"], usual["bits_per_character"]) == (explicit["text"], explicit["bits_per_character"])
    assert plain["settings"]["precision"] == "float32"
    assert plain["bits_per_character"] != usual["bits_per_character"]
    monkeypatch.setattr(type(torch.backends.quantized), "engine", "none")  # as on Apple silicon
    code, output, said = ask(capsys, "--json", *asked)
    without = json.loads(output)
    assert (code, without["settings"]["precision"], without["text"]) == (0, "float32", plain["text"])
    assert "cannot compute in int8" in said


ODD_PROMPTS = {
    "empty": "",
    "control": "\x1b[31m\x07\x00\x08\x9b2J\u2028\x7f",
    "half a character": "\udcff\ud800",
    "an option": "--length 5",
    "lines": "ANNA:\r\nWell,\rand\n",
}


@pytest.mark.parametrize("prompt", ODD_PROMPTS.values(), ids=ODD_PROMPTS)
def test_whatever_is_given_as_a_prompt_is_gone_on_from(
    writer: str, prompt: str, capsys: pytest.CaptureFixture[str]
) -> None:
    vocabulary = find_checkpoint(writer).card.text_data.vocabulary
    values = wrote(capsys, f"--prompt={prompt}", "--length", "5")
    plain = normalize(prompt).text
    assert len(values["prompt"]) == len(plain)
    assert set(values["prompt"]) <= set(vocabulary)
    stand_ins = {item["character"]: item["stand_in"] for item in values["replaced"]}
    assert set(stand_ins) == set(plain) - set(vocabulary)
    assert values["prompt"] == "".join(stand_ins.get(character, character) for character in plain)
    code, output, said = ask(capsys, f"--prompt={prompt}", "--length", "5")
    assert code == 0
    assert output == f"{values['prompt']}{values['text']}\n"
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", output + said)
    assert len(said.splitlines()) == 1


def test_a_prompt_comes_from_standard_input(
    writer: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def given(data: bytes) -> tuple[str, ...]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        return command("--prompt", "-", "--length", "3")

    code, output, _ = run_main(capsys, *given(b"BRUNO:\n"))
    assert code == 0
    assert output.startswith("BRUNO:\n")
    assert len(output) == len("BRUNO:\n") + 3 + 1
    for data, words in ((b"a" * 100_000, f"{MAX_PROMPT:,}"), ("你".encode() * 21_000, "21,000"), (b"caf\xe9", "UTF-8")):
        assert words in refused(capsys, *given(data))


MISTAKES = [
    (("--prompt", "a" * 100_000), "shorten it"),
    (("--temperature", "101"), "from 0 to 100"),
    (("--temperature", "nan"), "temperature"),
    (("--no-repeat", "1.5"), "whole number"),
    (("--streams", "1000000000"), "continuations"),
    (("--precision", "int4"), "int4"),
    (("--device", "toaster"), "toaster"),
    (("--checkpoint", "nobody"), "nobody"),
    (("--checkpoint", ""), "no checkpoint"),
    (("--checkpoint", "simple_cnn"), "cannot write"),
]


@pytest.mark.parametrize(("arguments", "words"), MISTAKES, ids=[" ".join(case[0])[:40] for case in MISTAKES])
def test_a_mistake_is_one_sentence_and_nothing_is_written(
    writer: str, arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for more in ((), ("--json",)):
        assert words in refused(capsys, *command(*arguments, *more))


@pytest.mark.slow
def test_what_is_wrong_is_told_before_torch_is_imported(home: Path) -> None:
    cases = [
        ["generate", "--checkpoint", "nobody"],
        ["generate", "--checkpoint", "simple_cnn"],
        ["generate", "--temperature", "101"],
    ]
    script = (
        "import json, sys\nfrom core.app import main\n"
        "print([main(case) for case in json.loads(sys.argv[1])], 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script, json.dumps(cases)], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "[2, 2, 2] False\n", done.stderr


def test_the_first_language_model_writes_where_none_is_named(
    writer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("core.checkpoints.store.PRETRAINED", tmp_path)
    code, _, said = run_main(capsys, "generate", "--length", "3")
    assert code == 0
    assert said.startswith("writer: ")
    monkeypatch.setenv("LAB_HOME", str(tmp_path))
    assert "python -m core train --model char_lstm" in refused(capsys, "generate")


class Interrupting(io.StringIO):
    """Standard output of a person who presses Ctrl-C once so many characters are there."""

    pressed = False

    def write(self, text: str) -> int:
        length = super().write(text)
        if not self.pressed and self.tell() > 40:
            self.pressed = True
            signal.raise_signal(signal.SIGINT)
        return length


def test_characters_come_as_they_are_written_until_ctrl_c(
    writer: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = Interrupting()
    monkeypatch.setattr(sys, "stdout", output)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        code = main([*command("--prompt", "ANNA:", "--length", "20000", "--streams", "2", "--seed", "1")])
    finally:
        signal.signal(signal.SIGINT, before)
    written, said = output.getvalue(), capsys.readouterr().err
    assert code == 130
    assert written.startswith("ANNA:")
    assert 40 < len(written) < 200
    assert written.endswith("\n")
    assert "--- 2 of 2 ---" in said
    assert "bits per character" in said
    assert said.endswith("Interrupted.\n")
    assert "Traceback" not in said


def test_a_reader_may_stop_reading(
    writer: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reader, output = os.pipe()
    os.close(reader)
    with os.fdopen(output, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        assert main([*command("--length", "20000")]) == 0
    assert capsys.readouterr().err == ""


def test_control_characters_of_a_vocabulary_cannot_steer_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from core.models import build_model

    vocabulary = "\x07\t\n\x1b\x9b[]0;ab"
    settings = {"vocabulary": len(vocabulary), "width": 4, "embedding": 4, "layers": 1}
    data = TextCard(name="text:/nowhere.txt", title="Bells", vocabulary=vocabulary)
    card = Card(title="Bells", model="char_rnn", model_config=settings, dataset=data)
    save_checkpoint(tmp_path, build_model("char_rnn", settings), card)
    arguments = ("--checkpoint", str(tmp_path), "--prompt", "\x1b]0;\x07", "--length", "300", "--temperature", "100")
    values = wrote(capsys, *arguments)
    assert set(values["text"]) == set(vocabulary)
    code, output, _ = ask(capsys, *arguments)
    assert code == 0
    assert output == harmless(f"\x1b]0;\x07{values['text']}\n")
    assert output.startswith(r"\x1b]0;\x07")
    assert all(character.isprintable() or character in "\n\t" for character in output)

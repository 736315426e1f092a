"""Which encoding a file is in: a measured set of languages and encodings, and what is damaged rather than encoded."""

from __future__ import annotations

import random

import pytest

from core.common.errors import LabError
from core.data.encodings import ENCODINGS, EncodingError, decode, guess_encoding, preview
from core.data.text import decode_file

TEXTS = {
    "English": "The café on the corner, “Chez René”, serves naïve tourists’ crêpes for £5. It was the best of times. ",
    "German": "Über den Wäldern lag Schnee, und die Füße der Kinder waren naß. Größe heißt nicht Stärke, sagte der Müller. ",
    "French": "Longtemps, je me suis couché de bonne heure. Parfois, à peine ma bougie éteinte, mes yeux se fermaient si vite "
    "que je n’avais pas le temps de me dire : « Je m’endors. » Où étais-tu, ma chère sœur ? ",
    "Spanish": "En un lugar de la Mancha, de cuyo nombre no quiero acordarme, no ha mucho tiempo que vivía un hidalgo de los de "
    "lanza en astillero, rocín flaco y galgo corredor. ¿Quién eres, señor? ",
    "Polish": "Litwo! Ojczyzno moja! ty jesteś jak zdrowie; ile cię trzeba cenić, ten tylko się dowie, kto cię stracił. Dziś "
    "piękność twą w całej ozdobie widzę i opisuję, bo tęsknię po tobie. ",
    "Russian": "Все счастливые семьи похожи друг на друга, каждая несчастливая семья несчастлива по-своему. Всё смешалось. ",
    "Greek": "Μήνιν άειδε θεά Πηληιάδεω Αχιλήος ουλομένην, ή μυρί Αχαιοίς άλγε έθηκε. ",
    "Turkish": "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar. Akıl ve vicdana sahiptirler. ",
    "Japanese": "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。何でも薄暗いじめじめした所でニャーニャー泣いて"
    "いた事だけは記憶している。\n",
    "Chinese": "道可道，非常道。名可名，非常名。无名天地之始；有名万物之母。故常无欲，以观其妙；常有欲，以观其徼。\n",
}
MEASURED = {
    "English": ("cp1252", "mac-roman"),
    "German": ("cp1252", "latin-1", "mac-roman", "cp850"),
    "French": ("cp1252", "mac-roman"),
    "Spanish": ("cp1252", "latin-1", "mac-roman"),
    "Polish": ("cp1250", "iso8859-2"),
    "Russian": ("cp1251", "koi8-r", "cp866"),
    "Greek": ("cp1253",),
    "Turkish": ("cp1254",),
    "Japanese": ("shift_jis", "euc-jp"),
    "Chinese": ("gb18030",),
}
WIDE = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32")


def sample(language: str) -> str:
    text = TEXTS[language]
    return text * (1500 // len(text) + 1)


@pytest.mark.parametrize("language", TEXTS)
def test_the_encoding_of_a_text_is_found(language: str) -> None:
    text, asked = sample(language), []
    for encoding in (*MEASURED[language], *WIDE):
        data = text.encode(encoding)
        found = guess_encoding(data)
        if found is None:
            asked.append((language, encoding))
            continue
        assert decode(data, found, "x").removeprefix("\ufeff") == text, (language, encoding, found)
        assert text.startswith(preview(data, found, lines=1).removeprefix("\ufeff")), (language, encoding)
    # As Windows-1252 and Windows-1250 these letters are as likely.
    assert asked == ([("Turkish", "cp1254")] if language == "Turkish" else [])


def test_what_fits_several_encodings_is_not_guessed() -> None:
    few = "Où? " * 400
    data = few.encode("cp1252")
    assert guess_encoding(data) is None
    with pytest.raises(EncodingError) as caught:
        decode_file(data, "few.txt")
    assert caught.value.guess is None
    assert decode_file(data, "few.txt", "cp1252").text == few


def test_a_wrong_choice_is_one_sentence() -> None:
    with pytest.raises(LabError, match=r"few.txt is not EUC-JP .* choose another encoding"):
        decode(b"Gr\xf6 \xdfe", "euc-jp", "few.txt")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_any_bytes_are_previewed(encoding: str) -> None:
    data = random.Random(1).randbytes(9001)
    assert len(preview(data, encoding).split("\n")) <= 4

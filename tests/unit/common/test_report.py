"""A report needs nothing else, shows both themes, and makes no markup of what a person named."""

from __future__ import annotations

import base64
import gzip
import json
import re

import plotly.graph_objects as go
import pytest
from plotly.offline import get_plotlyjs

from core.common.commands import changed_settings, command_line
from core.common.report import Chart, File, Image, Paragraph, Report, Table, Verbatim
from core.training.recipes import RECIPES

BAD = "</script><img src=x onerror=alert(1)>"
REMOTE = "![](https://e.vil/x.png)"
DOT = b"\x89PNG-light", b"\x89PNG-dark"


def chart(dark: bool) -> go.Figure:
    return go.Figure(go.Scatter(x=[1, 2], y=[3, 4], name=BAD), {"paper_bgcolor": "black" if dark else "white"})


@pytest.fixture(scope="module")
def text() -> str:
    return (
        Report(
            title=BAD,
            answer="**93%** right, :green[**helps**] :material/check: [paper](https://example.org)",
            blocks=[
                Paragraph(text=f"# Head\n\n{BAD} [link](javascript:alert(1)) {REMOTE}"),
                Verbatim(text=f"two\nlines {BAD}"),
                Table(columns={"A": ["**1**", BAD + REMOTE], "B": ["2", "3"]}),
                Table(columns={"C": ["folded"]}, fold=f"All {BAD}"),
                File(name=f'"{BAD}.png', image=DOT[0], text=f"Save {BAD}"),
                Image(draw=lambda dark: DOT[dark], alt=f'"{BAD}', width=10),
                Chart(draw=chart, alt=BAD),
            ],
            command=f"python -m core classify '{BAD}'",
            made={"image": BAD, "empty": ""},
        )
        .html()
        .decode()
    )


def test_names_become_no_markup(text: str) -> None:
    assert "<img src=x" not in text
    assert not re.search(r'href="javascript', text)
    assert text.count("<script>") == text.count("</script>") == 2
    assert not re.search(r"<a download=\"[^\"]*<", text)


def test_it_loads_nothing(text: str) -> None:
    assert set(re.findall(r'src(?:set)?="([^"]{0,10})', text)) == {"data:image"}
    assert set(re.findall(r"https?://[^\s\"'<]+", text)) == {"https://example.org", "https://e.vil/x.png"}, "links only"
    assert "default-src 'none'" in text
    assert not re.search(r"<(link|iframe|object|embed)\b", text)


def test_plotly_is_packed_into_it(text: str) -> None:
    (packed,) = re.findall(r"const packed='([^']+)'", text)
    assert gzip.decompress(base64.b64decode(packed)).decode() == get_plotlyjs()
    assert len(text) < len(get_plotlyjs()) / 2


def test_a_table_is_folded_and_a_file_can_be_saved(text: str) -> None:
    (fold,) = re.findall(r"<details><summary>All .*?</summary>(.*?)</details>", text)
    assert "<td>folded</td>" in fold
    (address,) = re.findall(r'<a download="[^"]*" href="data:image/png;base64,([^"]+)">', text)
    assert base64.b64decode(address) == DOT[0]


def test_both_themes_are_in_it(text: str) -> None:
    figures = re.search(r"push\((\[.*?\])\)</script>", text)
    assert figures
    _, light, night = json.loads(figures[1])
    assert (light["layout"]["paper_bgcolor"], night["layout"]["paper_bgcolor"]) == ("white", "black")
    assert light["data"][0]["name"] == BAD
    assert '<source media="(prefers-color-scheme: dark)" srcset="data:image/png' in text


def test_words_of_the_page_are_plain_html(text: str) -> None:
    assert "<strong>93%</strong> right, <strong>helps</strong>" in text
    assert not re.search(":material|:green", re.sub("<script>.*?</script>", "", text, flags=re.DOTALL))
    assert "<td><strong>1</strong></td>" in text
    assert "<dt>empty" not in text


def test_a_command_is_one_for_the_shell() -> None:
    found = command_line(
        "explain", "image", "a b.png", set={"steps": 20}, seed=None, sizes=(1, 2), flip=False, json=True
    )
    assert found == "python -m core explain image 'a b.png' --set steps=20 --sizes 1,2 --no-flip --json"


def test_only_what_differs_from_the_recipe_is_in_a_command() -> None:
    usual = RECIPES["simple_cnn"]["default"]
    assert changed_settings(usual.replace(epochs=2.5, model_config={"widths": [8]}), usual) == {
        "epochs": 2.5,
        "model_config": {"widths": [8]},
    }

"""Images, figures and downloads, as every page shows them."""

from __future__ import annotations

import base64
import re
from pathlib import Path

from streamlit.testing.v1 import AppTest

from pages.shared.examples import examples
from pages.shared.text import shorten, unique_labels
from tests.app.conftest import ROOT, Open

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4"/>'


def test_an_example_image_is_sent_inside_the_page(open_page: Open, shipped: object) -> None:
    """Not as a file of the server, which the next run removes while the browser may still ask for it."""
    images = [element.proto.imgs[0] for element in open_page("images").get("image")]
    assert [image.alt for image in images] == [f"Example drawing: {title}" for title in examples()]
    for image, data in zip(images, examples().values(), strict=True):
        head, _, body = image.url.partition(",")
        assert head == "data:image/png;base64"
        assert base64.b64decode(body) == data


def test_each_kind_of_image_names_its_media_type() -> None:
    def script(svg: str, jpeg: bytes) -> None:
        from pages.shared.elements import show_image

        show_image(svg, width=40, alt="a drawing")
        show_image(jpeg, width=40, alt="a photo")

    at = AppTest.from_function(script, args=(SVG, b"\xff\xd8\xff\xe0")).run()
    assert not at.exception
    drawing, photo = (element.proto.imgs[0] for element in at.get("image"))
    assert drawing.url == f"data:image/svg+xml;base64,{base64.b64encode(SVG.encode()).decode()}"
    assert photo.url == "data:image/jpeg;base64,/9j/4A=="
    assert [drawing.alt, photo.alt] == ["a drawing", "a photo"]


def test_a_download_takes_its_media_type_from_the_file_name() -> None:
    def script() -> None:
        from pages.shared.elements import download

        for name in ("table.csv", "all.json", "map.npy"):
            download(name, lambda: b"1", name, key=name)

    at = AppTest.from_function(script).run()
    assert not at.exception
    assert [button.proto.label for button in at.get("download_button")] == ["table.csv", "all.json", "map.npy"]


def test_pages_show_images_figures_and_downloads_in_one_way() -> None:
    own = re.compile(r"(?<!dataset)\.(image|plotly_chart|download_button)\(")  # a dataset's image is pixels
    elsewhere = {
        str(path.relative_to(ROOT))
        for path in Path(ROOT / "pages").rglob("*.py")
        if path.name != "elements.py" and own.search(path.read_text())
    }
    assert not elsewhere


def test_names_that_are_too_long_lose_their_middle() -> None:
    assert shorten("short", 5) == "short"
    first, second = (shorten(f"Simple CNN with strong label smoothing, {word} attempt", 22) for word in ("1st", "2nd"))
    assert first != second
    assert first.startswith("Simple CN")
    assert max(map(len, (first, second))) <= 22


def test_equal_labels_begin_with_what_tells_them_apart() -> None:
    labels = unique_labels({"a": "run · 70%", "b": "run · 70%", "c": "other"})
    assert labels == {"a": "run · 70%", "b": "b · run · 70%", "c": "other"}

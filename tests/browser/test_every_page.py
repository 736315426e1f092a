"""Every view: its answer on the first screen, wide and narrow, nothing cut, and nothing that keeps people out."""

from __future__ import annotations

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from tests.browser.steps import no_overflow, settled

ANSWERS = {
    "/": r"says ship · \d",
    "/images?example=ship": r"says ship · \d",
    "/images?view=Train": r"Start training",
    "/images?view=Evaluate": r"^94\.\d%$",
    "/text": r"goes on from “ROMEO:”",
    "/text?view=Side+by+side": r"predicts Tiny Shakespeare better",
    "/text?view=Inside+the+RNN": r"correlation 0\.\d\d, against 0\.\d\d in an untrained network",
    "/text?view=One+step": r"takes unit 0 of layer 1 from −?[01]\.\d\d to −?[01]\.\d\d",
    "/text?view=Train": r"Start training",
    "/text?view=Why+this+one": r"Why “\w”, with \d",
    "/convolution": r"^y\[\d+, \d+\] = ",
    "/convolution?view=Through+a+network": r"It sees 4×4 of 32×32 pixels",
    "/convolution?view=Change+it": r"bird · \d+% → \d+%",
    "/convolution?view=Shift": r"another answer at \d+ of 80 shifts with max pooling, \d+ with average pooling",
    "/descent": r"ends lowest after 200 steps",
    "/descent?view=Divergence": r"cannot settle here above 2/λ = 0\.04",
    "/descent?view=Divergence&of=A+trained+network": r"Just above 2/λ = 0\.0138",
    "/descent?view=Surface": r"holds 95% of the way",
    "/descent?view=New+surface": r"Compute the surface",
    "/descent?view=Surfaces": r"There are no surfaces here yet|checkpoints \d+ of \d+",
    "/backprop": r"Raising w11 by 0\.01 raises loss by about 0\.00892",
    "/backprop?view=Network&example=bird": r"From the logits to the image the gradient",
    "/backprop?view=Depth": r"the gradient vanishes: \S+ of it reaches the first of 30 layers",
    "/backprop?view=Accumulation": r"8 micro-batches give the same gradient to",
    "/datasets": r"Add photos",
    "/datasets?view=Add+photos": r"One folder for each class",
    "/networks": r"There are no networks here yet|parameters · .* trained elsewhere",
    "/networks?view=One+network": r"There are no networks here yet|parameters · .* trained elsewhere",
    "/augmentation": r"^Flip at 50%, crop 0\.25, rotate 0\.25 at 50%",
    "/augmentation?view=Effect": r"ship falls by \d+ points",
    "/augmentation?view=Forecast": r"^(Expected|No better|Not surely better)|Fetch CIFAR-10",
    "/augmentation?view=New+map": r"Make the map",
    "/augmentation?view=Maps": r"There are no maps here yet|transforms \d+ of \d+",
    "/regularization": r"With 500 images .+ helps most: 37% → 49%",
    "/regularization?view=New+study": r"Start the study",
    "/regularization?view=Studies": r"There are no studies here yet|runs \d+ of \d+",
    "/shift": r"falls from \d+\.\d% to \d+\.\d% on corrupted images",
    "/shift?view=Compare": r"^Against .+ on corrupted images",
    "/shift?view=Your+image": r"the answer changes in \d+ of 95|the answer stays through all 95",
    "/shift?view=Renditions": r"names \d+\.\d% .+ of the drawings right",
    "/shift?view=New+measurement": r"^Measure$",
    "/shift?view=Measurements": r"There are no measurements here yet|corruptions \d+ of \d+",
    "/attribution?example=ship": r"takes ship from \d+% to \d+%|Cannot tell",
    "/attribution?view=Compare&example=ship": r"Changes with the class:",
    "/attribution?view=Cover+by+hand&example=ship": r"ship · \d",
    "/attribution?view=Scores": r"\d of 14 methods beat every control",
    "/attention": r"Head \d\.\d looks at the previous character: \d\d%",
    "/attention?view=What+heads+do": r"heads can go together for less than 0\.01 bits",
    "/attention?view=On+an+image": r"It says \w+, \d+%|There is no checkpoint yet",
    "/attention?view=Is+it+an+explanation%3F": r"No explanation here|Partly an explanation|It matters here",
    "/attention?view=New+measurement": r"Measure the heads",
    "/attention?view=Measurements": r"There are no measurements here yet|windows? \d+ of \d+",
    "/synthesis": r"A classifier names the intended class of \d+%",
    "/synthesis?view=From+noise": r"Noise 0 becomes: airplane",
    "/synthesis?view=Worth": r"synthetic images",
    "/synthesis?view=Train": r"Flow U-Net on CIFAR-10",
    "/synthesis?view=Evidence": r"A classifier names the intended class of \d+%",
    "/synthesis?view=New+set": r"images, as many of each class",
    "/synthesis?view=Sets": r"There are no sets here yet|parts \d+ of \d+",
    "/features": r"Channel 0 of relu2: \d+ of its 100 strongest images are",
    "/features?view=Layer": r"64 channels: |Fetch CIFAR-10",
    "/features?view=Quiz": r"Question 1 of 10|Fetch CIFAR-10",
    "/features?view=Surrogate": r"agrees with the network on|Fetch CIFAR-10",
    "/features?view=New+gallery": r"Make the gallery",
    "/features?view=Galleries": r"There are no galleries here yet|channels \d+ of \d+",
    "/compression": r"3\.9 times as small and 3\.4 times as fast",
    "/compression?view=New+recipe": r"1 variant",
    "/compression?view=Export": r"Make the file",
    "/compression?view=Results": r"There are no results here yet|variants \d+ of \d+",
    "/hardware": r"times as many images a second as PyTorch as you left it",
    "/hardware?view=Roofline": r"of the time goes to layers limited by memory",
    "/hardware?view=Compare": r"times as fast as|equally fast",
    "/hardware?view=Guide": r"^Measure the processor you have",
    "/hardware?view=New+grid": r"^\d+ cells, about",
    "/hardware?view=Grids": r"There are no grids here yet|cells \d+ of \d+",
    "/runs": r"Nothing was trained here yet|^\d+ runs?, (\d+|none) under way: ",
}
"""Address -> what its answer, or where there is none yet the thing to press, says."""
FOLD_PX = 700
SERIOUS = ("serious", "critical")
STILL = "*, *::before, *::after { transition: none !important; animation: none !important; }"
"""Colours are measured at once, and not half way to another."""
NOT_OURS = "[data-testid=stSidebarNav]"
"""Streamlit's own list of pages: it puts a `div` between `ul` and `li`."""


@pytest.mark.parametrize("address", ANSWERS)
def test_a_view_answers_on_its_first_screen_and_shuts_nobody_out(page: Page, address: str) -> None:
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1280, "height": 844})
    page.goto(address)
    page.add_style_tag(content=STILL)
    found = page.get_by_test_id("stMain").get_by_text(re.compile(ANSWERS[address])).locator("visible=true").first
    expect(found).to_be_visible(timeout=60_000)
    no_overflow(page)
    wide, complaints = bottom(found), barriers(page)
    page.emulate_media(color_scheme="dark")
    if address == "/":  # for the sidebar, which is the same everywhere and closed on a narrow screen
        complaints += barriers(page)
    page.set_viewport_size({"width": 390, "height": 844})
    no_overflow(page)
    complaints += barriers(page)
    assert max(wide, bottom(found)) < FOLD_PX
    assert not complaints


def bottom(element: Locator) -> float:
    """Where an element ends, px. One that is just drawn anew has no place for a moment."""
    for _ in range(20):
        expect(element).to_be_visible()
        if box := element.bounding_box():
            return float(box["y"] + box["height"])
    raise AssertionError("the answer is never drawn")


def barriers(page: Page) -> list[str]:
    """What axe-core finds serious once the page is drawn, a line each. A page that is just drawn anew has pale elements for
    a moment: what is gone when axe looks again was no barrier."""
    complaints: list[str] = []
    for pause_ms in (0, 500, 2000):
        page.wait_for_timeout(pause_ms)
        settled(page)
        found = Axe().run(page, {"exclude": [[NOT_OURS]]}, {"resultTypes": ["violations"]}).response["violations"]
        serious = [item for item in found if item["impact"] in SERIOUS]
        complaints = [f"{item['id']}: {node['html'][:200]}" for item in serious for node in item["nodes"]]
        if not complaints:
            break
    return complaints

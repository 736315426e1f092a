"""Augmentation: build a pipeline, see what transforms do to a network, and score a forecast."""

from core.augmentation.kind import MAP
from core.augmentation.results import MAPS
from pages.augmentation import PAGE
from pages.augmentation.effect_view import effect_view, new_map_view, read
from pages.augmentation.forecast_view import forecast_view
from pages.augmentation.help import augmentation_help
from pages.augmentation.pipeline_view import pipeline_view
from pages.shared.job_page import JobPage

SHIPPED = {"simple_cnn": "Simple CNN", "fast_resnet": "Fast ResNet"}
"""Maps that may ship, and the words that choose them."""

JobPage(
    page=PAGE,
    kind=MAP,
    param="map",
    form=new_map_view,
    read=read,
    result=effect_view,
    examples={name: title for name, title in SHIPPED.items() if name in MAPS.shipped_names()} or SHIPPED,
    load_example=MAPS.load_shipped,
    others={"Pipeline": pipeline_view, "Forecast": forecast_view},
    changes=lambda run: {2.0: run.parts_done},
    help=augmentation_help,
).draw()

"""Regularization: which technique helps, by how much, and is it more than luck?"""

from pages.regularization import PAGE
from pages.regularization.url import STUDY
from pages.shared.registry import choose_view

STUDY.choose_view()
view = choose_view(PAGE)

if view == "Studies":
    from pages.regularization.open import studies_view

    studies_view()
else:
    STUDY.clear()
    if view == "Example":
        from pages.regularization.open import example_view

        example_view()
    else:
        from pages.regularization.new import new_study_view

        new_study_view()

"""Regularization: which technique helps, by how much, and is it more than luck?"""

from pages.regularization.url import STUDY

view = STUDY.choose_view()

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

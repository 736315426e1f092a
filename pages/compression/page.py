"""Compression: how small and how fast can a checkpoint get, and what does that cost?"""

from pages.compression.url import RECIPE

view = RECIPE.choose_view()

if view == "Results":
    from pages.compression.open import results_view

    results_view()
else:
    RECIPE.clear()
    if view == "Example":
        from pages.compression.open import example_view

        example_view()
    else:
        from pages.compression.new import new_recipe_view

        new_recipe_view()

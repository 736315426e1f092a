"""Attribution: why did it say that, and does the map deserve belief?"""

from pages.attribution import PAGE
from pages.shared.url import choose_view

view = choose_view(PAGE)

if view == "Explain":
    from pages.attribution.explain import explain_view

    explain_view()
elif view == "Compare":
    from pages.attribution.compare import compare_view

    compare_view()
elif view == "Cover by hand":
    from pages.attribution.cover.view import cover_view

    cover_view()
else:
    from pages.attribution.scores import scores_view

    scores_view()

"""Images: classify an image, train a classifier, and see how good it is."""

from pages.images import PAGE
from pages.shared.url import choose_view

view = choose_view(PAGE)

if view == "Classify":
    from pages.images.view import classify_view

    classify_view()
elif view == "Train":
    from pages.images.starts import starts_section
    from pages.shared.train_view import train_view

    train_view("images")
    starts_section()
else:
    from pages.images.evaluate_view import evaluation_view

    evaluation_view()

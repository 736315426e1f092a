"""Convolution: the sum, the layers, changes by hand, and shifts."""

from pages.convolution import PAGE
from pages.shared.url import choose_view

view = choose_view(PAGE)

if view == "One sum":
    from pages.convolution.sum_view import sum_view

    sum_view()
elif view == "Through a network":
    from pages.convolution.layers_view import layers_view

    layers_view()
elif view == "Change it":
    from pages.convolution.edit_view import edit_view

    edit_view()
else:
    from pages.convolution.shift_view import shift_view

    shift_view()

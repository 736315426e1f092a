"""Backpropagation: a graph, a network, depth, and micro-batches."""

from pages.backprop import PAGE
from pages.backprop.accumulation_view import accumulation_page
from pages.backprop.depth_view import depth_page
from pages.backprop.graph_view import graph_page
from pages.backprop.network_view import network_page
from pages.shared.url import choose_view

VIEWS = {"Graph": graph_page, "Network": network_page, "Depth": depth_page, "Accumulation": accumulation_page}

VIEWS[choose_view(PAGE)]()

"""Attention: heads of a language model."""

from pages.attention import PAGE
from pages.attention.heads_view import heads_view
from pages.attention.help import attention_help
from pages.shared.url import choose_view

choose_view(PAGE)
heads_view()
attention_help()

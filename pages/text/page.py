"""Text: let a language model write, compare two, train one, look inside, and ask why."""

from pages.shared.url import choose_view
from pages.text import PAGE

view = choose_view(PAGE)

if view == "Write":
    from pages.text.view import write_view

    write_view()
elif view == "Side by side":
    from pages.text.side_by_side_view import side_by_side_view

    side_by_side_view()
elif view == "Train":
    from pages.shared.train_view import train_view

    train_view("text")
elif view == "Inside the RNN":
    from pages.text.hidden_state_view import inside_view

    inside_view()
elif view == "One step":
    from pages.text.recurrence_view import step_view

    step_view()
else:
    from pages.text.next_char_view import why_view

    why_view()

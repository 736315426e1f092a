"""What one can do here, in one screen."""

from pages.shared.registry import Page

PAGE = Page(name="home", title="Home", icon=":material/home:", section="Overview")

"""Bottleneck Lab in the browser: start with `make run`, or `streamlit run streamlit_app.py`."""

from urllib.parse import urlencode

import streamlit as st
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import Route

from core.common.errors import LabError
from pages.shared.registry import pages

STREAMLITS = ("static", "media", "component", "app")
"""First parts of the paths that Streamlit serves. It also looks for its `_stcore` below every page."""


class Deep(StringConvertor):
    """A path of two parts or more that nobody serves. Streamlit would answer with a blank page."""

    regex = rf"(?!(?:{'|'.join(STREAMLITS)})/|(?:.*/)?_stcore/)[^/]+/.+"


register_url_convertor("deep", Deep())


async def to_page(request: Request) -> RedirectResponse:
    """`/nonsense/more` leads to `/nonsense`, which says that there is no such page. `/images/Train/` is `/images/Train`."""
    page, *rest = request.path_params["path"].split("/")
    of_page = any(route.path.startswith(f"/{page}/") for route in routes())
    view = {"view": rest[0]} if of_page and len(rest) == 2 and not rest[1] else {}
    query = urlencode(view | dict(request.query_params))
    return RedirectResponse(f"{'../' * len(rest)}{page}{'?' * bool(query)}{query}")


async def to_view(request: Request) -> RedirectResponse:
    """`/images/Train` leads to `/images?view=Train`: Streamlit has no pages below pages, and would answer with a blank one."""
    query = {"view": request.path_params["view"]} | dict(request.query_params)
    return RedirectResponse(f"../{request.url.path.rsplit('/', 2)[1]}?{urlencode(query)}")


def routes() -> list[Route]:
    """Those of all pages but Home, whose path is empty."""
    try:
        return [Route(f"/{name}/{{view}}", to_view) for name in pages() if name != "home"]
    except LabError:  # the script of every visit says what is wrong
        return []


def deep_routes() -> list[Route]:
    """None below a path of the server, where they would take Streamlit's own files."""
    return [] if st.get_option("server.baseUrlPath") else [Route("/{path:deep}", to_page)]


# The script of every visit is one folder down: with a folder called pages beside it, Streamlit starts its first session
# in the old multipage mode, which greets a cold link to any page but Home with "Page not found".
app = st.App("pages/main.py", routes=[*routes(), *deep_routes()])

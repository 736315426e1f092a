"""Who uses the page: the name that limits and turns in the queue go by (see core.jobs.quota)."""

from __future__ import annotations

import hashlib
import itertools
import os
import secrets

import streamlit as st

from core.common.values import one_line

MOST_CHARACTERS = 80
BROWSER_COOKIE = "_streamlit_xsrf"
"""Streamlit gives each browser one, which its tabs share and a reload keeps."""


def user() -> str:
    """The name that a proxy puts into the header LAB_USER_HEADER; without one, a token of this browser."""
    header = os.environ.get("LAB_USER_HEADER", "").strip()
    if header and (name := one_line(st.context.headers.get(header) or "", MOST_CHARACTERS)):
        return name
    cookie = st.context.cookies.get(BROWSER_COOKIE)
    if isinstance(cookie, str) and cookie:  # without a browser, as in a test, it is anything
        return "browser-" + hashlib.sha256(_unmasked(cookie)).hexdigest()[:12]
    return str(st.session_state.setdefault("user", f"tab-{secrets.token_hex(6)}"))


def _unmasked(cookie: str) -> bytes:
    """What stays the same of a cookie that Tornado writes anew at each visit: `2|mask|token XOR mask|time`, in hexadecimal."""
    try:
        _, mask, token, _ = (part.split(":")[-1] for part in cookie.split("|"))
        repeated = itertools.cycle(bytes.fromhex(mask))
        return bytes(a ^ b for a, b in zip(bytes.fromhex(token), repeated))
    except ValueError:  # another format
        return cookie.encode()

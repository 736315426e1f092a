"""A result as one file: an HTML page that needs nothing else, in the reader's light or dark colours."""

from __future__ import annotations

import base64
import gzip
import html
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from core.common.pixels import data_url
from core.common.theme import FONT, GRID, MUTED, PAPER, TEXT

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from plotly.graph_objects import Figure

POLICY = "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""What a browser may do with the file: it loads nothing from anywhere."""
_STREAMLIT_MARKUP = re.compile(r":[a-z]+(?:-badge)?\[((?:[^\[\]\\]|\\.)*)\]|:material/\w+:")
"""Colours, badges and icons of Streamlit's Markdown: the words in them stay."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Paragraph:
    """Sentences, in Markdown."""

    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Columns of cells, in Markdown."""

    columns: Mapping[str, Sequence[str]]
    fold: str = ""
    """Title of the fold that it stands in; empty shows it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """A file to save out of the report."""

    name: str
    image: bytes
    """A PNG or a JPEG."""
    text: str
    """Of the link, plain."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """A PNG, a JPEG, or an SVG as text, `width` pixels wide."""

    draw: Callable[[bool], bytes | str]
    """For a dark page, or a light one."""
    alt: str
    width: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """A Plotly figure."""

    draw: Callable[[bool], Figure]
    alt: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Verbatim:
    """A text as it is, with its lines."""

    text: str


Block = Paragraph | Verbatim | Table | File | Image | Chart


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What a page says of a result."""

    title: str
    answer: str
    """In one sentence, Markdown."""
    blocks: Sequence[Block]
    command: str = ""
    """Makes the result again in a terminal."""
    made: Mapping[str, str]
    """How it was made: checkpoint, versions, date."""

    def html(self) -> bytes:
        """The whole file, UTF-8. Nothing that a person named becomes markup."""
        from markdown_it import MarkdownIt

        markdown = MarkdownIt("commonmark", {"html": False}).disable("image")
        parts = [_of_block(block, f"chart-{place}", markdown) for place, block in enumerate(self.blocks)]
        if any(isinstance(block, Chart) for block in self.blocks):
            parts.append(f"<script>const packed='{_packed_plotly()}';{DRAW}</script>")
        facts = "".join(
            f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in self.made.items() if value
        )
        command = f"<pre><code>{html.escape(self.command)}</code></pre>" if self.command else ""
        title = html.escape(self.title)
        return (
            f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">'
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"><style>{STYLE}</style></head><body><main>'
            f"<h1>{title}</h1>"
            f'<div class="answer">{_rendered(self.answer, markdown)}</div>'
            f"{''.join(parts)}<h2>How it was made</h2>{command}<dl>{facts}</dl></main></body></html>"
        ).encode()


@cache
def _packed_plotly() -> str:
    """Plotly's script as gzip in base64: 40% of its size. A browser unpacks it by itself."""
    from plotly.offline import get_plotlyjs

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()


def _of_block(block: Block, name: str, markdown: MarkdownIt) -> str:
    if isinstance(block, Paragraph):
        return _rendered(block.text, markdown)
    if isinstance(block, Verbatim):
        return f"<pre>{html.escape(block.text)}</pre>"
    if isinstance(block, Table):
        head = "".join(f"<th>{html.escape(column)}</th>" for column in block.columns)
        rows = "".join(
            f"<tr>{''.join(f'<td>{_rendered(cell, markdown, inline=True)}</td>' for cell in row)}</tr>"
            for row in zip(*block.columns.values(), strict=True)
        )
        table = f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
        return f"<details><summary>{html.escape(block.fold)}</summary>{table}</details>" if block.fold else table
    if isinstance(block, File):
        name, text = html.escape(block.name), html.escape(block.text)
        return f'<p><a download="{name}" href="{data_url(block.image)}">{text}</a></p>'
    alt = html.escape(block.alt)
    if isinstance(block, Image):
        light, dark = (data_url(block.draw(dark)) for dark in (False, True))
        source = "" if light == dark else f'<source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        return f'<picture>{source}<img src="{light}" alt="{alt}" width="{block.width}"></picture>'
    figures = ",".join(str(block.draw(dark).to_json()) for dark in (False, True)).replace("<", "\\u003c")
    return (
        f'<div class="chart" id="{name}" role="img" aria-label="{alt}"></div>'
        f"<script>(window.charts ??= []).push([{json.dumps(name)}, {figures}])</script>"
    )


def _rendered(text: str, markdown: MarkdownIt, *, inline: bool = False) -> str:
    """Markdown as HTML."""
    plain = text
    while (found := _STREAMLIT_MARKUP.sub(lambda match: match[1] or "", plain)) != plain:
        plain = found
    return str((markdown.renderInline if inline else markdown.render)(plain))


STYLE = (
    f":root{{color-scheme:light dark;--text:{TEXT[False]};--muted:{MUTED[False]};--line:{GRID[False]};--paper:{PAPER[False]}}}"
    f"@media(prefers-color-scheme:dark){{:root{{--text:{TEXT[True]};--muted:{MUTED[True]};--line:{GRID[True]};"
    f"--paper:{PAPER[True]}}}a{{color:#7fb2d6}}}}"
    f"body{{margin:0;background:var(--paper);color:var(--text);font:16px/1.5 {FONT}}}"
    "img{margin:0 .6rem .6rem 0}"
    "main{max-width:60rem;margin:0 auto;padding:1.5rem 1rem 3rem}h1{font-size:1.1rem;color:var(--muted);font-weight:500}"
    ".answer{font-size:1.5rem;line-height:1.3;margin:0 0 1.5rem}.answer p{margin:.4rem 0}img{image-rendering:pixelated;"
    "max-width:100%;height:auto}.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem;margin:1rem 0}"
    "th,td{text-align:left;vertical-align:top;padding:.35rem .8rem .35rem 0;border-bottom:1px solid var(--line)}"
    "summary{cursor:pointer}"
    "pre{white-space:pre-wrap;overflow-wrap:anywhere;border:1px solid var(--line);border-radius:.4rem;padding:.8rem}"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem;font-size:.9rem;overflow-wrap:anywhere}"
    "dt{color:var(--muted)}dd{margin:0}"
)
DRAW = (
    "const dark=matchMedia('(prefers-color-scheme: dark)');"
    "const draw=()=>charts.forEach(([id,light,night])=>{const {data,layout}=dark.matches?night:light;"
    "Plotly.react(id,data,{...layout,width:undefined,autosize:true},{responsive:true,displaylogo:false})});"
    "new Response(new Blob([Uint8Array.from(atob(packed),sign=>sign.charCodeAt(0))]).stream()"
    ".pipeThrough(new DecompressionStream('gzip'))).text().then(source=>{const script=document.createElement('script');"
    "script.textContent=source;document.head.append(script);dark.addEventListener('change',draw);draw()});"
)

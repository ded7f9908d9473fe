"""Executed notebooks as pages, in the look they share with the index.

A page that stands alone holds its style and script. One that has a place links those that lie
beside the index, so that a change of the look reaches every page and no notebook is run again.
"""

import re
from functools import cache
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING

from rebalance.data.files import write_atomically
from rebalance.report.place import SCRIPT, STYLE, Place, footer_html, header_html

if TYPE_CHECKING:
    from nbconvert import HTMLExporter

HERE = Path(__file__).parent


@cache
def page_css() -> str:
    """The style sheet of every page: colours for light and dark, type, tables, cards."""
    return (HERE / "style.css").read_text(encoding="utf-8")


@cache
def code_css() -> str:
    """Colours of highlighted code, light and dark."""
    from pygments.formatters import HtmlFormatter  # type: ignore[import-untyped]

    light = HtmlFormatter(style="default").get_style_defs(".highlight")
    dark = HtmlFormatter(style="github-dark").get_style_defs(".highlight")
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}"


def page_script() -> str:
    """Script of every page."""
    return (HERE / "page" / "page.js").read_text(encoding="utf-8")


def write_look(folder: Path) -> None:
    """Write the style and the script that pages with a place link into the folder of the index."""
    write_atomically(folder / STYLE, (page_css() + code_css()).encode())
    write_atomically(folder / SCRIPT, page_script().encode())


def svg_description(svg: str) -> str:
    """What an SVG of ours says that it shows, for its alt text."""
    found = re.search(r"<dc:description>(.*?)</dc:description>", svg, re.DOTALL)
    return unescape(found[1]) if found else ""


@cache
def page_exporter() -> "HTMLExporter":
    """What makes pages of notebooks, by the template ``page/index.html.j2``."""
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    config = Config()
    config.HTMLExporter.preprocessors = []
    exporter = HTMLExporter(
        config=config, template_name="page", extra_template_basedirs=[str(HERE)]
    )
    exporter.register_filter("svg_description", svg_description)
    return exporter


def render_page(
    executed: Path, title: str, place: Place | None = None, with_parameters: bool = True
) -> str:
    """HTML of an executed notebook; needs nothing from the network.

    Cells tagged ``notebook-only`` and the defaults of the parameters are left out. Links in the
    outputs are kept as they are, so relative ones hold when the page is written beside the files
    they name.

    Args:
        executed: the notebook with its outputs.
        title: what the browser's tab shows.
        place: what stands above and below it, and where its look is; None: it stands alone.
        with_parameters: whether they are in it, folded like the code.
    """
    import nbformat

    resources = {
        "page_title": title,
        "page_style": (
            f'<link rel="stylesheet" href="{place.style}">'
            if place
            else f"<style>{page_css()}{code_css()}</style>"
        ),
        "with_parameters": with_parameters,
        "page_header": header_html(place) if place else "",
        "page_footer": footer_html(place) if place else "",
        "page_script": (
            f'<script src="{place.script}"></script>'
            if place
            else f"<script>{page_script()}</script>"
        ),
    }
    node = nbformat.read(executed, as_version=4)
    body, _ = page_exporter().from_notebook_node(node, resources=resources)
    return str(body)

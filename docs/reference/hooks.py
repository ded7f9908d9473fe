"""MkDocs: adds what is made at build time, and turns formulas into MathML.

Added are the reference pages (pages.py), their pictures (pictures.py) and the rendered pages of
results/<scale>, where there are any. Nothing is fetched, here or by the site.
"""

import html
import os
import re
import sys
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT / "docs/figures")]
from pages import reference_pages  # noqa: E402
from pictures import pictures  # noqa: E402
from rebalance.figures.style import svg_bytes  # noqa: E402

LINK = re.compile(r'(?:href|src)="(?!data:|https?:|#)([^"#?]+)')

FAVICON = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64"><rect width="64" height="64" rx="12" \
fill="#00527f"/><path d="M32 12v40M12 20h40M22 52h20" stroke="#fff" stroke-width="5"/>\
<path d="M3 32a11 11 0 0 0 22 0zM39 32a11 11 0 0 0 22 0z" fill="#fff"/></svg>
"""

NO_RESULTS = """\
Nothing is rendered in this copy. `make demo` trains seven small detectors on synthetic images and
renders 77 pages in a few minutes of a laptop; `make docs` then takes them in here.
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add everything that is made at build time."""
    drawings = pictures()
    for name, draw in drawings.items():
        content = svg_bytes(draw())
        files.append(File.generated(config, f"pictures/{name}.svg", content=content))
    for address, text in reference_pages(drawings).items():
        files.append(File.generated(config, address, content=text))
    files.append(File.generated(config, "assets/favicon.svg", content=FAVICON))
    lines = ["# Results\n", RESULTS]
    scales = sorted(path.parent for path in ROOT.glob("results/*/index.html"))
    for scale in scales:
        for path in _rendered(scale):
            address = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, address, abs_src_path=str(path)))
        pages = len(list(scale.glob("*/*/notebook.html")))
        lines.append(f"- [Scale `{scale.name}`](results/{scale.name}/index.html): {pages} pages\n")
    lines += [] if scales else [NO_RESULTS]
    files.append(File.generated(config, "results.md", content="\n".join(lines)))
    return files


RESULTS = """\
Every table and figure of the five works is a page: measured beside reported, with the verdict that
the page computed. A scale other than `paper` says so in its titles: its numbers show that the code
learns, not what the works measured.
"""


def _rendered(scale: Path) -> list[Path]:
    """The pages of a scale and the files that they link to: weights and detections stay."""
    pages = [scale / "index.html", *scale.glob("*/*/notebook.html")]
    linked = {
        Path(os.path.normpath(page.parent / address))
        for page in pages
        for address in LINK.findall(page.read_text(encoding="utf-8"))
    }
    return sorted(path for path in linked | set(pages) if path.is_file() and scale in path.parents)


def on_page_content(html_of_page: str, **_: object) -> str:
    r"""TeX that arithmatex marked, as MathML: browsers show it without a script."""
    marked = r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>'
    return re.sub(marked, _mathml, html_of_page, flags=re.DOTALL)


def _mathml(found: re.Match[str]) -> str:
    display = "inline" if found[1] == "span" else "block"
    formula = convert(html.unescape(found[2]), display=display)
    if "\\" in formula:
        raise PluginError(f"latex2mathml does not know all of {found[2]}")
    # A bar is told to be no operator between two things, which would stand apart from both.
    bar = "<mo>&#x0007C;</mo>"
    formula = formula.replace(bar, bar.replace("<mo>", '<mo lspace="0" rspace="0">'))
    return f'<span class="formula">{formula}</span>'


def on_post_page(output: str, **_: object) -> str:
    """The theme's search dialog gets the name that screen readers say."""
    dialog = 'data-md-component="search" role="dialog"'
    return output.replace(dialog, f'{dialog} aria-label="Search"')

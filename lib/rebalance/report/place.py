"""Where a page stands: header and footer with its work, its runs, what to type, what to download.

What lies beside it (previous, next, siblings) is read from ``pages.js``, which the index writes: a
page does not change when another is made, and never links one that is not there. Its look lies
beside the index, too, and changes without the page.
"""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import yaml

if TYPE_CHECKING:  # the code of pages does not depend on how their targets are read
    from rebalance.config.experiments import Experiments
    from rebalance.config.targets import Results, Target

NEIGHBOURS = "pages.js"
"""Beside the index: which pages there are."""
STYLE, SCRIPT = "style.css", "script.js"
"""Beside the index: how pages look and behave."""
#: Role of a file of a target -> what a reader calls it, in the order shown.
DOWNLOADS = {
    "figure": "SVG",
    "pdf": "PDF",
    "thumbnail": "PNG",
    "table": "CSV",
    "data": "CSV",
    "latex": "LaTeX",
    "notebook": "notebook",
    "checks": "checks",
}


@dataclass(frozen=True)
class Place:
    """What header and footer of a page say.

    Attributes:
        name: of the target.
        title: of the target.
        work: its title.
        key: of the work.
        section: of the work.
        index: link to the index.
        neighbours: link to ``pages.js``.
        style: link to ``style.css``.
        script: link to ``script.js``.
        command: what to type for the page.
        scale: of its numbers, None where every scale has the same.
        runs: (run, seed, link to run.yaml, commit, date of the commit), each once.
        downloads: (what it is called, link).
        bibtex: of the work; empty if it is the suite's own.
    """

    name: str
    title: str
    work: str
    key: str
    section: str
    index: str
    neighbours: str
    style: str
    script: str
    command: str
    scale: str | None
    runs: Sequence[tuple[str, int, str, str, str]]
    downloads: Sequence[tuple[str, str]]
    bibtex: str


def place_of(experiments: "Experiments", target: "Target", results: "Results", html: Path) -> Place:
    """The place of a target's page.

    Args:
        experiments: that have the target.
        target: what is shown.
        results: where results are.
        html: the page; links are relative to its folder.

    Raises:
        InputError: a run.yaml that is there cannot be read.
    """

    def link(path: str | Path) -> str:
        return quote(os.path.relpath(path, html.parent))

    files = target.outputs(results)
    work = experiments.works[target.label.work]
    runs = dict.fromkeys(row.run for row in target.runs)
    return Place(
        name=target.name,
        title=target.title,
        work=work.title,
        key=target.label.work,
        section=section_of(target),
        index=link(results.folder / "index.html"),
        neighbours=link(results.folder / NEIGHBOURS),
        style=link(results.folder / STYLE),
        script=link(results.folder / SCRIPT),
        command=make_command(target.name, results.scale),
        scale=results.scale if target.runs or target.datasets else None,
        runs=[
            (run, seed, link(folder / "run.yaml"), *_made_at(folder / "run.yaml"))
            for run in runs
            for seed in target.seeds(results)
            for folder in [results.folder / "runs" / run / f"seed{seed}"]
        ],
        downloads=[
            (words, link(files[role])) for role, words in DOWNLOADS.items() if role in files
        ],
        bibtex=work.bibtex,
    )


def section_of(target: "Target") -> str:
    """Chapter or appendix of a work that numbers by them, else that it is a table or a figure."""
    chapter, dot, _ = target.label.number.partition("_")
    if not dot:
        return f"{target.label.sort.capitalize()}s"
    return f"{'Chapter' if chapter.isdigit() else 'Appendix'} {chapter.upper()}"


def make_command(target: str, scale: str) -> str:
    """What to type for a target at a scale, whatever config.yaml says of it."""
    return f"snakemake --config scale={scale} -- {target}"


def header_html(place: Place) -> str:
    """Above a page."""
    return (
        '<header class="place"><nav aria-label="Place">'
        f'<a href="{place.index}">Index</a><span>›</span>'
        f'<a href="{place.index}?work={place.key}">{escape(place.work)}</a><span>›</span>'
        f"<span>{escape(place.section)}</span></nav>"
        f'<nav class="neighbours" aria-label="Neighbours" data-name="{place.name}" hidden></nav>'
        "</header>"
    )


def footer_html(place: Place) -> str:
    """Below a page."""
    downloads = " ".join(
        f'<a href="{href}" download="{place.name}{Path(href).suffix}">{words}</a>'
        for words, href in place.downloads
    )
    if place.bibtex:
        downloads += (
            f' <a href="data:text/x-bibtex;charset=utf-8,{quote(place.bibtex)}" '
            f'download="{place.key}.bib">BibTeX</a>'
        )
    scale = f"{place.scale} scale" if place.scale else "no training: the same at every scale"
    runs = "".join(
        f'<tr><th scope="row">{escape(run)}</th><td>{seed}</td><td>{escape(place.scale or "")}</td>'
        f"<td><code>{escape(commit)}</code></td><td>{escape(date)}</td>"
        f'<td><a href="{href}">run.yaml</a></td></tr>'
        for run, seed, href, commit, date in place.runs
    )
    head = "".join(
        f'<th scope="col">{name}</th>'
        for name in ("run", "seed", "scale", "commit", "of", "all settings")
    )
    table = (
        f"<details><summary>{len(place.runs)} training{'s' * (len(place.runs) != 1)}</summary>"
        f'<div class="table-scroll html" tabindex="0"><table class="runs"><thead><tr>{head}</tr>'
        f"</thead><tbody>{runs}</tbody></table></div></details>"
        if runs
        else ""
    )
    return (
        f'<footer class="place"><p><b>{escape(place.title)}</b> · {escape(place.work)}, '
        f"{escape(place.section)} · {escape(scale)}</p>"
        f'<p class="command"><code>{escape(place.command)}</code> '
        '<button type="button" class="copy">Copy</button></p>'
        f'<p class="downloads">Download: {downloads}</p>{table}'
        f'<nav class="neighbours" aria-label="More pages" data-name="{place.name}" hidden></nav>'
        f'<p><a href="{place.index}">Index</a></p></footer>'
        f'<script src="{place.neighbours}"></script>'
    )


def _made_at(path: Path) -> tuple[str, str]:
    """Commit that a run was made at, and its date; a dash where one is not known.

    It is the date of the code, not of the training: equal trainings give equal pages.
    """
    if not path.is_file():
        return "–", "–"
    made_with: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))["made_with"]
    commit = made_with["commit"]
    if not commit:
        return "–", "–"
    stem, dirty, _ = commit.partition("-dirty")
    return stem[:12] + dirty, commit_date(stem)


@cache
def commit_date(commit: str) -> str:
    """Day of a commit, a dash where this checkout does not have it."""
    command = ["git", "show", "--no-patch", "--format=%cs", commit]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # no git here
        return "–"
    return found.stdout.strip() if found.returncode == 0 else "–"

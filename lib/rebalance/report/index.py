"""The index: one page with a card for every table and figure of every work, made or not."""

import os
from collections import Counter
from html import escape
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from rebalance.config.bounds import Index
from rebalance.config.parse import Place, parse
from rebalance.config.part import Options, section
from rebalance.data.files import write_atomically
from rebalance.errors import InputError
from rebalance.figures.checks import PAPER_SCALE
from rebalance.report.page import HERE, page_css

#: What a target's status is called on its card, in the order of the filters.
STATUSES = {
    "made": "made",
    "waiting": "waiting",
    "needs_gpu": "needs a GPU",
    "not_built": "not built",
}
#: What the verdicts of pages are called in the tally and the filters, in their order.
VERDICTS = {
    "reproduced": "reproduced",
    "misprints": "reproduced but for named misprints",
    "differs": "differs",
    "claims": "claims hold in part or whole",
    "redrawn": "redrawn",
    "transcribed": "transcribed",
    "not_measured": "not measured at this scale",
    "added": "our addition",
}


class Verdict(Options):
    """What the page of a target computed."""

    status: Literal[tuple(VERDICTS)]  # type: ignore[valid-type]
    words: str
    note: str = ""


class Card(Options):
    """A target; paths are relative to the working directory."""

    name: str
    title: str
    kind: str
    status: Literal[tuple(STATUSES)]  # type: ignore[valid-type]
    reason: str | None = None  # why it is not made
    verdict: Verdict | None = section()
    departures: Index | None = None  # how many differences from the work its page notes
    html: str | None = None  # must exist where the status is "made"
    thumbnail: str | None = None
    csv: str | None = None


class WorkCards(Options):
    """A work; its own ones are shown and not counted among those made."""

    key: str
    title: str
    authors: str | None = None
    own: bool = False
    targets: list[Card]


class Manifest(Options):
    """What an index page shows."""

    scale: str
    works: list[WorkCards]


_FILE_KEYS = ("html", "thumbnail", "csv")

# A small table, for cards without a picture.
_BLANK = (
    '<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.3" '
    'aria-hidden="true"><rect x="3" y="4.5" width="18" height="15" rx="2"/>'
    '<path d="M3 9.5h18M9 9.5v10"/></svg>'
)


def write_index(manifest: Any, out: Path, source: str = "manifest") -> None:
    """Write the page of a manifest (see ``index_html``), its links relative to ``out``.

    Raises:
        InputError: the manifest is wrong; nothing is written.
    """
    write_atomically(
        out, index_html(manifest, out.parent, source).encode(errors="xmlcharrefreplace")
    )


def index_html(manifest: Any, folder: Path, source: str = "manifest") -> str:
    """The page, self-contained but for the thumbnails and pages that it links.

    Args:
        manifest: plain values as in ``Manifest``.
        folder: where the page will be; links are relative to it.
        source: file of the manifest, for messages.

    Raises:
        InputError: something is not as in ``Manifest``, or a file of a made target is absent.
    """
    checked = parse(Manifest, manifest, source)
    works = checked.works
    for k, work in enumerate(works):
        for n, card in enumerate(work.targets):
            _check_files(card, Place(source, ("works", k, "targets", n)))
    targets = [target for work in works for target in work.targets]
    counts = Counter(target.status for target in targets)
    found = Counter(verdict.status for t in targets if (verdict := _verdict(t)))
    published = [target.status for work in works if not work.own for target in work.targets]
    made, total = published.count("made"), len(published)
    scale = escape(checked.scale)
    sections = "".join(_section(work, folder) for work in works)
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Rebalance · {scale} scale</title>\n<style>{page_css()}</style>\n</head>\n"
        '<body class="index">\n<header class="wrap hero">'
        f'<p class="eyebrow"><span>Rebalance</span><span class="chip scale">{scale} scale</span>'
        "</p>\n<h1>Tables and figures, made again</h1>\n"
        '<p class="lead">Every table and figure of the works below, measured beside what they '
        "report. A card opens the executed notebook.</p>\n",
        _banner(checked.scale),
        f'<div class="tally"><span class="meter" role="img" aria-label="{made} of '
        f'{total} made"><span style="width:{_percent(made, total)}%"></span></span>'
        f"<span><b>{made}</b> of <b>{total}</b> made</span></div></header>\n",
        '<nav class="controls" aria-label="Filter"><div class="wrap"><div class="filters">',
        _filter("all", "all", counts.total(), pressed=True),
        *(_filter(key, name, counts[key]) for key, name in STATUSES.items() if counts[key]),
        *(_filter(key, name, found[key]) for key, name in VERDICTS.items() if found[key]),
        '</div><input type="search" placeholder="Search titles, works, kinds" '
        'aria-label="Search"></div></nav>\n',
        f'<main class="wrap">{sections}<p class="nothing" hidden>No card fits.</p></main>\n',
        f"<script>{(HERE / 'index.js').read_text(encoding='utf-8')}</script>\n</body>\n</html>\n",
    ]
    return "".join(parts)


def _check_files(card: Card, place: Place) -> None:
    if card.status != "made":
        return
    if not card.html:
        raise InputError(f"{place}: {card.name!r} is made and has no html")
    for key in _FILE_KEYS:
        file = getattr(card, key)
        if file and not Path(file).is_file():
            raise InputError(f"{place.at(key)}: {card.name!r} is made, {file!r} does not exist")


def _verdict(target: Card) -> Verdict | None:
    """What the page of a target that is made computed; nothing of others."""
    return target.verdict if target.status == "made" else None


def _banner(scale: str) -> str:
    if scale == PAPER_SCALE:
        return ""
    return (
        '<div class="banner" role="note"><strong>Not comparable with the papers.</strong> '
        f"Trained results on this page come from the <em>{escape(scale)}</em> scale: other data, "
        "smaller networks, shorter schedules. They show the suite at work, not the works' results."
        "</div>\n"
    )


def _percent(part: int, total: int) -> str:
    return f"{100 * part / total:.1f}" if total else "0"


def _filter(status: str, name: str, count: int, pressed: bool = False) -> str:
    return (
        f'<button type="button" data-status="{status}" aria-pressed="{str(pressed).lower()}">'
        f"{name} <small>{count}</small></button>"
    )


def _section(work: WorkCards, folder: Path) -> str:
    """A work's heading and cards: with pictures what is made, below it and smaller what is not."""
    targets = work.targets
    made = sum(target.status == "made" for target in targets)
    cards: dict[bool, list[str]] = {True: [], False: []}
    for target in targets:
        cards[target.status == "made"].append(_card(work, target, folder))
    authors = work.authors
    return (
        f'<section class="work" id="{escape(work.key)}"><header><div>'
        f"<h2>{escape(work.title)}</h2>"
        + (f'<p class="authors">{escape(authors)}</p>' if authors else "")
        + f'</div><span class="count">{made} of {len(targets)} made</span></header>\n'
        f'<div class="cards">{"".join(cards[True])}</div>'
        f'<div class="cards small">{"".join(cards[False])}</div></section>\n'
    )


def _card(work: WorkCards, target: Card, folder: Path) -> str:
    """A target: picture, title, kind and status; a made one links its page and its CSV."""
    status = target.status
    made = status == "made"
    title = escape(target.title)
    if made and target.html:
        title = f'<a href="{_link(target.html, folder)}">{title}</a>'
    picture = f'<div class="picture blank">{_BLANK}</div>' if made else ""
    if made and target.thumbnail:
        source = _link(target.thumbnail, folder)
        picture = f'<div class="picture"><img src="{source}" alt="" loading="lazy"></div>'
    kind = target.kind.replace("_", " ")
    words = " ".join([target.name, target.title, kind, work.key, work.title, STATUSES[status]])
    reason = target.reason
    table = ""
    if made and target.csv:
        table = f'<a href="{_link(target.csv, folder)}">csv</a>'
    verdict = _verdict(target)
    note = f'<p class="reason">{escape(verdict.note)}</p>' if verdict and verdict.note else ""
    chips = f'<span class="chip {status}">{STATUSES[status]}</span>'
    if verdict:
        chips = f'<span class="chip {verdict.status}">{escape(verdict.words)}</span>'
    departures = ""
    if target.departures:
        several = "difference" if target.departures == 1 else "differences"
        departures = f'<span class="chip">{target.departures} {several} noted</span>'
    return (
        f'<article class="card {status}" data-status="{status}" '
        f'data-verdict="{verdict.status if verdict else ""}" '
        f'data-text="{escape(words.lower())}">{picture}<div class="text"><h3>{title}</h3>'
        f'<p class="name">{escape(target.name)}</p>'
        + (f'<p class="reason">{escape(reason)}</p>' if reason and not made else "")
        + note
        + f'<div class="foot">{chips}<span class="chip">{escape(kind)}</span>{departures}{table}'
        "</div></div></article>\n"
    )


def _link(path: str, folder: Path) -> str:
    """A relative link from a page in ``folder``."""
    return quote(os.path.relpath(path, folder))

"""The index: the scoreboard, and a card for every table and figure of every work, made or not."""

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from pydantic import Field

from rebalance.config.bounds import Index
from rebalance.config.parse import Place, parse
from rebalance.config.part import Options, section
from rebalance.data.files import write_atomically
from rebalance.errors import InputError
from rebalance.figures.checks import PAPER_SCALE
from rebalance.report.checks import CLAIMS
from rebalance.report.page import HERE, page_css, write_look
from rebalance.report.place import NEIGHBOURS
from rebalance.report.scoreboard import (
    count_claims,
    counted,
    scoreboard_html,
    target_data,
)

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
    "not_measured": "not measured or compared at this scale",
    "added": "our addition",
}


class Verdict(Options):
    """What the page of a target computed."""

    status: Literal[tuple(VERDICTS)]  # type: ignore[valid-type]
    words: str
    note: str = ""


class Claim(Options):
    """A line of the scoreboard."""

    name: str
    gain: bool  # whether it is one, shown with its sign
    printed: Any = None
    measured: Any = None
    interval: list[float] | None = None  # low, high
    verdict: Literal[tuple(CLAIMS)]  # type: ignore[valid-type]


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
    companion: bool = False  # of a table or figure, counted apart: curves, a figure with runs
    detectors: list[str] = Field(default_factory=list)
    scale: str | None = None  # of its numbers, where scales differ in them
    claims: list[Claim] = Field(default_factory=list)


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

    Beside it go ``pages.js``, from which pages know their neighbours, and how they look.

    Raises:
        InputError: the manifest is wrong; nothing is written.
    """
    write_atomically(
        out, index_html(manifest, out.parent, source).encode(errors="xmlcharrefreplace")
    )
    write_atomically(out.with_name(NEIGHBOURS), _pages_js(manifest, out.parent).encode())
    write_look(out.parent)


def _pages_js(manifest: Any, folder: Path) -> str:
    """The pages that there are, for the pages themselves."""
    pages = [
        {"name": target["name"], "title": target["title"], "work": work["key"],
         "href": _link(target["html"], folder)}
        for work in manifest["works"]
        for target in work["targets"]
        if target["status"] == "made"
    ]  # fmt: skip
    return f"const PAGES = {json.dumps(pages, indent=1)};\n"


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
    for k, key in enumerate(keys := [work.key for work in works]):
        if key in keys[:k]:
            place = Place(source, ("works", k, "key"))
            raise InputError(f"{place}: {key!r} is the key of another work, too")
    for k, work in enumerate(works):
        for n, card in enumerate(work.targets):
            _check_files(card, Place(source, ("works", k, "targets", n)))
    plain = [work.model_dump() for work in works]
    scale = escape(checked.scale)
    sections = "".join(_section(work, folder) for work in works)
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Rebalance · {scale} scale</title>\n<style>{page_css()}</style>\n</head>\n"
        '<body class="index">\n<header class="wrap hero">'
        f'<p class="eyebrow"><span>Rebalance</span><span class="chip scale">{scale} scale</span>'
        "</p>\n<h1>What the works claim, and what comes out</h1>\n"
        '<p class="lead">Every claim of five works on imbalance in object detection: the printed '
        "value, ours, its 95% interval, the verdict. Every page is an executed notebook.</p>\n",
        _banner(checked.scale),
        _tally(plain),
        "</header>\n",
        _controls(plain),
        '<main class="wrap"><div id="scoreboard" class="view">',
        scoreboard_html(plain, folder),
        f'</div><div id="pages" class="view">{sections}</div>'
        '<p class="nothing" hidden>Nothing fits.</p></main>\n',
        f"<script>{(HERE / 'index.js').read_text(encoding='utf-8')}</script>\n</body>\n</html>\n",
    ]
    return "".join(parts)


def _tally(works: Sequence[Mapping[str, Any]]) -> str:
    """What is counted, in words: of the works, of ours, and the claims."""
    of_works = [
        t for w in works if not w.get("own") for t in w["targets"] if not t.get("companion")
    ]
    ours = [t for w in works for t in w["targets"] if w.get("own") or t.get("companion")]
    made, total = _count_made(of_works), len(of_works)
    waiting = sum(target["status"] == "not_built" for target in of_works)
    claims = count_claims(works)
    beside = (
        f" Beside them <b>{_count_made(ours)}</b> of <b>{len(ours)}</b> pages of our own: training "
        "curves, figures with a trained detector, other runs."
        if ours
        else ""
    )
    cannot = f" {waiting} cannot be made by this suite; their cards say why." if waiting else ""
    return (
        f'<div class="tally"><span class="meter" role="img" aria-label="{made} of {total} made">'
        f'<span style="width:{_percent(made, total)}%"></span></span>'
        f"<p><b>{made}</b> of the <b>{total}</b> tables and figures of the works are made here."
        f"{cannot}{beside}</p>"
        + (f"<p><b>{claims.total():,}</b> claims: {counted(claims)}.</p>" if claims else "")
        + "</div>"
    )


def _count_made(targets: Sequence[Mapping[str, Any]]) -> int:
    return sum(target["status"] == "made" for target in targets)


def _controls(works: Sequence[Mapping[str, Any]]) -> str:
    """Two views, a search, filters and a menu to jump by; the script keeps them in the address."""
    targets = [target for work in works for target in work["targets"]]
    kinds = Counter(target["kind"] for target in targets)
    detectors = Counter(name for target in targets for name in target.get("detectors", ()))
    statuses = Counter(target["status"] for target in targets)
    verdicts = Counter(
        target["verdict"]["status"]
        for target in targets
        if target["status"] == "made" and target.get("verdict")
    )
    claims = count_claims(works)
    titles = {work["key"]: work["title"] for work in works}
    of_works = [
        (key, title, len(work["targets"]))
        for (key, title), work in zip(titles.items(), works, strict=True)
    ]
    groups = {
        "a claim that": [(f"claim-{key}", name, claims[key]) for key, name in CLAIMS.items()],
        "a page": [(key, name, verdicts[key]) for key, name in VERDICTS.items()],
    }
    return (
        '<nav class="controls" aria-label="Views and filters"><div class="wrap">'
        '<div class="views"><button type="button" data-view="scoreboard" aria-pressed="true">'
        'Scoreboard</button><button type="button" data-view="pages" aria-pressed="false">Pages'
        '</button></div><input type="search" placeholder="Search titles, claims, verdicts, authors"'
        ' aria-label="Search"><details class="filters"><summary>Filters</summary><div>'
        + _select("work", "Work", {"": of_works})
        + _select(
            "kind", "Kind", {"": [(key, key.replace("_", " "), n) for key, n in kinds.items()]}
        )
        + _select("verdict", "Verdict", groups)
        + _select("detector", "Detector", {"": [(d, d, detectors[d]) for d in sorted(detectors)]})
        + _select(
            "status", "Status", {"": [(k, name, statuses[k]) for k, name in STATUSES.items()]}
        )
        + '<button type="button" class="clear">Clear</button></div></details>'
        + '<select class="jump" aria-label="Jump to a work"><option value="">Jump to…</option>'
        + "".join(
            f'<option value="{escape(k)}">{escape(title)}</option>' for k, title in titles.items()
        )
        + '</select><output class="found"></output></div></nav>\n'
    )


def _select(name: str, label: str, groups: Mapping[str, Sequence[tuple[str, str, int]]]) -> str:
    """A filter: its options with how many there are, those of none left out."""
    parts = []
    for group, options in groups.items():
        items = "".join(
            f'<option value="{escape(value)}">{escape(words)} ({count:,})</option>'
            for value, words, count in options
            if count
        )
        parts.append(f'<optgroup label="{group}">{items}</optgroup>' if group and items else items)
    return (
        f'<label>{label} <select name="{name}"><option value="">all</option>{"".join(parts)}'
        "</select></label>"
    )


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
    data = target_data(work.model_dump(exclude={"targets"}), target.model_dump())
    return (
        f'<article class="card {status}" id="{escape(target.name)}" '
        f'{data}>{picture}<div class="text"><h3>{title}</h3>'
        f'<p class="name">{escape(target.name)}</p>'
        + (f'<p class="reason">{escape(reason)}</p>' if reason and not made else "")
        + note
        + f'<div class="foot">{chips}<span class="chip">{escape(kind)}</span>{departures}{table}'
        "</div></div></article>\n"
    )


def _link(path: str, folder: Path) -> str:
    """A relative link from a page in ``folder``."""
    return quote(os.path.relpath(path, folder))

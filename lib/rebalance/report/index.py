"""The index: one page with a card for every table and figure of every work, made or not."""

import os
from collections import Counter
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rebalance.data.files import write_atomically
from rebalance.errors import InputError
from rebalance.figures.checks import PAPER_SCALE
from rebalance.inputs import read_json
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
_WORK_KEYS = {"key", "title", "targets"}
_TARGET_KEYS = {"name", "title", "kind", "status"}
_FILE_KEYS = ("html", "thumbnail", "csv")

# A small table, for cards without a picture.
_BLANK = (
    '<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.3" '
    'aria-hidden="true"><rect x="3" y="4.5" width="18" height="15" rx="2"/>'
    '<path d="M3 9.5h18M9 9.5v10"/></svg>'
)


def read_manifest(path: Path) -> Any:
    """A manifest (see ``index_html``) from a JSON file.

    Raises:
        InputError: the file is absent or not JSON.
    """
    return read_json(path, "manifest")


def write_index(manifest: Mapping[str, Any], out: Path) -> None:
    """Write the page of a manifest (see ``index_html``), its links relative to ``out``.

    Raises:
        InputError: the manifest is incomplete; nothing is written.
    """
    write_atomically(out, index_html(manifest, out.parent).encode())


def index_html(manifest: Mapping[str, Any], folder: Path) -> str:
    """The page, self-contained but for the thumbnails and pages that it links.

    Args:
        manifest: {scale, works: [{key, title, authors (optional), own (optional), targets: [{name,
            title, kind, status, reason, verdict, departures, html, thumbnail, csv}]}]}. own works
            are shown and not counted among those made; status is one of STATUSES; reason says why a
            target is not made; verdict is {status (one of VERDICTS), words, note} as its page
            computed it; departures is how many differences from the work its page notes; paths are
            relative to the working directory, and html must exist where the status is "made".
        folder: where the page will be; links are relative to it.

    Raises:
        InputError: a key is missing, a status unknown, or a file of a made target is absent.
    """
    if not isinstance(manifest, dict) or set(manifest) != {"scale", "works"}:
        raise InputError(f"the manifest must have the keys scale and works, got {manifest!r:.200}")
    works = manifest["works"]
    for work in works:
        _check_keys(f"work {work.get('key')!r}", work, _WORK_KEYS, {"authors", "own"})
        for target in work["targets"]:
            _check_target(target)
    targets = [target for work in works for target in work["targets"]]
    counts = Counter(target["status"] for target in targets)
    found = Counter(_verdict(target).get("status") for target in targets)
    published = [t["status"] for work in works if not work.get("own") for t in work["targets"]]
    made, total = published.count("made"), len(published)
    scale = escape(manifest["scale"])
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
        _banner(manifest["scale"]),
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


def _check_keys(where: str, entry: Mapping[str, Any], needed: set[str], optional: set[str]) -> None:
    missing = sorted(needed - set(entry))
    unknown = sorted(set(entry) - needed - optional)
    if missing or unknown:
        raise InputError(f"manifest, {where}: missing keys {missing}, unknown keys {unknown}")


def _check_target(target: Mapping[str, Any]) -> None:
    where = f"target {target.get('name')!r}"
    _check_keys(where, target, _TARGET_KEYS, {"reason", "verdict", "departures", *_FILE_KEYS})
    if target["status"] not in STATUSES:
        raise InputError(
            f"manifest, {where}: status must be one of {list(STATUSES)}, got {target['status']!r}"
        )
    found = target.get("verdict")
    if found and found.get("status") not in VERDICTS:
        raise InputError(
            f"manifest, {where}: verdict: must be one of {list(VERDICTS)}, got {found!r}"
        )
    if target["status"] == "made":
        if not target.get("html"):
            raise InputError(f"manifest, {where} is made and has no html")
        for key in _FILE_KEYS:
            if target.get(key) and not Path(target[key]).is_file():
                raise InputError(f"manifest, {where} is made, {key} {target[key]} does not exist")


def _verdict(target: Mapping[str, Any]) -> Mapping[str, str]:
    """What the page of a target that is made computed; nothing of others."""
    return (target.get("verdict") or {}) if target["status"] == "made" else {}


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


def _section(work: Mapping[str, Any], folder: Path) -> str:
    """A work's heading and cards: with pictures what is made, below it and smaller what is not."""
    targets = work["targets"]
    made = sum(target["status"] == "made" for target in targets)
    cards: dict[bool, list[str]] = {True: [], False: []}
    for target in targets:
        cards[target["status"] == "made"].append(_card(work, target, folder))
    authors = work.get("authors")
    return (
        f'<section class="work" id="{escape(work["key"])}"><header><div>'
        f"<h2>{escape(work['title'])}</h2>"
        + (f'<p class="authors">{escape(authors)}</p>' if authors else "")
        + f'</div><span class="count">{made} of {len(targets)} made</span></header>\n'
        f'<div class="cards">{"".join(cards[True])}</div>'
        f'<div class="cards small">{"".join(cards[False])}</div></section>\n'
    )


def _card(work: Mapping[str, Any], target: Mapping[str, Any], folder: Path) -> str:
    """A target: picture, title, kind and status; a made one links its page and its CSV."""
    status = target["status"]
    made = status == "made"
    title = escape(target["title"])
    if made:
        title = f'<a href="{_link(target["html"], folder)}">{title}</a>'
    picture = f'<div class="picture blank">{_BLANK}</div>' if made else ""
    if made and target.get("thumbnail"):
        source = _link(target["thumbnail"], folder)
        picture = f'<div class="picture"><img src="{source}" alt="" loading="lazy"></div>'
    kind = target["kind"].replace("_", " ")
    words = " ".join(
        [target["name"], target["title"], kind, work["key"], work["title"], STATUSES[status]]
    )
    reason = target.get("reason")
    table = ""
    if made and target.get("csv"):
        table = f'<a href="{_link(target["csv"], folder)}">csv</a>'
    verdict = _verdict(target)
    note = f'<p class="reason">{escape(verdict["note"])}</p>' if verdict.get("note") else ""
    chips = f'<span class="chip {status}">{STATUSES[status]}</span>'
    if verdict:
        chips = f'<span class="chip {verdict["status"]}">{escape(verdict["words"])}</span>'
    departures = ""
    if target.get("departures"):
        several = "difference" if target["departures"] == 1 else "differences"
        departures = f'<span class="chip">{target["departures"]} {several} noted</span>'
    return (
        f'<article class="card {status}" data-status="{status}" '
        f'data-verdict="{verdict.get("status", "")}" '
        f'data-text="{escape(words.lower())}">{picture}<div class="text"><h3>{title}</h3>'
        f'<p class="name">{escape(target["name"])}</p>'
        + (f'<p class="reason">{escape(reason)}</p>' if reason and not made else "")
        + note
        + f'<div class="foot">{chips}<span class="chip">{escape(kind)}</span>{departures}{table}'
        "</div></div></article>\n"
    )


def _link(path: str, folder: Path) -> str:
    """A relative link from a page in ``folder``."""
    return quote(os.path.relpath(path, folder))

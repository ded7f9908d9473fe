"""The scoreboard of the index: every claim of the works, printed beside ours, and its verdict."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rebalance.report.checks import CLAIMS, show
from rebalance.words import in_words

#: What they are called behind a count.
COUNTED = CLAIMS | {"holds": "hold", "misprint": "misprinted", "fails": "do not hold"}


def scoreboard_html(works: Sequence[Mapping[str, Any]], folder: Path) -> str:
    """Works, their targets, and the claims of each, folded from the outside in.

    Args:
        works: of a manifest, see ``report.index``.
        folder: where the page will be; links are relative to it.
    """
    return "".join(_work(work, folder) for work in works)


def count_claims(works: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Claims by their verdict."""
    return Counter(
        claim["verdict"] for work in works for target in work["targets"] for claim in _of(target)
    )


def counted(counts: Counter[str]) -> str:
    """Counts of claims in words."""
    return ", ".join(f"{counts[key]:,} {name}" for key, name in COUNTED.items() if counts[key])


def _of(target: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    claims: Sequence[Mapping[str, Any]] = target.get("claims", [])
    return claims


def _work(work: Mapping[str, Any], folder: Path) -> str:
    targets = [target for target in work["targets"] if _of(target)]
    if not targets:
        return ""
    counts = count_claims([work])
    lines = "".join(_target(work, target, folder) for target in targets)
    return (
        f'<details class="score-work" id="score-{escape(work["key"])}"><summary>'
        f"<h2>{escape(work['title'])}</h2>{_bar(counts)}</summary>{lines}</details>\n"
    )


def _target(work: Mapping[str, Any], target: Mapping[str, Any], folder: Path) -> str:
    """A target's line, which unfolds to its claims."""
    counts = Counter(claim["verdict"] for claim in _of(target))
    rows = "".join(_row(claim) for claim in _of(target))
    if target["status"] == "made":
        href = quote(os.path.relpath(target["html"], folder))
        link = f'<a href="{href}">Open its page</a>'
    elif target["status"] == "not_built":
        link = escape(target.get("reason") or "")
    else:
        link = f"<code>{escape(target.get('reason') or '')}</code>"
    where = target.get("scale")
    scale = f"{escape(where)} scale" if where else "the same at every scale"
    head = "".join(
        f'<th scope="col">{name}</th>' for name in ("claim", "printed", "ours", "95%", "verdict")
    )
    return (
        f'<details class="score" {target_data(work, target)}><summary>'
        f'<span class="title">{escape(target["title"])}</span>{_bar(counts)}</summary>'
        f'<p class="fine">{link} · {scale}</p>'
        f'<table class="claims"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
        "</details>\n"
    )


def _row(claim: Mapping[str, Any]) -> str:
    found = claim["verdict"]
    interval = "–"
    if claim["interval"]:
        interval = f"[{', '.join(_gain(end) for end in claim['interval'])}]"
    write = _gain if claim["gain"] else show
    return (
        f'<tr data-claim="{found}"><th scope="row">{in_words(claim["name"])}</th>'
        f'<td data-label="printed">{write(claim["printed"])}</td>'
        f'<td data-label="ours">{write(claim["measured"])}</td>'
        f'<td data-label="95%">{interval}</td>'
        f'<td class="verdict"><span class="chip {found}">{CLAIMS[found]}</span></td></tr>'
    )


def target_data(work: Mapping[str, Any], target: Mapping[str, Any]) -> str:
    """Attributes that the filters of the page read, of a line or a card."""
    words = " ".join(
        [
            target["name"],
            target["title"],
            target["kind"],
            work["title"],
            work.get("authors") or "",
            (target.get("verdict") or {}).get("words", ""),
            *target.get("detectors", []),
        ]
    )
    values = {
        "work": work["key"],
        "kind": target["kind"],
        "status": target["status"],
        "verdict": (target.get("verdict") or {}).get("status", ""),
        "detector": "|".join(target.get("detectors", [])),
        "claims": "|".join(sorted({claim["verdict"] for claim in _of(target)})),
        "text": words.lower(),
    }
    return " ".join(f'data-{key}="{escape(value)}"' for key, value in values.items())


def _bar(counts: Counter[str]) -> str:
    """How many claims have each verdict: as a bar, and in words."""
    parts = [(found, counts[found]) for found in CLAIMS if counts[found]]
    words = counted(counts)
    cells = "".join(f'<i class="{found}" style="flex:{count}"></i>' for found, count in parts)
    return f'<span class="bar" role="img" aria-label="{words}">{cells}</span><small>{words}</small>'


def _gain(value: float | None) -> str:
    """A difference, with its sign."""
    return "–" if value is None else f"{value:+.2f}".replace("-", "−")

"""The page of a comparison: gains over the baseline with their intervals, and who finds what."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from rebalance.report.numbers import show_number
from rebalance.report.page import page_css
from rebalance.words import in_words

#: Metric -> what it is. AP higher is better, oLRP lower is better.
MEANINGS = {
    "AP": "mean over IoU .50 to .95",
    "AP50": "IoU .50",
    "AP75": "IoU .75",
    "oLRP": "LRP error at the best threshold of each class",
    "oLRP_Loc": "how badly true positives fit, there",
    "oLRP_FP": "1 − precision there",
    "oLRP_FN": "1 − recall there",
}
OF_SIZES = {"APS": "small", "APM": "medium", "APL": "large",
            "oLRPS": "small", "oLRPM": "medium", "oLRPL": "large"}  # fmt: skip
OF_CLASSES = ("AP", "AP50", "oLRP")
HANDS = {"both": "found by both", "won": "won", "lost": "lost", "neither": "found by neither"}
SIZES = ("all", "small", "medium", "large")
WIDTH, HEIGHT = 140, 18
"""Of the picture of an interval, px."""


def page_html(comparison: Mapping[str, Any]) -> str:
    """A page of its own; needs nothing from the network and no file beside it.

    Args:
        comparison: of :func:`rebalance.metrics.compare.compare`.
    """
    baseline, *others = comparison["results"]
    title = f"{', '.join(other['name'] for other in others)} against {baseline['name']}"
    overview = _overview(baseline, others) if len(others) > 1 else ""
    sections = "".join(_result_html(comparison, baseline, other) for other in others)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{page_css()}{_CSS}</style></head>"
        f'<body class="notebook"><main class="compare">{_heading(comparison, title)}{overview}'
        f"{sections}{_reading(comparison)}</main></body></html>\n"
    )


def gains_text(comparison: Mapping[str, Any]) -> str:
    """A line per result and metric for the terminal, in points."""
    lines = []
    for result in comparison["results"][1:]:
        lines.append(f"{result['name']} against {comparison['results'][0]['name']}, in points")
        for name, gain in result["gains"].items():
            value = 100 * result["metrics"][name]["value"]
            ends = (100 * gain[key] for key in ("gain", "low", "high"))
            if np.isnan(gain["gain"]):
                lines.append(f"{name:<9}undefined")
            else:
                lines.append(
                    f"{name:<9}{value:6.1f}{{:+8.2f}}  [{{:+.2f}}, {{:+.2f}}]".format(*ends)
                )
    return "\n".join(lines)


def verdict(name: str, gain: Mapping[str, float]) -> str:
    """ "better", "worse", "same" or "open": what the interval of a gain says of the metric.

    "open" is an interval with 0 inside, "same" one of no width at 0.
    """
    low, high = gain["low"], gain["high"]
    if low == high == 0:
        return "same"
    if not (low > 0 or high < 0):  # nan: open
        return "open"
    return "better" if (low > 0) == _higher_is_better(name) else "worse"


def _higher_is_better(name: str) -> bool:
    return not name.startswith("oLRP")


def _heading(comparison: Mapping[str, Any], title: str) -> str:
    truth, settings = comparison["ground_truth"], comparison["settings"]
    kinds = {"bbox": "boxes", "segm": "masks", "keypoints": "keypoints"}
    return (
        f'<header><p class="eyebrow"><span>Comparison of {kinds[settings["iou_type"]]} on '
        f"{escape(truth['name'])}</span></p><h1>{escape(title)}</h1>"
        f'<p class="lead">{truth["objects"]:,} objects of {truth["classes"]} classes in '
        f"{truth['images']:,} images. Intervals of {settings['level']:.0%} from "
        f"{settings['resamples']:,} paired resamples of the images (seed {settings['seed']})."
        "</p></header>"
    )


def _result_html(
    comparison: Mapping[str, Any], baseline: Mapping[str, Any], other: Mapping[str, Any]
) -> str:
    sizes = [name for name in OF_SIZES if name in other["gains"]]
    return (
        f"<h2>{escape(other['name'])}</h2>{_sentence(other)}"
        '<div class="side-by-side"><div>'
        + _gains_table(baseline, other, list(MEANINGS), MEANINGS)
        + "</div><div>"
        + _gains_table(baseline, other, sizes, OF_SIZES)
        + "</div></div><h3>What changed hands</h3>"
        + _hands_html(baseline, other)
        + "<h3>By class</h3>"
        + _classes_table(other)
    )


def _overview(baseline: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> str:
    """One line per result: gain and interval of AP."""
    reach = _reach([other["gains"]["AP"] for other in others])
    lines = [
        f'<tr><td class="setting">{escape(other["name"])}</td>'
        f'<td class="measured">{_level(other["metrics"]["AP"])}</td>'
        f"{_gain_cells('AP', other['gains']['AP'], reach)}</tr>"
        for other in others
    ]
    first = (
        f'<tr><td class="setting">{escape(baseline["name"])}</td><td class="measured">'
        f"{_level(baseline['metrics']['AP'])}</td><td>baseline</td><td class='picture'></td></tr>"
    )
    return _table(_head("result", "AP ↑", "gain", ""), [first, *lines])


def _sentence(other: Mapping[str, Any]) -> str:
    """The answer in words."""
    gain = other["gains"]["AP"]
    if np.isnan(gain["gain"]):
        return '<p class="lead">AP is undefined: there is nothing to find.</p>'
    words = {
        "better": "The gain in AP is more than the choice of images explains",
        "worse": "The loss of AP is more than the choice of images explains",
        "open": "The difference in AP could be due to the choice of images: its interval holds 0",
        "same": "AP is the same in every resample",
    }
    return (
        f'<p class="lead answer {verdict("AP", gain)}">{words[verdict("AP", gain)]}: '
        f"{_points(gain['gain'])} points, {_ends(gain)}.</p>"
    )


def _gains_table(
    baseline: Mapping[str, Any],
    other: Mapping[str, Any],
    names: Sequence[str],
    meanings: Mapping[str, str],
) -> str:
    reach = _reach([other["gains"][name] for name in names])
    lines = []
    for name in names:
        gain = other["gains"][name]
        arrow = "↑" if _higher_is_better(name) else "↓"
        lines.append(
            f'<tr><td class="setting">{_label(name)}&nbsp;{arrow}'
            f"<small>{meanings[name]}</small></td>"
            f'<td class="reported">{_level(baseline["metrics"][name])}</td>'
            f'<td class="measured">{_level(other["metrics"][name])}</td>'
            f"{_gain_cells(name, gain, reach)}</tr>"
        )
    return _table(_head("metric", "baseline", "here", "gain", ""), lines)


def _classes_table(other: Mapping[str, Any]) -> str:
    """A line for every class with objects, the greatest gain of AP first."""
    rows = [
        (row, hands)
        for row, hands in zip(other["per_class"], other["changed_hands"]["per_class"], strict=True)
        if not np.isnan(row["gains"]["AP"]["gain"])
    ]
    rows.sort(key=lambda pair: (-pair[0]["gains"]["AP"]["gain"], pair[0]["name"]))
    reach = _reach([row["gains"]["AP"] for row, _ in rows])
    lines = []
    for row, hands in rows:
        gains = row["gains"]
        more = "".join(
            f'<td class="measured {verdict(name, gains[name])}" title="{_ends(gains[name])}">'
            f"{_points(gains[name]['gain'])}</td>"
            for name in OF_CLASSES[1:]
        )
        lines.append(
            f'<tr><td class="setting">{escape(row["name"])}</td><td>{row["N_GT"]:,}</td>'
            f'<td class="measured">{_level(row["metrics"]["AP"])}</td>'
            f"{_gain_cells('AP', gains['AP'], reach)}{more}"
            f'<td class="measured">{hands["won"]:,}</td><td>{hands["lost"]:,}</td></tr>'
        )
    head = _head(
        "class", "objects", "AP", "gain", "", "AP<sub>50</sub> gain", "oLRP gain", "won", "lost"
    )
    decided = sum(verdict("AP", row["gains"]["AP"]) in ("better", "worse") for row, _ in rows)
    return _table(head, lines) + (
        f'<p class="fine">{decided} of {len(rows)} intervals of AP leave 0 out; of {len(rows)} '
        f"classes that do not differ at all about {0.05 * len(rows):.0f} would. Won are objects "
        "found here alone, lost those found by the baseline alone. Classes without objects are "
        "left out.</p>"
    )


def _hands_html(baseline: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    hands = other["changed_hands"]
    names = {
        "both": HANDS["both"],
        "won": f"by {escape(other['name'])} alone",
        "lost": f"by {escape(baseline['name'])} alone",
        "neither": HANDS["neither"],
    }
    head = _head("objects", *(size for size in SIZES if size in hands))
    lines = [
        f'<tr><td class="setting">{names[kind]}</td>'
        + "".join(
            f'<td class="measured">{hands[size][kind]:,}</td>' for size in SIZES if size in hands
        )
        + "</tr>"
        for kind in HANDS
    ]
    images = ", ".join(
        f"{image['image_id']} (+{image['won']} −{image['lost']})" for image in hands["images"]
    )
    most = f" Most changed in the images with the ids {images}." if images else ""
    return _table(head, lines) + (
        '<p class="fine">An object is found if a detection that scores at least the LRP-optimal '
        "threshold of its class matches it at IoU (or OKS) 0.5; each result has its own "
        f"thresholds. Their ids are in the JSON.{most}</p>"
    )


def _reading(comparison: Mapping[str, Any]) -> str:
    seeds = max(result["seeds"] for result in comparison["results"])
    of_seeds = (
        " ± is the standard deviation over seeds; intervals are of the mean over them."
        if seeds > 1
        else " What another seed of the training would give is not in the interval."
    )
    return (
        '<h2>How to read it</h2><p class="fine">Values in percent, gains in points. ↑ higher is '
        "better, ↓ lower is better. All results are evaluated on the same resamples of the images, "
        "drawn with replacement; the interval reaches 1.96 standard deviations of the resampled "
        "gains to both sides of the gain. "
        '<span class="better">Better</span> and <span class="worse">worse</span> are coloured '
        f"where the interval leaves 0 out.{of_seeds} – is undefined.</p>"
    )


def _gain_cells(name: str, gain: Mapping[str, float], reach: float) -> str:
    kind = verdict(name, gain)
    if np.isnan(gain["gain"]):
        return '<td class="measured undefined">–</td><td></td>'
    return (
        f'<td class="measured {kind}">{_points(gain["gain"])}<small>{_ends(gain)}</small></td>'
        f'<td class="picture">{_picture(gain, kind, reach)}</td>'
    )


def _picture(gain: Mapping[str, float], kind: str, reach: float) -> str:
    """The interval as a line, the gain as a dot, beside the line of no gain."""

    def x(value: float) -> float:
        return WIDTH / 2 + value / reach * (WIDTH / 2 - 5)

    middle = HEIGHT / 2
    return (
        f'<svg class="interval {kind}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="gain {_points(gain["gain"])}, interval {_ends(gain)}">'
        f'<line class="zero" x1="{WIDTH / 2}" x2="{WIDTH / 2}" y1="0" y2="{HEIGHT}"/>'
        f'<line x1="{x(gain["low"]):.1f}" x2="{x(gain["high"]):.1f}" y1="{middle}" y2="{middle}"/>'
        f'<circle cx="{x(gain["gain"]):.1f}" cy="{middle}" r="3.5"/></svg>'
    )


def _reach(gains: Sequence[Mapping[str, float]]) -> float:
    """The value at the edge of the pictures: one scale for a whole table."""
    ends = [abs(gain[key]) for gain in gains for key in ("gain", "low", "high")]
    return max((end for end in ends if not np.isnan(end)), default=0.0) or 1.0


def _label(name: str) -> str:
    """A metric's name as HTML; oLRPS with its letter below, as in_words has it for AP."""
    if name in OF_SIZES and name.startswith("oLRP"):
        return f"oLRP<sub>{name[-1]}</sub>"
    return in_words(name)


def _head(*names: str) -> str:
    """Headings of columns, HTML."""
    return "".join(
        f'<th scope="col">{name}</th>' if name else '<td class="picture"></td>' for name in names
    )


def _level(metric: Mapping[str, float]) -> str:
    spread = f' <span class="spread">± {100 * metric["std"]:.1f}</span>' if "std" in metric else ""
    return show_number(metric["value"], 1, percent=True) + spread


def _points(value: float) -> str:
    return show_number(value, 2, percent=True, sign=True)


def _ends(gain: Mapping[str, float]) -> str:
    return f"[{_points(gain['low'])}, {_points(gain['high'])}]"


def _table(head: str, lines: Sequence[str]) -> str:
    return (
        '<div class="table-scroll html" tabindex="0"><table class="results">'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


_CSS = """
.compare td small { display: block; font-weight: 400; color: var(--soft); }
.compare table.results td.setting {
  white-space: normal; max-width: 14rem; overflow-wrap: anywhere;
}
.compare table.results thead tr:first-child th:not([colspan], :first-child) { text-align: right; }
.compare thead td { background: var(--wash); }
.compare .side-by-side { display: flex; flex-wrap: wrap; gap: 0 2rem; }
.compare .side-by-side > div { min-width: 0; }
.compare .better { color: var(--good); font-weight: 650; }
.compare .worse { color: var(--bad); font-weight: 650; }
.compare p.answer.better, .compare p.answer.worse { font-weight: 500; }
.compare svg.interval { display: block; width: 8.5rem; color: var(--soft); }
.compare svg.interval.better { color: var(--good); }
.compare svg.interval.worse { color: var(--bad); }
.compare svg.interval line { stroke: currentColor; stroke-width: 2; }
.compare svg.interval line.zero { stroke: var(--faint); stroke-width: 1; }
.compare svg.interval circle { fill: currentColor; }
@media (max-width: 40rem) {
  .compare td.picture { display: none; }
  .compare table.results tbody td.setting:first-child { max-width: 8rem; }
}
"""

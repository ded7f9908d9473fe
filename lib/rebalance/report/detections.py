"""HTML of the report on a detections file: which files, summary, one line per class."""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from rebalance.metrics.evaluation import Evaluation

UNDEFINED = "–"
# Columns of the per-class table: key, heading, in percent.
CLASS_COLUMNS = (
    ("N_GT", "objects", False),
    ("AP", "AP", True),
    ("AP50", "AP50", True),
    ("AP75", "AP75", True),
    ("oLRP", "oLRP", True),
    ("oLRP_Loc", "Loc", True),
    ("oLRP_FP", "FP", True),
    ("oLRP_FN", "FN", True),
    ("threshold", "threshold", False),
    ("N_TP", "TP", False),
    ("N_FP", "FP", False),
    ("N_FN", "FN", False),
)
MEANINGS = {
    "AP": "mean over IoU .50 to .95",
    "AP50": "IoU .50",
    "AP75": "IoU .75",
    "APS": "small objects",
    "APM": "medium objects",
    "APL": "large objects",
    "oLRP": "LRP at the best threshold of each class",
    "oLRP_Loc": "mean 1 − IoU of the true positives there",
    "oLRP_FP": "1 − precision there",
    "oLRP_FN": "1 − recall there",
}


def summary_html(metrics: Mapping[str, Any]) -> str:
    """AP and oLRP with their parts, in percent, and what each is."""
    lines = "".join(
        f'<tr><td class="setting">{key}</td><td class="measured">{_percent(metrics[key])}</td>'
        f'<td class="setting">{meaning}</td></tr>'
        for key, meaning in MEANINGS.items()
        if key in metrics
    )
    recalls = ", ".join(
        f"{key} {_percent(value)}"
        for key, value in metrics.items()
        if key.startswith("AR") and isinstance(value, float)
    )
    correlation = metrics["correlation"]["Spearman"]
    return (
        '<div class="table-scroll" tabindex="0"><table class="results">'
        f"<tbody>{lines}</tbody></table></div>"
        '<p class="fine">In percent; AP higher is better, oLRP lower is better. '
        f"Average recall: {recalls}. Rank correlation of score and localisation quality over the "
        f"true positives: {UNDEFINED if np.isnan(correlation) else f'{correlation:.2f}'} "
        "(1 if confidence ranked detections by how well they fit).</p>"
    )


def per_class_html(metrics: Mapping[str, Any]) -> str:
    """A line for every class, worst oLRP first, classes without ground truth last."""
    rows = sorted(
        metrics["per_class"],
        key=lambda row: (np.isnan(row["oLRP"]), -np.nan_to_num(row["oLRP"]), -row["N_GT"]),
    )
    head = "".join(f"<th>{heading}</th>" for _, heading, _ in CLASS_COLUMNS)
    groups = '<td></td><th colspan="3">AP</th><th colspan="4">oLRP and components</th>'
    body = "".join(_class_line(row) for row in rows)
    return (
        '<div class="table-scroll" tabindex="0"><table class="results"><thead>'
        f'<tr><td></td>{groups}<th colspan="4">at the best threshold</th></tr>'
        f"<tr><th>class</th>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        '<p class="fine">AP and oLRP in percent. The threshold is the score at which the LRP error '
        "of the class is least; TP, FP and FN are counted there. – is undefined: without ground "
        "truth, and for components also without a true positive.</p>"
    )


def about_files_html(evaluation: Evaluation, tau: float) -> str:
    """Which files were compared, and how many images, objects and detections they hold."""
    truth, detections = evaluation.ground_truth, evaluation.detections
    names = [escape(Path(file.name).name) for file in (detections, truth)]
    empty = len(truth.image_ids) - len(np.unique(detections.images))
    return (
        f'<p class="fine">{len(detections):,} detections ({names[0]}) against '
        f"{int((~truth.ignored).sum()):,} objects and {int(truth.ignored.sum()):,} ignored regions "
        f"of {len(truth.class_ids)} classes in {len(truth.image_ids):,} images "
        f"({names[1]}); {empty:,} images have no detection. A true positive has an IoU "
        f"(or OKS) of at least {tau:g}.</p>"
    )


def _class_line(row: Mapping[str, Any]) -> str:
    cells = "".join(
        f'<td class="measured">{_percent(row[key]) if percent else _number(row[key])}</td>'
        for key, _, percent in CLASS_COLUMNS
    )
    return f'<tr><td class="setting">{escape(row["name"])}</td>{cells}</tr>'


def _percent(value: float) -> str:
    return UNDEFINED if np.isnan(value) else f"{100 * value:.1f}"


def _number(value: float) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return UNDEFINED if np.isnan(value) else f"{value:.3f}"

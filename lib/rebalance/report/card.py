"""The card of a trained run: what it is, how it was trained, how good it is, how to load it."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rebalance.config.run import DEFAULT_VARIANT, read_trained_run
from rebalance.data.files import write_atomically
from rebalance.inputs import read_json
from rebalance.metrics.output import lower_is_better, meaning

CARD = "README.md"
LICENCES = {
    "coco": "annotations CC BY 4.0 (COCO Consortium), images under the terms of Flickr",
    "voc": "images under the terms of Flickr (Pascal VOC)",
    "shapes": "drawn by Rebalance from a seed, Apache-2.0",
}
"""How names of data sets begin -> licence; others are their owner's."""


def write_card(run_dir: str | Path) -> None:
    """Write ``README.md`` of a run's folder anew.

    Raises:
        InputError: no run.yaml there, or one that is damaged.
    """
    write_atomically(Path(run_dir) / CARD, card_text(run_dir).encode())


def card_text(run_dir: str | Path) -> str:
    """Markdown, of what is in the folder: run.yaml, and ``default/metrics.json`` if it is there.

    Raises:
        InputError: no run.yaml there, or a file that is damaged.
    """
    run = read_trained_run(Path(run_dir) / "run.yaml").model_dump()
    metrics = Path(run_dir) / DEFAULT_VARIANT / "metrics.json"
    measured = read_json(metrics, "file of metrics") if metrics.is_file() else None
    return "\n\n".join(
        [
            f"# {run['name']}",
            _what(run),
            f"## Settings\n\n{_table(_settings(run))}\n\nAll of them: `run.yaml`.",
            f"## Metrics\n\n{_metrics(run, measured)}",
            "## Use\n\n```python\nimport rebalance\n\n"
            'model = rebalance.load("FOLDER")  # this one\nfound = model("photo.jpg")\n```\n\n'
            "`found` is a list of COCO results; `model.detector` is a `torch.nn.Module` in "
            "evaluation mode, `model.settings` is run.yaml.",
            f"## Licence\n\n{_licence(run)}\n",
        ]
    )


def _what(run: Mapping[str, Any]) -> str:
    """What was trained, on what, by what."""
    steps = run["detector"]["steps"]
    kinds = [next(iter(step)) if isinstance(step, dict) else step for step in steps]
    heads = dict.fromkeys(head["name"] for head in run["detector"]["heads"].values())
    classes = run["classes"]["names"]
    known = ", ".join(classes[:10]) + (", ..." if len(classes) > 10 else "")
    diverged = run["diverged"]
    end = f" Its loss diverged in iteration {diverged}: the weights are those before." if (
        diverged is not None
    ) else ""  # fmt: skip
    return (
        f"An object detector of the steps {' → '.join(kinds)} (heads: {', '.join(heads)}) on a "
        f"{run['backbone']['name']} backbone, trained by Rebalance {_version(run)} on "
        f"{run['dataset']['name']} (scale `{run['scale']}`, seed {run['seed']}). It tells "
        f"{len(classes)} classes apart: {known}.{end}"
    )


def _version(run: Mapping[str, Any]) -> str:
    return str(run["made_with"].get("versions", {}).get("rebalance", ""))


def _settings(run: Mapping[str, Any]) -> list[tuple[str, ...]]:
    schedule = run["schedule"]
    rows = [
        ("iterations", f"{schedule['iterations']:,}"),
        ("images in a batch", str(schedule["batch_size"])),
        ("learning rate", f"{schedule['lr']:g}"),
    ]
    for name, values in run["detector"].items():
        objective = values.get("objective") if isinstance(values, dict) else None
        for kind in ("class", "box", "mask"):
            if objective and objective.get(kind):
                rows.append((f"{kind} loss ({name})", objective[kind]["name"]))
    if run["params_k"] is not None:
        rows.append(("parameters that train", f"{1000 * run['params_k']:,.0f}"))
    rows.append(("device", str(run["made_with"].get("device", "unknown"))))
    return [("setting", "value"), *rows]


def _metrics(run: Mapping[str, Any], measured: Mapping[str, Any] | None) -> str:
    if measured is None:
        return "Not evaluated yet."
    rows = [("metric", "percent", "better", "what it is")]
    for name, value in measured.items():
        if isinstance(value, float) or value is None:
            undefined = value is None or math.isnan(value)
            better = "lower" if lower_is_better(name) else "higher"
            shown = "undefined" if undefined else f"{100 * value:.1f}"
            rows.append((name, shown, better, meaning(name)))
    return f"On the validation images of {run['dataset']['name']}:\n\n{_table(rows)}"


def _licence(run: Mapping[str, Any]) -> str:
    dataset = run["dataset"]["name"]
    licence = next(
        (text for start, text in LICENCES.items() if dataset.startswith(start)),
        "its owner's, which Rebalance does not know",
    )
    start = run["backbone"].get("weights")
    published = (
        f" The backbone began with published ImageNet weights (`{Path(start).name}`), whose terms "
        "hold, too."
        if start
        else ""
    )
    return (
        f"Data ({dataset}): {licence}. Code: Apache-2.0. Weights: as whoever trained them decides, "
        f"within the terms of the data.{published}"
    )


def _table(rows: list[tuple[str, ...]]) -> str:
    head, *others = rows
    lines = [head, ("---",) * len(head), *others]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

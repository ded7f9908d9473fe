"""What the index page shows of the configured targets."""

from pathlib import Path
from typing import Any

from rebalance.config.entries import NotMade
from rebalance.config.experiments import Experiments
from rebalance.config.rows import row_names
from rebalance.config.targets import Target
from rebalance.figures.checks import (
    CLAIMED,
    Check,
    Gain,
    claim_verdict,
    read_checks,
    verdict_words,
)
from rebalance.report.place import make_command

#: Part of the name of a detector in config/detectors.yaml -> what readers call it; the first fits.
DETECTORS = {
    "cascade_mask_rcnn": "Cascade Mask R-CNN",
    "cascade_rcnn": "Cascade R-CNN",
    "ms_rcnn": "Mask Scoring R-CNN",
    "mask_rcnn": "Mask R-CNN",
    "libra_rcnn": "Libra R-CNN",
    "dynamic_rcnn": "Dynamic R-CNN",
    "faster_rcnn": "Faster R-CNN",
    "htc": "HTC",
    "r3cnn": "R3-CNN",
    "retinanet": "RetinaNet",
    "foveabox": "FoveaBox",
    "atss": "ATSS",
    "paa": "PAA",
    "ssd": "SSD",
    "yolact": "YOLACT",
    "solov2": "SOLOv2",
}


def index_manifest(experiments: Experiments, scale: str) -> dict[str, Any]:
    """Every target of every work, and whether its files are there; see ``report.index``.

    Raises:
        InputError: no such scale.
    """
    experiments.scale(scale)
    works = [
        {
            "key": key,
            "title": work.title,
            "authors": work.reference,
            "own": work.own,
            "targets": [
                _card(experiments, target, scale)
                for target in experiments.targets.values()
                if target.label.work == key
            ],
        }
        for key, work in experiments.works.items()
    ]
    return {"scale": scale, "works": works}


def _card(experiments: Experiments, target: Target, scale: str) -> dict[str, Any]:
    results = experiments.results(scale)
    files = target.outputs(results)
    is_there = target.made and all(Path(file).is_file() for file in files.values())
    status = "not_built"
    if is_there:
        status = "made"
    elif target.made:
        needs_gpu = target.shows_results and experiments.scales[scale].resources.train.gpus
        status = "needs_gpu" if needs_gpu else "waiting"
    card: dict[str, Any] = {
        "name": target.name,
        "title": target.title,
        "kind": target.entry.kind,
        "status": status,
        "reason": "" if is_there else _reason(target, scale),
        "departures": len(target.departures(results)) if target.shows_results else None,
        "companion": bool(target.suffix),
        "detectors": _detectors(experiments, target),
        "scale": scale if target.shows_results or target.datasets else None,
        "verdict": None,
        "html": None,
        "thumbnail": None,
        "csv": None,
        "claims": [],
    }
    if is_there:
        found, checks, gains = read_checks(Path(files["checks"]))
        note = getattr(target.entry, "note", "")
        card |= {
            "verdict": {"status": found, "words": verdict_words(found, checks), "note": note},
            "html": files["html"],
            "thumbnail": files["thumbnail"],
            "csv": files.get("table"),
            "claims": [*map(_claim, gains), *map(_claim, checks)],
        }
    elif not target.suffix:
        card["claims"] = [_claim(check) for check in _printed(target)]
    return card


def _claim(claim: Check | Gain) -> dict[str, Any]:
    """A line of the scoreboard."""
    ends = [claim.low, claim.high] if isinstance(claim, Gain) else [None, None]
    return {
        "name": claim.name,
        "gain": isinstance(claim, Gain),
        "printed": claim.printed,
        "measured": claim.measured,
        "interval": None if None in ends else ends,
        "verdict": claim_verdict(claim),
    }


def _printed(target: Target) -> list[Check]:
    """What a target that is not there prints of its rows, and what the work says of them."""
    rows = [row for row in target.rows if row.reported]
    names = row_names([{"setting": row.setting} for row in rows]) if rows else []
    numbers = [
        Check(f"{name}: {metric}", printed, None, None, None)
        for name, row in zip(names, rows, strict=True)
        for metric, printed in row.reported.items()
        if printed is not None
    ]
    return [*numbers, *(Check(c.says, CLAIMED, None, None, None) for c in target.entry.claims)]


def _detectors(experiments: Experiments, target: Target) -> list[str]:
    """What the detectors of its runs are called, each once."""
    bases = {experiments.runs[row.run].base for row in target.runs}
    return sorted({detector_name(base) for base in bases})


def detector_name(base: str) -> str:
    """What readers call a detector of config/detectors.yaml; one of the user's keeps its name."""
    return next((name for part, name in DETECTORS.items() if part in base), base)


def _reason(target: Target, scale: str) -> str:
    """Why a target is not there, or what to type for it."""
    if isinstance(target.entry, NotMade):
        return target.entry.waits
    return make_command(target.name, scale)

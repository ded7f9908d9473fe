"""What the index page shows of the configured targets."""

from pathlib import Path
from typing import Any

from rebalance.config.entries import NotMade
from rebalance.config.experiments import Experiments
from rebalance.config.targets import Target
from rebalance.figures.checks import read_checks, verdict_words


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
        "reason": "" if is_there else _reason(experiments, target, scale),
        "departures": len(target.departures(results)) if target.shows_results else None,
        "verdict": None,
        "html": None,
        "thumbnail": None,
        "csv": None,
    }
    if is_there:
        found, checks = read_checks(Path(files["checks"]))
        note = getattr(target.entry, "note", "")
        card |= {
            "verdict": {"status": found, "words": verdict_words(found, checks), "note": note},
            "html": files["html"],
            "thumbnail": files["thumbnail"],
            "csv": files.get("table"),
        }
    return card


def _reason(experiments: Experiments, target: Target, scale: str) -> str:
    """Why a target is not there, or what to type for it; ``snakemake`` has the configured scale."""
    if isinstance(target.entry, NotMade):
        return target.entry.waits
    option = "" if scale == experiments.settings.scale else f"--config scale={scale} -- "
    return f"snakemake {option}{target.name}"

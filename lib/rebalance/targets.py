"""What a target needs and makes: its files, the parameters of its notebook, its card in the index."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rebalance.experiments import DEFAULT_VARIANT, Experiments, Target


def target_folder(target: Target, scale: str) -> Path:
    """Folder of a target's files."""
    return Path("results") / scale / target.work / target.id


def target_files(target: Target, scale: str) -> dict[str, str]:
    """Files that a target's rule makes, by role: html, notebook, thumbnail and table or figure."""
    folder = target_folder(target, scale)
    shown = {"table": "table.csv", "thumbnail": "table.png"}
    if not target.is_table:
        shown = {"figure": "figure.svg", "thumbnail": "figure.png"}
    files = {"html": "notebook.html", "notebook": "notebook.ipynb", **shown}
    return {role: str(folder / name) for role, name in files.items()}


def seed_folders(experiments: Experiments, run: str, scale: str) -> list[Path]:
    """Folders of a run's trainings, one per seed."""
    folder = Path("results") / scale / "runs" / run
    return [folder / f"seed{seed}" for seed in experiments.seeds(scale)]


def row_files(experiments: Experiments, row: Mapping[str, Any], scale: str) -> dict[str, list[str]]:
    """Per seed, the metrics and the training log that a row shows; nothing for a row that waits."""
    if "run" not in row:
        return {"metrics": [], "logs": []}
    variant = row.get("variant", DEFAULT_VARIANT)
    folders = seed_folders(experiments, row["run"], scale)
    return {
        "metrics": [str(folder / variant / "metrics.json") for folder in folders],
        "logs": [str(folder / "log.csv") for folder in folders],
    }


def result_files(experiments: Experiments, target: Target, scale: str) -> list[str]:
    """Files of trainings that a target's notebook reads, each once."""
    role = "metrics" if target.is_table else "logs"
    rows = target.settings.get("rows", [])
    return list(dict.fromkeys(
        file for row in rows for file in row_files(experiments, row, scale)[role]
    ))  # fmt: skip

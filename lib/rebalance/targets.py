"""What a target needs and makes: files, parameters of its notebook, its card in the index."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rebalance.experiments import (
    CURVES,
    DEFAULT_VARIANT,
    TRAINED,
    Experiments,
    Target,
)
from rebalance.rows import row_names


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
    """Files that a row's run left, one per seed, by what a target ``reads``; none if it waits."""
    if "run" not in row:
        return {"metrics": [], "log": [], "positives": []}
    variant = row.get("variant", DEFAULT_VARIANT)
    folders = seed_folders(experiments, row["run"], scale)
    return {
        "metrics": [str(folder / variant / "metrics.json") for folder in folders],
        "log": [str(folder / "log.csv") for folder in folders],
        "positives": [str(folder / "positives.json") for folder in folders],
    }


def result_files(experiments: Experiments, target: Target, scale: str) -> list[str]:
    """Files of trainings that a target's notebook reads, each once."""
    roles = [target.settings["reads"]] if "reads" in target.settings else table_reads(target)
    rows = target.settings.get("rows", [])
    return list(dict.fromkeys(
        file for row in rows for role in roles for file in row_files(experiments, row, scale)[role]
    ))  # fmt: skip


def table_reads(target: Target) -> list[str]:
    """Kinds of files that the metrics of a table are read from."""
    metrics = target.settings.get("metrics", [])
    return sorted({"metrics", *(metric.get("reads", "metrics") for metric in metrics)})


def notebook_file(experiments: Experiments, target: Target) -> str:
    """The notebook that makes a target; tables of trained runs share one, so do their curves."""
    name = "table" if target.is_table and target.is_trained else target.settings["notebook"]
    return str(experiments.root / "notebooks" / f"{name}.ipynb")


def annotation_files(experiments: Experiments, target: Target, scale: str, data: str) -> list[str]:
    """Annotations of the data set that a target describes; none for all other targets."""
    if "dataset" not in target.settings:
        return []
    dataset = experiments.scales[scale]["datasets"][target.settings["dataset"]]
    return [f"{data}/{dataset}/annotations/{split}.json" for split in ("train", "val")]


def notebook_parameters(
    experiments: Experiments, target: Target, scale: str, data: str
) -> dict[str, Any]:
    """Parameters of a target's notebook: what the works say, files to read, files to write."""
    outputs = target_files(target, scale)
    shown = (
        {"table": outputs["table"], "thumbnail": outputs["thumbnail"]}
        if target.is_table
        else {"figure": outputs["figure"], "bitmap": outputs["thumbnail"]}
    )
    if not target.is_trained:
        return _own_notebook_parameters(experiments, target, scale, data) | shown
    rows = target.settings["rows"]
    files = [row_files(experiments, row, scale) for row in rows]
    common = {
        "title": _numbered_title(target),
        "paper": experiments.works[target.work]["title"],
        "scale": scale,
        "description": experiments.scales[scale]["title"],
    }
    if not target.is_table:
        role = target.settings["reads"]
        runs = {
            name: file[role] for name, row, file in zip(row_names(rows), rows, files, strict=True)
            if "run" in row
        }  # fmt: skip
        if target.is_curves:
            return common | {"runs": runs} | shown
        own = _own_notebook_parameters(experiments, target, scale, data)
        return own | common | {"runs": runs} | shown
    return (
        common
        | {
            "doubts": target.settings.get("doubts", []),
            "metrics": target.settings["metrics"],
            "rows": [
                {
                    "setting": row["setting"],
                    "run": row.get("run"),
                    "variant": row.get("variant", DEFAULT_VARIANT),
                    "reported": row["reported"],
                    "missing": row.get("waits"),
                }
                for row in rows
            ],
            "files": [
                {kind: file[kind] for kind in ("log", *table_reads(target))} for file in files
            ],
            "seeds": experiments.seeds(scale),
        }
        | shown
    )


def _own_notebook_parameters(
    experiments: Experiments, target: Target, scale: str, data: str
) -> dict[str, Any]:
    """Parameters that every notebook of one target's own gets."""
    settings = target.settings
    parameters = {
        "title": _numbered_title(target),
        "numbers": settings.get("numbers", {}),
        "rows": settings.get("rows", []),
        "doubts": settings.get("doubts", []),
        **settings.get("parameters", {}),
    }
    if "dataset" in settings:
        files = annotation_files(experiments, target, scale, data)
        parameters["annotations"] = dict(zip(("train", "val"), files, strict=True))
        parameters["dataset"] = experiments.scales[scale]["datasets"][settings["dataset"]]
    return parameters


def render_target(
    experiments: Experiments,
    target: Target,
    scale: str,
    data: str,
    executed: Path,
    html: Path,
) -> None:
    """Execute a target's notebook, which writes its table or figure, and render the page.

    Args:
        experiments: what ``load_experiments`` returned.
        target: one that ``is_made``.
        scale: a scale's name.
        data: folder of the data sets.
        executed: where the executed notebook goes, also when a cell fails.
        html: where the page goes.

    Raises:
        NotebookError: a cell failed.
    """
    from rebalance.report.notebooks import run_notebook

    notebook = Path(notebook_file(experiments, target))
    run_notebook(notebook, notebook_parameters(experiments, target, scale, data), executed, html)


def index_manifest(experiments: Experiments, scale: str) -> dict[str, Any]:
    """What the index page shows: every target of every work, and whether its files are there."""
    works = [
        {
            "key": key,
            "title": work["title"],
            "authors": work["reference"],
            "targets": [
                _card(experiments, target, scale)
                for target in experiments.targets.values()
                if target.work == key
            ],
        }
        for key, work in experiments.works.items()
    ]
    return {"scale": scale, "works": works}


def _card(experiments: Experiments, target: Target, scale: str) -> dict[str, Any]:
    files = target_files(target, scale)
    made = target.is_made and all(Path(file).is_file() for file in files.values())
    gpus = experiments.scales[scale]["resources"]["train"]["gpus"]
    if made:
        status = "made"
    elif not target.is_made:
        status = "not_made"
    else:
        status = "needs_gpu" if target.is_trained and gpus else "waiting"
    command = "" if made else _command(experiments, target, scale)
    card = {
        "name": target.name,
        "title": _numbered_title(target),
        "kind": target.settings["kind"],
        "status": status,
        "reason": target.settings.get("waits", command),
        "verdict": target.settings.get("verdict"),
        "html": None,
        "thumbnail": None,
        "csv": None,
    }
    if made:
        card |= {"html": files["html"], "thumbnail": files["thumbnail"], "csv": files.get("table")}
    return card


def _command(experiments: Experiments, target: Target, scale: str) -> str:
    """What to type for a target; plain ``snakemake`` makes it at the configured scale."""
    option = "" if scale == experiments.settings["scale"] else f"--config scale={scale} -- "
    return f"snakemake {option}{target.name}"


def _numbered_title(target: Target) -> str:
    """``Table 2: Overall ablation ...``."""
    what = ""
    for ending, suffix in ((CURVES, ", training curves"), (TRAINED, ", with a trained detector")):
        if target.id.endswith(ending):
            what = suffix
    kind, number = target.id.removesuffix(CURVES).removesuffix(TRAINED).split("_", 1)
    number = number.replace("_", ".").upper()
    return f"{kind.capitalize()} {number}{what}: {target.settings['title']}"

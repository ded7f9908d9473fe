"""The pictures in README.md and docs/: how each is made, whether it is older than what it shows.

python docs/pictures.py           make those that are (`make pictures`)
python docs/pictures.py --check   name those that are, and exit with 1

pictures.json beside this file holds, for each picture, a digest of what it showed when it was made
(what it draws where that is known at once, else the settings and the code that its numbers come
from) and one of the picture itself. Times of files play no part.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from figures.plot_losses import FIGURES
from figures.plot_rules import planned_rules, plot_rules
from figures.plot_table import plot_table
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from rebalance.config.code import fingerprint, run_code
from rebalance.config.experiments import Experiments, load_experiments, resolve_run
from rebalance.figures.style import save_bitmap, use_style

DOCS = Path(__file__).resolve().parent
RECORD = DOCS / "pictures.json"
SCALE, TABLE = "shapes", "focal_eiou_table_2"
"""The table of the README."""
SETTINGS: dict[str, Any] = {"scale": SCALE, "data": "data", "seeds": None, "detections": None}
"""In place of config/config.yaml, which is anyone's to change."""
SCALING = DOCS.parent / "benchmarks/losses/plot_scaling.py"


class Picture(NamedTuple):
    """A picture of the documentation.

    Attributes:
        shows: all that it shows, or that decides what it shows, as text.
        make: writes it.
    """

    shows: Callable[[], str]
    make: Callable[[Path], None]


def drawn(fig: Figure) -> str:
    """Lines and words of a figure; numbers to six decimals, the same on every machine."""
    panels = [
        {
            "words": [ax.get_title(loc="left"), ax.get_xlabel(), ax.get_ylabel()],
            "limits": [*ax.get_xlim(), *ax.get_ylim()],
            "lines": [
                [line.get_label(), to_hex(line.get_color()), line.get_linestyle(),
                 (np.asarray(line.get_xydata()).round(6) + 0.0).tolist()]
                for line in ax.get_lines()
            ],
        }
        for ax in fig.axes
    ]  # fmt: skip
    return json.dumps(panels)


def of_losses(plot: Callable[[], Figure]) -> Picture:
    """Curves of losses: compared as drawn."""
    return Picture(lambda: drawn(plot()), lambda path: save_bitmap(plot(), path, dpi=160))


def scaling_code() -> str:
    """What is timed and how; the times themselves differ from run to run."""
    own = (SCALING.read_text(), SCALING.with_name("batches.py").read_text())
    return json.dumps([*own, fingerprint(("rebalance.losses.ranking",))])


def measure_scaling(path: Path) -> None:
    """Time the losses, one thread, and draw."""
    subprocess.run([sys.executable, SCALING, path], check=True)


def rules_shown() -> str:
    """The rules and what reads what."""
    return json.dumps(planned_rules())


def draw_rules(path: Path) -> None:
    """The rules as SVG, without a date."""
    use_style()
    plot_rules(planned_rules()).savefig(path, metadata={"Date": None, "Creator": None})


def table_sources() -> str:
    """Settings and code that decide the numbers of the table, and the words around them."""
    experiments = load_experiments(settings=SETTINGS, check_runs=False)
    parameters = table_parameters(experiments)
    runs = [
        resolve_run(experiments, row["run"], SCALE, seed)
        for row in parameters["rows"]
        for seed in experiments.seeds(SCALE)
    ]
    steps = ("rebalance.data.shapes", "rebalance.metrics.evaluate")
    code = [
        (DOCS / "figures/plot_table.py").read_text(),
        fingerprint(steps),
        *(
            run_code(run, module)
            for run in runs
            for module in ("rebalance.engine.train", "rebalance.engine.predict")
        ),
    ]
    dumped = [run.model_dump() for run in runs]
    names = {run["dataset"]["name"] for run in dumped}
    datasets = {name: experiments.datasets[name].model_dump() for name in names}
    return json.dumps([parameters, dumped, datasets, code], sort_keys=True)


def draw_table(path: Path) -> None:
    """Make the table, training what is not trained, and draw the top of its page."""
    make_pages()
    experiments = load_experiments(settings=SETTINGS, check_runs=False)
    save_bitmap(plot_table(table_parameters(experiments)), path, dpi=130)


def table_parameters(experiments: Experiments) -> dict[str, Any]:
    """What the notebook of the table is given."""
    results = experiments.results(SCALE, SETTINGS["data"])
    return experiments.target(TABLE).parameters(results)


def page_sources() -> str:
    """What decides the pages of the table beyond its numbers."""
    report = DOCS.parent / "lib/rebalance/report"
    looks = [report / "style.css", report / "index.js", report / "page/index.html.j2"]
    modules = [f"rebalance.report.{name}" for name in ("index", "manifest", "page", "compare")]
    code = fingerprint((*modules, "rebalance.metrics.compare"))
    return json.dumps([table_sources(), code, *(file.read_text() for file in looks)])


def draw_scoreboard(path: Path) -> None:
    """The index at the table's work, the claims that its gains decide unfolded."""
    make_pages()
    photograph("index.html?work=focal_eiou&q=over+AP50", path, unfold=True)


def draw_page(path: Path) -> None:
    """The page of the table."""
    make_pages()
    photograph("focal_eiou/table_2/notebook.html", path)


def draw_comparison(path: Path) -> None:
    """Focal-EIoU against smooth L1, as `rebalance compare` shows it."""
    make_pages()
    runs = [f"retinanet_r50_{loss}" for loss in ("smooth_l1", "focal_eiou")]
    folder = f"results/{SCALE}"
    with tempfile.TemporaryDirectory() as scratch:
        files = ["--out", f"{scratch}/compare.json", "--html", f"{scratch}/compare.html"]
        where = ["--runs", f"{folder}/runs", "--gt", "data/shapes/annotations/val.json"]
        subprocess.run(["rebalance", "compare", *where, "--dt", *runs, *files], check=True)
        photograph(f"{scratch}/compare.html", path)


def make_pages() -> None:
    """The table, training what is not trained, and the index; as pages look now."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(SETTINGS, file)
        file.flush()
        settings = ("--configfile", file.name, "--forcerun", "table")
        subprocess.run(["snakemake", *settings, "--", TABLE], check=True)


def photograph(page: str, path: Path, unfold: bool = False, height: int = 900) -> None:
    """A page of the scale, or any file, as Chromium shows it; its upper part."""
    from playwright.sync_api import sync_playwright

    file, mark, query = page.partition("?")
    address = (Path(f"results/{SCALE}") / file).resolve().as_uri() + mark + query
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        shown = launched.new_page(viewport={"width": 1200, "height": height})
        shown.goto(address)
        if unfold:
            shown.locator(".score:not([hidden]) > summary").first.click()
        shown.screenshot(path=path)
        launched.close()


PICTURES = {
    "images/scoreboard.png": Picture(page_sources, draw_scoreboard),
    "images/page.png": Picture(page_sources, draw_page),
    "images/compare.png": Picture(page_sources, draw_comparison),
    "images/dag.svg": Picture(rules_shown, draw_rules),
    "images/table.png": Picture(table_sources, draw_table),
    "figures/ranking_scaling.png": Picture(scaling_code, measure_scaling),
} | {f"figures/{name}.png": of_losses(plot) for name, plot in FIGURES.items()}
"""Every picture, by its path below docs/."""


def digest(content: bytes) -> str:
    """Of a picture, or of what it shows."""
    return hashlib.sha256(content).hexdigest()


def state(name: str) -> dict[str, str]:
    """What a picture shows now, and the picture itself: what the record holds if it is not old."""
    path = DOCS / name
    file = digest(path.read_bytes()) if path.is_file() else ""
    return {"shows": digest(PICTURES[name].shows().encode()), "file": file}


def main() -> int:
    """Make old pictures, or name them: 1 if there are any."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="name old pictures, make none")
    check = parser.parse_args().check
    record = json.loads(RECORD.read_text()) if RECORD.is_file() else {}
    old = [name for name in PICTURES if record.get(name) != state(name)]
    for name in old:
        print(
            f"docs/{name} is older than what it shows: make pictures" if check else f"docs/{name}"
        )
        if not check:
            PICTURES[name].make(DOCS / name)
            record = {kept: record[kept] for kept in PICTURES if kept in record}
            record[name] = state(name)
            RECORD.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n")
    return int(check and bool(old))


if __name__ == "__main__":
    sys.exit(main())

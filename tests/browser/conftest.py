"""Small results rendered for real, and Debian's Chromium to look at them."""

import json
import os
import shutil
from pathlib import Path

import pytest
import yaml
from rebalance.cli import main

PATIENCE = 180_000  # ms: beside other work a page took more than the usual 30 s
AXE = Path(__file__).parent / "node_modules/axe-core/axe.min.js"
RUNS = ("retinanet_r50_smooth_l1", "retinanet_r50_balanced_l1", "retinanet_r50_focal_l1")
"""Of focal_eiou table 1."""
PAGES = (
    "focal_eiou_table_1",
    "focal_eiou_table_1_curves",
    "focal_eiou_figure_2",
    "thesis_table_b_3",
)
"""A table of runs, its curves, a figure and a table without runs."""


@pytest.fixture(scope="session")
def site(repository, random_scene, tmp_path_factory):
    """Folder of results at shapes: index, a page of each kind, a comparison, an evaluation."""
    root = tmp_path_factory.mktemp("site")
    for name in ("config", "notebooks"):
        (root / name).symlink_to(repository / name)
    truth, found = random_scene(1, num_images=30)
    (root / "gt.json").write_text(json.dumps(truth))
    before = Path.cwd()
    os.chdir(root)
    try:
        for step, run in enumerate(RUNS, start=1):
            _write_run(Path("results/shapes/runs") / run / "seed0", found[::step])
        for page in PAGES:
            work = page.split("_table_")[0].split("_figure_")[0]
            out = Path("results/shapes") / work / page.removeprefix(f"{work}_")
            files = ["--executed", f"{out}/notebook.ipynb", "--html", f"{out}/notebook.html"]
            assert main(["render", page, "--scale", "shapes", *files]) == 0
        detections = [f"results/shapes/runs/{run}" for run in RUNS[:2]]
        truths = ["--gt", "gt.json"]
        names = [f"{folder}/seed0/default/detections.json" for folder in detections]
        out = ["--out", "c.json", "--html", "results/shapes/compare.html", "--resamples", "50"]
        main(["compare", *truths, "--dt", *names, *out])
        main(["evaluate", *truths, "--dt", names[0], "--html", "results/shapes/report.html"])
        main(["index", "--scale", "shapes", "--out", "results/shapes/index.html"])
    finally:
        os.chdir(before)
    return root / "results/shapes"


def _write_run(folder, found):
    """What training and evaluation leave."""
    default = folder / "default"
    default.mkdir(parents=True)
    (default / "detections.json").write_text(json.dumps(found))
    files = {"--gt": "gt.json", "--dt": default / "detections.json",
             "--out": default / "metrics.json", "--matches": default / "matches.npz"}  # fmt: skip
    main(["evaluate", *(str(part) for pair in files.items() for part in pair)])
    lines = [f"{i},0.01,{2 / (i + 1)},{1 / (i + 1)},{1 / (i + 1)}" for i in range(30)]
    header = "iteration,lr,loss,class_loss,box_loss"
    (folder / "log.csv").write_text("\n".join([header, *lines]) + "\n")
    (folder / "run.yaml").write_text(yaml.safe_dump({"made_with": {"commit": None}}))


@pytest.fixture(scope="session")
def chromium():
    """A browser; skips without it or axe-core, unless `make test-browser` asks for both."""
    path = shutil.which("chromium")
    reason = "needs chromium and axe-core, which tests/browser/setup.sh installs"
    if path is None or not AXE.is_file():
        if os.environ.get("REBALANCE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Chromium's own sandbox does not work for root, as which containers run it.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def look(chromium, site):
    """Opens a page of the site at a width; at the end nothing was written to its console."""
    contexts, faults = [], []

    def open_page(name, width=1440, dark=False):
        scheme = "dark" if dark else "light"
        viewport = {"width": width, "height": 900}
        contexts.append(chromium.new_context(viewport=viewport, color_scheme=scheme))
        contexts[-1].set_default_timeout(PATIENCE)
        page = contexts[-1].new_page()
        page.on("console", lambda said: faults.append(said.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto((site / name.partition("?")[0]).as_uri() + "".join(name.partition("?")[1:]))
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


def serious_findings(page):
    """What axe finds serious or critical: its name, how often, where first, why."""
    page.add_script_tag(path=AXE)
    # A page opened as a file may not fetch its style sheet, which axe would preload.
    return page.evaluate(
        "axe.run({preload: false}).then((all) => all.violations"
        ".filter((found) => ['serious', 'critical'].includes(found.impact))"
        ".map((found) => [found.id, found.nodes.length, found.nodes[0].html,"
        " found.nodes[0].any.map((one) => one.message).join()]))"
    )

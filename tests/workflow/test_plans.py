"""What snakemake plans when a part is there: all the rest, whatever the age of the index page."""

import json

import pytest
from PIL import Image
from rebalance.cli import main
from rebalance.config.experiments import load_experiments

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("plans")]

FIGURE = "focal_eiou_figure_2"
INDEX = "results/shapes/index.html"


@pytest.fixture(scope="module")
def project(make_project):
    return make_project()


@pytest.fixture(scope="module")
def dry_run(project):
    """What a dry run of all targets says while nothing is there."""
    return project.snakemake("--dry-run").stdout


def pages(project, work=None):
    """Pages that all targets, or those of a work, want: figures and tables."""
    made = [
        target for target in load_experiments(project.root).published
        if target.made and work in (None, target.label.work)
    ]  # fmt: skip
    tables = sum(target.shows_table for target in made)
    return len(made) - tables, tables


def planned_pages(project, *arguments):
    return pages_of(project.planned(*arguments))


def pages_of(planned):
    return planned.get("figure", 0), planned.get("table", 0)


def test_all_138_are_planned_and_none_waits(project, dry_run):
    published = load_experiments(project.root).published
    assert len({target.label for target in published if target.made}) == 138
    assert all(target.made for target in published)
    assert pages_of(project.jobs_of(dry_run)) == pages(project)


def test_a_dry_run_is_a_table_of_jobs(project, dry_run):
    assert "Job stats:" in dry_run
    assert "results/shapes" not in dry_run
    first = dry_run.split("Job stats:", 1)[1]
    assert project.snakemake("--dry-run").stdout.split("Job stats:", 1)[1] == first, "remembered"
    assert (
        "results/shapes" in project.snakemake("--dry-run", "--quiet", "host", "--", FIGURE).stdout
    )


def test_seeds_may_be_given_on_the_command_line(project):
    planned = project.planned("--config", "seeds=[3,5]", "--", "focal_eiou_table_1")
    assert planned["train"] == 6


def test_after_one_figure_everything_else_is_planned(project):
    project.snakemake(FIGURE)
    assert f"snakemake --config scale=shapes -- {FIGURE}<" not in (project.root / INDEX).read_text()
    figures, tables = pages(project)
    assert planned_pages(project) == (figures - 1, tables)
    slurm = ("--profile", "workflow/profiles/slurm")
    assert planned_pages(project, *slurm) == (figures - 1, tables)
    figures, tables = pages(project, "focal_eiou")
    assert planned_pages(project, "focal_eiou") == (figures - 1, tables)


def test_after_a_failure_everything_is_planned_and_the_index_shows_what_is_missing(project):
    path = project.root / "notebooks/analytic_figure.ipynb"
    before = path.read_text()
    notebook = json.loads(before)
    notebook["cells"][-1]["source"] = "raise RuntimeError('the cell that fails')"
    path.write_text(json.dumps(notebook))
    try:
        failed = project.snakemake(FIGURE, check=False)
        planned = planned_pages(project)
    finally:
        path.write_text(before)
    assert failed.returncode != 0
    assert f"snakemake --config scale=shapes -- {FIGURE}<" in (project.root / INDEX).read_text()
    assert planned == pages(project)


def test_a_page_of_another_seed_names_that_seed(project, random_scene):
    truth, detections = random_scene(1, num_images=4)
    files = {name: project.root / f"{name}.json" for name in ("gt", "dt")}
    for name, content in (("gt", truth), ("dt", detections)):
        files[name].write_text(json.dumps(content))
    rows = load_experiments(project.root).targets["focal_eiou_table_1"].runs
    for row in rows:
        folder = project.root / f"results/shapes/runs/{row.run}/seed7"
        (folder / "default").mkdir(parents=True)
        (folder / "log.csv").write_text("iteration,lr,loss\n1,0.1,1.0\n")
        outputs = {"--out": "metrics.json", "--matches": "matches.npz"}
        main([
            "evaluate", "--gt", str(files["gt"]), "--dt", str(files["dt"]),
            *(part for option, name in outputs.items()
              for part in (option, str(folder / "default" / name))),
        ])  # fmt: skip
    name = "focal_eiou_table_1"
    (project.root / "seeds.yaml").write_text("seeds: [7]")
    project.snakemake("--configfile", "seeds.yaml", "--allowed-rules", "table", name, "--", name)
    page = (project.root / "results/shapes/focal_eiou/table_1/notebook.html").read_text()
    assert "seed 7: " in page
    assert "seed 0" not in page
    assert "runs/retinanet_r50_smooth_l1/seed7/log.csv" in page


def test_masks_that_a_folder_of_ones_own_lacks_are_missed_before_any_job(make_project):
    project = make_project("own_folder")
    raw = project.root / "data" / "raw"
    raw.mkdir(parents=True)
    Image.new("RGB", (40, 30)).save(raw / "a.jpg")
    boxes_only = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 40, "height": 30}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{"id": 5, "image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 20]}],
    }
    (raw / "mine.json").write_text(json.dumps(boxes_only))
    both = {"annotations": "raw/mine.json", "images": "raw"}
    splits = {key: {"train": path, "val": path} for key, path in both.items()}
    project.edit(
        "config/datasets.yaml", lambda sets: sets.update(mine={"kind": "coco_folder", **splits})
    )
    project.edit(
        "config/scales/shapes.yaml", lambda scale: scale["datasets"].update(coco2017="mine")
    )
    model = "results/shapes/runs/{}/seed0/model.safetensors".format
    refused = project.snakemake("--dry-run", model("mask_rcnn"), check=False)
    assert refused.returncode == 1
    said = [line for line in refused.stdout.splitlines() if "mine" in line]
    assert said == [
        "snakemake: data set mine, for a detector that trains on masks: data/raw/mine.json: "
        "annotation 5: missing key 'segmentation', needed for masks"
    ]
    assert "Traceback" not in refused.stdout
    assert project.planned(model("retinanet_r50_smooth_l1")) == {"coco_folder": 1, "train": 1}

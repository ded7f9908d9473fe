"""The real path: COCO images through the workflow, as a user with a folder of their own."""

import contextlib
import io
import json

import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

# A training of about a minute and a half. A detector of two stages, and masks, learn photographs in
# tests/engine/test_real_images.py.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.xdist_group("coco_tiny")]

TARGET = "focal_eiou_table_1"
METRICS = "results/coco_tiny/runs/retinanet_r50_smooth_l1/seed0/default/metrics.json"


@pytest.fixture(scope="module")
def built(make_project, shared_dir):
    project = make_project()
    raw = project.root / "data" / "raw"
    raw.mkdir(parents=True)
    (raw / "coco_tiny").symlink_to((shared_dir / "data" / "coco_tiny").resolve())

    def baseline_alone(work):
        table = work["targets"]["table_1"]
        del table["rows"][1:], table["baselines"]

    project.edit("config/papers/focal_eiou.yaml", baseline_alone)
    project.snakemake("--config", "scale=coco_tiny", "--", TARGET)
    return project


@pytest.fixture(scope="module")
def run(built):
    """Metrics and detections of the baseline."""
    metrics = built.root / METRICS
    return json.loads(metrics.read_text()), metrics.with_name("detections.json")


def test_the_images_validated_on_are_those_trained_on(built):
    splits = [
        json.loads((built.root / f"data/coco_tiny_few/annotations/{split}.json").read_text())
        for split in ("train", "val")
    ]
    ids = [{image["id"] for image in split["images"]} for split in splits]
    assert ids[0] == ids[1]
    assert len(ids[0]) >= 8
    assert splits[0]["annotations"] == splits[1]["annotations"]


def test_the_baseline_learns_the_images_by_heart(run):
    metrics, _ = run
    assert metrics["AP50"] >= 0.5


def test_every_number_equals_pycocotools_on_the_same_detections(built, run):
    metrics, detections = run
    annotations = built.root / "data/coco_tiny_few/annotations/val.json"
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotations))
        evaluation = COCOeval(truth, truth.loadRes(str(detections)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert len(json.loads(detections.read_text())) > 100
    names = ["AP", "AP50", "AP75", "APS", "APM", "APL",
             "AR1", "AR10", "AR100", "ARS", "ARM", "ARL"]  # fmt: skip
    for name, expected in zip(names, evaluation.stats, strict=True):
        assert metrics[name] == pytest.approx(expected, abs=1e-9), name


def test_the_page_names_the_scale_and_that_its_images_are_not_new(built):
    page = (built.root / "results/coco_tiny/focal_eiou/table_1/notebook.html").read_text()
    assert "coco_tiny" in page
    assert "validated on the images trained on" in page
    assert "Not comparable" in page or "not comparable" in page

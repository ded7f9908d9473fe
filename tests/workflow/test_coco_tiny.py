"""The real path: 80 + 80 COCO images through the workflow, as a user with a folder of their own."""

import contextlib
import io
import json

import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("coco_tiny")]

TARGET = "focal_eiou_table_1"


@pytest.fixture(scope="module")
def built(make_project, shared_dir):
    project = make_project()
    raw = project.root / "data" / "raw"
    raw.mkdir(parents=True)
    (raw / "coco_tiny").symlink_to((shared_dir / "data" / "coco_tiny").resolve())

    def quick(scale):
        for schedule in scale["schedules"].values():
            schedule.update(iterations=6, checkpoint_every=3)
            schedule["warmup"]["iterations"] = 2
            schedule["decay"]["at"] = [5]

    project.edit("config/scales/coco_tiny.yaml", quick)
    # A network this little trained scores everything near 0.01: keep what it finds all the same.
    project.edit(
        "config/detectors.yaml",
        lambda detectors: detectors["retinanet"]["test"].update(score_threshold=0.0),
    )
    project.snakemake("--config", "scale=coco_tiny", "--", TARGET)
    return project


def test_every_number_equals_pycocotools_on_the_same_detections(built):
    annotations = built.root / "data/coco_tiny/annotations/val.json"
    for folder in (built.root / "results/coco_tiny/runs").iterdir():
        detections = folder / "seed0/default/detections.json"
        metrics = json.loads((folder / "seed0/default/metrics.json").read_text())
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO(str(annotations))
            evaluation = COCOeval(truth, truth.loadRes(str(detections)), "bbox")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        assert len(json.loads(detections.read_text())) > 1000
        names = ["AP", "AP50", "AP75", "APS", "APM", "APL",
                 "AR1", "AR10", "AR100", "ARS", "ARM", "ARL"]  # fmt: skip
        for name, expected in zip(names, evaluation.stats, strict=True):
            assert metrics[name] == pytest.approx(expected, abs=1e-9), name


def test_the_page_names_the_scale(built):
    page = (built.root / "results/coco_tiny/focal_eiou/table_1/notebook.html").read_text()
    assert "coco_tiny" in page
    assert "Not comparable" in page or "not comparable" in page

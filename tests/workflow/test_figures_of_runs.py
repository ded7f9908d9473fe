"""Figures of trained runs in the real Snakemake: which rules make them, and which do not."""

import json

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("trained_figures")]

RUN = "faster_rcnn_r101_voc_random"


@pytest.fixture(scope="module")
def project(make_project):
    project = make_project()
    project.edit(
        "config/datasets.yaml", lambda sets: sets["shapes_voc"].update(num_train=12, num_val=6)
    )
    project.edit(
        "config/scales/shapes.yaml", lambda scale: scale["schedules"]["bbgen_voc"].update(epochs=2)
    )
    return project


DATA = {"shapes_voc_layout": 1, "shapes_voc": 1}
PLANNED = {
    "bbgen_figure_5": {"figure": 1},
    "bbgen_figure_5_trained": {**DATA, "train": 1, "positives": 1, "figure": 1},
    "thesis_figure_4_6": {**DATA, "train": 1, "positives": 1, "figure": 1},
    "thesis_figure_3_17": {**DATA, "train": 1, "figure": 1},
    "thesis_figure_3_12": {"shapes": 1, "train": 1, "positives": 1, "figure": 1},
    "ggiou_figure_2": {"shapes": 1, "train": 2, "predict": 2, "evaluate": 2, "figure": 1},
    "thesis_table_4_2": {
        **DATA,
        "train": 6,  # two runs of three seeds
        "predict": 6,
        "evaluate": 6,
        "evaluate_epochs": 6,
        "table": 1,
    },
}


@pytest.mark.parametrize("target", PLANNED)
def test_a_figure_of_runs_is_made_by_these_rules_and_no_more(project, target):
    assert project.planned(target) == {**PLANNED[target], target: 1}


def test_a_variant_of_another_tau_is_evaluated_from_the_same_detections(project):
    folder = "results/shapes/runs/faster_rcnn_r101_voc_rpn_iou60/seed0"
    planned = project.planned(*(f"{folder}/{name}/metrics.json" for name in ("default", "tau_60")))
    assert planned == {**DATA, "train": 1, "predict": 1, "evaluate": 2}


def test_epochs_that_a_schedule_keeps_are_evaluated(project):
    folder = project.root / f"results/shapes/runs/{RUN}/seed0"
    project.snakemake(str(folder.relative_to(project.root) / "default/epochs.json"))
    kept = sorted(path.name for path in (folder / "epochs").iterdir())
    assert kept == ["2.safetensors", "4.safetensors"]
    epochs = json.loads((folder / "default/epochs.json").read_text())["epochs"]
    assert [epoch["iteration"] for epoch in epochs] == [2, 4]
    # Whoever wants other epochs has to train again.
    project.edit(
        "config/scales/shapes.yaml", lambda scale: scale["schedules"]["bbgen_voc"].update(epochs=4)
    )
    assert project.planned("bbgen_figure_5_trained")["train"] == 1
    project.edit(
        "config/scales/shapes.yaml", lambda scale: scale["schedules"]["bbgen_voc"].update(epochs=2)
    )


def test_what_needs_a_training_is_not_analytic(project):
    planned = project.planned("analytic")
    assert not planned.keys() & {"train", "positives", "predict", "evaluate"}
    assert planned["figure"] > 20


def test_positives_go_from_a_training_to_a_page(project):
    project.snakemake("thesis_figure_3_14")
    folder = project.root / f"results/shapes/runs/{RUN}/seed0"
    assert json.loads((folder / "positives.json").read_text())["num_images"] == 12
    page = (project.root / "results/shapes/thesis/figure_3_14/notebook.html").read_text()
    assert "shapes scale" in page
    assert "Not comparable with printed numbers" in page
    # The other figures of the same run need a page only.
    assert project.planned("bbgen_figure_6") == {"figure": 1, "bbgen_figure_6": 1}

"""A small configuration, complete and valid, that tests may spoil."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

DETECTORS = """
faster_rcnn:
  neck: {name: fpn, first_level: 2, extra: pool}
  heads:
    rpn: {name: rpn}
    a: {name: fc}
  rpn:
    candidates: {name: anchors, base_scale: 8, scales_per_octave: 1}
    assigner: {name: max_iou, positive_iou: 0.7, negative_iou: 0.3, low_quality_iou: 0.3}
    sampler: {name: combined, num: 256, positive_fraction: 0.5}
    objective:
      name: linear
      class: {name: sigmoid_cross_entropy, per: samples}
      box: {name: smooth_l1, beta: 0.11, per: samples}
  box:
    assigner: {name: max_iou, positive_iou: 0.5, negative_iou: 0.5, low_quality_iou: null}
    sampler: {name: combined}
    objective:
      name: linear
      class: {name: softmax_cross_entropy, per: samples}
      box: {name: smooth_l1, per: samples}
  steps: [rpn, {box: a, iou: 0.5}]
retinanet:
  neck: {name: fpn}
  heads:
    dense: {name: retina}
  dense:
    assigner: {name: max_iou}
    sampler: {name: all}
    objective: {name: linear, class: {name: focal}, box: {name: smooth_l1, beta: 0.11}}
  steps: [dense]
"""

SCALE = """
title: "tiny: for tests"
seeds: [0, 1]
datasets: {coco2017: shapes}
image:
  train: {resize: {name: keep_ratio, min_size: 96, max_size: 96}}
  test: {resize: {name: keep_ratio, min_size: 96, max_size: 96}}
image_of: {}
backbones:
  resnet50: {name: resnet, weights: resnet50}
detectors:
  retinanet: {neck: {channels: 48}}
schedules:
  short: {iterations: 10, batch_size: 2, lr: 0.01, decay: {name: step, at: [8]},
          departures: [Is short.]}
hardware: {devices: 1}
resources:
  train: {threads: 1, gpus: 0, mem_mb: 1000, runtime: 5}
  predict: {threads: 1, gpus: 0, mem_mb: 1000, runtime: 5}
"""

WORK = """
title: A work
reference: "Somebody: somewhere"
runs:
  baseline: {base: retinanet, backbone: resnet50, dataset: coco2017, schedule: short}
  staged:
    base: faster_rcnn
    backbone: resnet50
    dataset: coco2017
    schedule: short
    detector:
      box: {rois: {name: generator, preset: uniform}}
    departures: [Draws its RoIs.]
    variants:
      tau_70: {evaluate: {tau: 0.7}}
      few: {test: {max_detections: 10}}
      few_70: {test: {max_detections: 10}, evaluate: {tau: 0.7}}
targets:
  table_1:
    title: Losses
    kind: trained
    metrics:
      - {name: AP, percent: true, better: higher}
      - {name: AP60, percent: true, better: higher}
      - {name: mean_positive_rois, percent: false, better: higher, reads: positives}
    rows:
      - {setting: {loss: plain}, run: baseline, reported: {AP: 35.9}}
      - {setting: {loss: staged}, run: staged, variant: tau_70, reported: {AP: 36.0}}
      - {setting: {loss: other}, waits: needs more, reported: {AP: 37.0}}
  figure_3_14:
    title: Sources
    kind: trained
    notebook: analytic
    parameters: {what: sources}
    doubts: [Axes are not printed.]
    note: One draw of chance.
    misprints: [{cell: share, printed: 0.5, correct: 0.6}]
    trained:
      notebook: of_runs
      reads: positives
      rows:
        - {setting: {source: RPN}, run: staged, reported: {}}
      doubts: [One epoch.]
      departures: [Once more.]
      parameters: {what: sources}
  figure_4:
    title: AP against weight
    departures: [Weights are ours., Is short.]
    kind: trained
    notebook: of_runs
    reads: metrics
    metrics:
      - {name: AP90, percent: true, better: higher}
    rows:
      - {setting: {weight: 1}, run: baseline, reported: {}}
  table_5:
    title: Formulas
    kind: analytic
    notebook: analytic
    rows:
      - {setting: {region: I}, reported: {}}
  figure_6:
    title: Photographs
    kind: illustration
    waits: needs the photographs
"""

CONFIG = """
scale: tiny
data: data
seeds: null
detections: null
"""

DATASETS = """
shapes: {kind: shapes, seed: 0, num_train: 4, num_val: 2, image_size: 96}
"""

FILES = {
    "config.yaml": CONFIG,
    "datasets.yaml": DATASETS,
    "detectors.yaml": DETECTORS,
    "scales/tiny.yaml": SCALE,
    "papers/work.yaml": WORK,
}


@pytest.fixture(scope="session")
def detectors() -> dict[str, Any]:
    return yaml.safe_load(DETECTORS)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "config" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "notebooks").mkdir()
    for name in ("table", "training_curves", "analytic", "of_runs"):
        (tmp_path / "notebooks" / f"{name}.ipynb").write_text("{}")
    return tmp_path


@pytest.fixture(scope="session")
def changed():
    """A copy of nested settings with one value replaced, or (by ...) removed."""

    def change(settings: Any, path: tuple[Any, ...], value: Any) -> Any:
        result = below = copy.deepcopy(settings)
        for key in path[:-1]:
            below = below[key]
        if value is ...:
            del below[path[-1]]
        else:
            below[path[-1]] = value
        return result

    return change


@pytest.fixture
def edit(root: Path, changed):
    """Changes one value of a file below ``config``."""

    def replace(file: str, path: tuple[Any, ...], value: Any) -> None:
        source = root / "config" / file
        contents = changed(yaml.safe_load(source.read_text()), path, value)
        source.write_text(yaml.safe_dump(contents))

    return replace

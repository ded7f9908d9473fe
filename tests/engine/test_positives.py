"""positives.json against a run of the detector taken apart, with every IoU by plain arithmetic."""

import copy
import json

import pytest
import torch
import yaml
from rebalance.assigners import Assignment
from rebalance.cli import main
from rebalance.data.coco import CocoDataset
from rebalance.detectors import build_detector
from rebalance.detectors.flow import Flow
from rebalance.detectors.types import make_candidates, make_truths
from rebalance.engine.batches import prediction_batches
from rebalance.engine.loading import BatchDataset, Normaliser
from rebalance.engine.positives import HeadPositives, collect_positives
from rebalance.engine.seeds import keyed_rng
from rebalance.engine.train import train
from rebalance.engine.trained_run import load_model
from rebalance.errors import InputError

from .conftest import DENSE, STAGED

SOURCE = {"name": "generator", "preset": "uniform", "num_rois": 24}
GENERATED = {**STAGED, "box": {**STAGED["box"], "rois": SOURCE}}
CASCADE = {**GENERATED, "steps": ["rpn", {"box": "box", "iou": 0.5}, {"box": "box", "iou": 0.6}]}
DETECTORS = {"dense": DENSE, "staged": STAGED, "generated": GENERATED, "cascade": CASCADE}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folders of finished runs, trained when first asked for."""
    folder = tmp_path_factory.mktemp("runs")

    def get(run, name):
        out = folder / name
        if not out.exists():
            settings = copy.deepcopy({**run, "detector": DETECTORS[name]})
            settings["schedule"]["iterations"] = 4
            train(settings, out, threads=1)
        return out

    return get


def iou_of(a, b):
    """Of two xyxy boxes, by plain arithmetic."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return width * height / (areas[0] + areas[1] - width * height)


def replayed(folder):
    """Per head, (box, ground truth, label, regressed box) of each positive, in order."""
    run = yaml.safe_load((folder / "run.yaml").read_text())
    dataset = CocoDataset(**run["dataset"]["train"])
    detector = build_detector(run, dataset.num_classes)
    load_model(detector, folder / "model.safetensors")
    batches = BatchDataset(dataset, run["image"], seed=None)
    normalise = Normaliser(run["image"], torch.device("cpu"))
    found = {}
    for plan in prediction_batches(batches.sizes(), run["schedule"]["batch_size"]):
        images, targets = batches[plan]
        images = normalise(images, [target["image_size"] for target in targets])
        rngs = [
            keyed_rng(run["seed"], run["schedule"]["iterations"], target["image_id"], "sampling")
            for target in targets
        ]
        with torch.no_grad():
            take = _dense if run["detector"]["steps"] == ["dense"] else _staged
            for head, positive in take(detector, images, targets, rngs):
                found.setdefault(head, []).append(positive)
    return found


def _dense(detector, images, targets, rngs):
    (step,) = detector.steps
    maps = detector.neck(detector.backbone(images))
    anchors, _ = step.grid(maps)
    deltas = detector.heads["dense"](maps).deltas[:, 0].unflatten(0, (len(targets), -1))
    for index, (target, rng) in enumerate(zip(targets, rngs, strict=True)):
        centres = (anchors[:, :2] + anchors[:, 2:]) / 2
        height, width = target["image_size"]
        own = (centres < torch.tensor([width, height])).all(dim=1).nonzero().squeeze(1)
        rows, assignment = _positives(step, anchors[own], target, rng)
        boxes = anchors[own[rows]]
        refined = step.coder.decode(deltas[index, own[rows]], boxes)
        yield from (("dense", values) for values in _lines(boxes, assignment, target, refined))


def _staged(detector, images, targets, rngs):
    """Only the first box step, whose RoIs no other step has refined."""
    rpn, step = detector.steps[:2]
    maps = detector.neck(detector.backbone(images))
    sizes = [target["image_size"] for target in targets]
    flow = Flow(maps, detector.neck.strides, tuple(images.shape[-2:]), sizes)
    rpn.train_step(flow, make_truths(targets, flow.canvas), rngs, detector.heads)
    proposals = flow.rois.boxes.split(flow.rois.counts)
    sources = [
        step.rois(boxes, target, rng=rng, iou=step.iou)
        for boxes, target, rng in zip(proposals, targets, rngs, strict=True)
    ]
    for index, (source, target, rng) in enumerate(zip(sources, targets, rngs, strict=True)):
        rows, assignment = _positives(step, source.boxes, target, rng)
        boxes = source.boxes[rows]
        own = Flow(
            [map_[index : index + 1] for map_ in maps], flow.strides, flow.canvas, [sizes[index]]
        )
        deltas = detector.heads["box"](step.pooling(own, make_candidates([boxes]))).deltas
        columns = assignment.labels - 1 if deltas.shape[1] > 1 else 0
        refined = step.coder.decode(deltas[torch.arange(len(boxes)), columns], boxes)
        yield from (("stage1", values) for values in _lines(boxes, assignment, target, refined))


def _positives(step, boxes, target, rng, **options):
    """Rows of the sampled positives, and what is known of them."""
    assignment = step.assigner(
        boxes, target["boxes"], target["labels"], ignored_boxes=target["ignored_boxes"], **options
    )
    rows = step.sampler(assignment, rng=rng, boxes=boxes)
    rows = rows[assignment.positives[rows]]
    return rows, Assignment(*(None if values is None else values[rows] for values in assignment))


def _lines(boxes, assignment, target, refined):
    gt_boxes = target["boxes"][assignment.gt_idxs]
    labels = assignment.labels
    return zip(boxes.tolist(), gt_boxes.tolist(), labels.tolist(), refined.tolist(), strict=True)


@pytest.mark.parametrize("name", DETECTORS)
def test_every_number_is_that_of_a_detector_taken_apart(run, trained, tmp_path, name):
    folder = trained(run, name)
    collect_positives(folder, tmp_path / "positives.json", threads=1)
    content = json.loads((tmp_path / "positives.json").read_text())
    assert content["num_images"] == 14
    head = content["heads"][0]
    positives = replayed(folder)[head["name"]]
    kept = [values for values in positives if values[0] != values[1]]
    assert len(kept) > 10
    assert head["num_positives"] == len(kept)
    assert head["left_out"] == len(positives) - len(kept)
    assert (head["left_out"] > 0) == (name == "staged")  # its source appends the ground truths
    assert head["mean_positives"] == pytest.approx(len(kept) / 14, abs=1e-6)
    if len(content["heads"]) == 1:
        assert content["mean_positive_rois"] == pytest.approx(len(positives) / 14, abs=1e-6)
    labels = [label for _, _, label, _ in kept]
    assert head["class_counts"] == [labels.count(c + 1) for c in range(len(content["classes"]))]

    before = [iou_of(box, gt) for box, gt, _, _ in kept]
    after = [iou_of(refined, gt) for _, gt, _, refined in kept]
    counts, grid = [0] * 50, [[0] * 50 for _ in range(50)]
    for b, a in zip(before, after, strict=True):
        if b >= 0.5:
            row = min(int((b - 0.5) * 100), 49)
            counts[row] += 1
            grid[row][min(int(a * 50), 49)] += 1
    assert head["iou_counts"] == counts
    # The head sees whole batches there and one image here: an IoU may cross an edge.
    moved = sum(
        abs(x - y)
        for ours, theirs in zip(head["regression"]["counts"], grid, strict=True)
        for x, y in zip(ours, theirs, strict=True)
    )
    assert moved <= 2
    for entry in head["regression"]["bins"]:
        inside = [(b, a) for b, a in zip(before, after, strict=True)
                  if entry["low"] <= b < entry["high"]]  # fmt: skip
        assert entry["num"] == len(inside)
        if not inside:
            assert entry["degraded"] is entry["error_after"] is None
            continue
        means = {
            "degraded": [a < b for b, a in inside], "lost": [a < 0.5 for _, a in inside],
            "error_before": [1 - b for b, _ in inside], "error_after": [1 - a for _, a in inside],
        }  # fmt: skip
        for key, values in means.items():
            assert entry[key] == pytest.approx(sum(values) / len(values), abs=1e-5), key

    corners = [
        [0.3 + 0.3 * (box[k] - gt[k]) / (gt[k + 2] - gt[k]) for k in (0, 1)]
        for box, gt, _, _ in kept
    ]
    assert head["corners"] == [pytest.approx(corner, abs=2e-6) for corner in corners[:2500]]
    near = [corner for corner, b in zip(corners, before, strict=True) if 0.5 <= b <= 0.6]
    assert head["corners_near_half"] == [pytest.approx(corner, abs=2e-6) for corner in near[:1000]]


def test_every_stage_has_an_entry_with_its_own_threshold(run, trained, tmp_path):
    collect_positives(trained(run, "cascade"), tmp_path / "positives.json", threads=1)
    heads = json.loads((tmp_path / "positives.json").read_text())["heads"]
    assert [(head["name"], head["min_iou"]) for head in heads] == [("stage1", 0.5), ("stage2", 0.6)]
    assert sum(heads[1]["iou_counts"][:10]) == 0
    assert heads[1]["num_positives"] > 0


@pytest.mark.parametrize("name", ["dense", "staged"])
def test_the_same_bytes_twice(run, trained, tmp_path, name):
    folder = trained(run, name)
    collect_positives(folder, tmp_path / "one.json", threads=1)
    assert main(["positives", "--run-dir", str(folder), "--threads", "1",
                 "--out", str(tmp_path / "two.json")]) == 0  # fmt: skip
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_bins_by_hand():
    head = HeadPositives("dense", num_classes=2, min_iou=None)
    truth = torch.tensor([[0.0, 0, 10, 10]])
    boxes = torch.tensor([
        [0.0, 0, 10, 10],  # a copy
        [0.0, 0, 10, 5.5],  # IoU 0.55, becomes 0.4: degraded, lost
        [0.0, 0, 10, 9.5],  # 0.95, becomes 1
        [0.0, 0, 10, 3],  # 0.3: in no bin, becomes 0.6
    ])  # fmt: skip
    refined = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 4], [0, 0, 10, 10], [0, 0, 10, 6]])
    head.add(boxes, truth.repeat(4, 1), torch.tensor([1, 2, 2, 1]), refined)
    summary = head.summary(num_images=2)
    assert (summary["num_positives"], summary["left_out"], summary["mean_positives"]) == (3, 1, 1.5)
    assert summary["class_counts"] == [1, 2]
    assert [k for k, count in enumerate(summary["iou_counts"]) if count] in ([5, 45], [5, 44])
    assert len(summary["corners"]) == 3
    assert len(summary["corners_near_half"]) == 1
    low, *_, high = summary["regression"]["bins"]
    assert (low["num"], low["degraded"], low["lost"]) == (1, 1.0, 1.0)
    assert (low["error_before"], low["error_after"]) == pytest.approx((0.45, 0.6), abs=1e-6)
    assert (high["num"], high["degraded"], high["lost"], high["error_after"]) == (1, 0.0, 0.0, 0.0)


def test_bad_input_is_named(run, trained, tmp_path, capsys):
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("model.safetensors", "run.yaml"):
        (folder / name).write_bytes((trained(run, "dense") / name).read_bytes())
    out = tmp_path / "positives.json"
    with pytest.raises(InputError, match="split must be one of"):
        collect_positives(folder, out, split="test")
    settings = yaml.safe_load((folder / "run.yaml").read_text())
    (folder / "run.yaml").write_text(
        yaml.safe_dump({**settings, "classes": {"ids": [7], "names": ["x"]}})
    )
    with pytest.raises(InputError, match=r"train.json: category ids are .* trained on \[7\]"):
        collect_positives(folder, out)
    (folder / "run.yaml").write_text(yaml.safe_dump(settings))
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:-8])
    command = ["positives", "--run-dir", str(folder), "--out", str(out)]
    assert main(command) == 2
    assert "model.safetensors: cannot be read" in capsys.readouterr().err
    (folder / "model.safetensors").unlink()
    assert main(command) == 2
    assert "model.safetensors: cannot be read" in capsys.readouterr().err
    assert not out.exists()

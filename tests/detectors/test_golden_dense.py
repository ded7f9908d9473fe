"""One-stage detectors against the published code, part by part: outputs, assignments."""

import pytest
import torch
from rebalance.detectors.flow import Flow
from rebalance.detectors.types import make_truths

from .golden import FOLDER
from .test_golden import CASES, images_of, load, settings_of, targets_of

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="needs golden/detectors (REBALANCE_GOLDEN)"
)
DENSE = [name for name in CASES if settings_of(name)["detector"]["steps"] == ["dense"]]
COLUMNS = {"reg": 4, "centerness": 1, "iou": 1}


def flow_of(case, detector, targets):
    images = images_of(case)
    maps = detector.neck(detector.backbone(images))
    sizes = [target["image_size"] for target in targets]
    return Flow(maps, detector.neck.strides, tuple(images.shape[2:]), sizes)


def rows_of(case, site, columns, counts):
    """[B, N, columns] of the recorded levels, and [N] which rows these are: one may be left out."""
    rows, known = [], torch.zeros(sum(counts), dtype=torch.bool)
    for level, part in enumerate(torch.arange(sum(counts)).split(list(counts))):
        if f"{site}/{level}" in case:
            map_ = case[f"{site}/{level}"]
            rows.append(map_.permute(0, 2, 3, 1).reshape(len(map_), -1, columns))
            known[part] = True
    return torch.cat(rows, dim=1), known


@pytest.mark.parametrize("name", DENSE)
def test_head_has_the_recorded_outputs(name):
    case, _, detector = load(name)
    step = detector.steps[0]
    targets = targets_of(case, "a")
    with torch.no_grad():
        predictions, candidates = step.run(flow_of(case, detector, targets), detector.heads)
    columns = predictions.logits.shape[1]
    ours = {"cls": predictions.logits, "reg": predictions.deltas[:, 0], **predictions.extra}
    if step.objective.has_background:  # theirs is the last column
        ours["cls"] = ours["cls"].roll(-1, dims=1)
    compared = 0
    for output, value in ours.items():
        theirs, known = rows_of(
            case,
            f"train_a/bbox_head.forward/0/{output}",
            COLUMNS.get(output, columns),
            candidates.level_sizes,
        )
        value = value.reshape(len(targets), len(known), -1)[:, known]
        largest = float(theirs.abs().max())
        torch.testing.assert_close(value, theirs, rtol=0, atol=1e-4 * largest)
        compared += 1
    assert compared == (3 if settings_of(name)["detector"]["test"].get("quality") else 2)


def recorded_labels(case, phase, level_sizes, num_classes):
    """[B * N] int64, 0 for the background, -1 for what takes no part."""
    site = f"{phase}/bbox_head."
    if f"{phase}/bbox_head.paa_reassign/0/0" in case:  # per image
        labels = torch.stack([case[f"{site}paa_reassign/{image}/0"] for image in range(2)])
        weights = torch.stack([case[f"{site}get_targets/0/1/{image}"] for image in range(2)])
    elif f"{site}get_targets/0/1/0" in case:  # anchor heads, per level
        first = int(case[f"{site}get_targets/0/0/0"].dim() == 3)  # ATSS: anchors come first
        levels = range(len(level_sizes))
        labels = torch.cat([case[f"{site}get_targets/0/{first}/{k}"] for k in levels], 1)
        weights = torch.cat([case[f"{site}get_targets/0/{first + 1}/{k}"] for k in levels], 1)
    else:  # FoveaBox: levels, then images; everything takes part
        parts = case[f"{site}get_targets/0/0"].split([2 * size for size in level_sizes])
        labels = torch.cat([part.view(2, -1) for part in parts], dim=1)
        weights = torch.ones_like(labels)
    labels = torch.where(labels == num_classes, 0, labels.long() + 1)
    return torch.where(weights > 0, labels, -1).flatten()


@pytest.mark.parametrize("scene", ["a", "b"])
@pytest.mark.parametrize("name", DENSE)
def test_candidates_have_the_recorded_labels(name, scene):
    case, _, detector = load(name)
    targets = targets_of(case, scene)
    flow = flow_of(case, detector.train(), targets)
    rngs = [torch.Generator().manual_seed(0) for _ in targets]
    step = detector.steps[0]
    matched = step.train_step(flow, make_truths(targets, flow.canvas), rngs, detector.heads)
    ours = torch.full((len(matched.candidates.boxes),), -1)
    ours[matched.matches.rows] = matched.labels
    classes = case.meta["num_classes"]
    theirs = recorded_labels(case, f"train_{scene}", matched.candidates.level_sizes, classes)
    if "ratio" in settings_of(name)["detector"]["dense"]["sampler"]:
        # Theirs are from before the mining; ours has three negatives per positive and image.
        for image in range(2):
            of_image = ours.view(2, -1)[image]
            assert (of_image == 0).sum() == 3 * (of_image > 0).sum()
        theirs = torch.where(ours == -1, torch.where(theirs == 0, -1, theirs), theirs)
    assert torch.equal(ours, theirs)
    assert (ours > 0).sum() > 0

"""RoI sources on their own, and detectors trained on generated RoIs or with other assigners."""

import pytest
import torch
from rebalance.config.experiments import load_experiments, resolve_run
from rebalance.detectors import build_detector
from rebalance.detectors.roi_sources import make_roi_source
from rebalance.errors import InputError
from torchvision.ops import box_iou

from .conftest import make_target, rngs

TARGET = make_target([[4, 4, 24, 28], [30, 30, 60, 44], [34, 2, 60, 20]], labels=[2, 1, 1])
PROPOSALS = torch.tensor(
    [[4.0, 4, 24, 27], [0, 0, 20, 20], [50, 50, 60, 60], [30, 30, 60, 43], [40, 0, 64, 30]]
)
IMAGE = torch.zeros(1, 3, 64, 64)
IMAGE[0, 0, 4:28, 4:24], IMAGE[0, 1, 30:44, 30:60], IMAGE[0, 1, 2:20, 34:60] = 2.0, 2.0, 2.0


def sampled(iou=0.5, target=TARGET, seed=0, **options):
    source = make_roi_source("generator", **{"preset": "uniform", **options})
    return source(PROPOSALS, target, rng=torch.Generator().manual_seed(seed), iou=iou)


def test_proposals_come_first_and_ground_truths_behind_them():
    with_truths = make_roi_source("rpn")(PROPOSALS, TARGET, rng=torch.Generator(), iou=0.5)
    assert with_truths.num_proposals == 5
    torch.testing.assert_close(with_truths.boxes, torch.cat([PROPOSALS, TARGET["boxes"]]))
    bare = make_roi_source("rpn", add_ground_truth=False)
    assert len(bare(PROPOSALS, TARGET, rng=torch.Generator(), iou=0.5).boxes) == 5


@pytest.mark.parametrize(("iou", "kept"), [(0.5, [1, 2, 4]), (0.4, [2]), (0.98, [0, 1, 2, 3, 4])])
def test_proposals_that_would_be_positive_give_way_to_generated_ones(iou, kept):
    """IoU with the nearest object: 0.96, 256/624 = 0.41, 0, 0.93, 360/828 = 0.43."""
    rois = sampled(iou, iou_bins=[[0.4, 0.5]], bin_weights=[1], preset=None)
    assert rois.num_proposals == len(kept)
    torch.testing.assert_close(rois.boxes[: len(kept)], PROPOSALS[kept])
    generated = box_iou(rois.boxes[len(kept) :], TARGET["boxes"]).amax(dim=1)
    assert (generated >= iou - 1e-6).all()


def test_as_many_as_asked_balanced_over_the_classes():
    generated = sampled(num_rois=40).boxes[3:]
    assert generated.shape == (40, 4)
    owners = box_iou(generated, TARGET["boxes"]).argmax(dim=1).bincount()
    assert owners.tolist() == [20, 10, 10]
    owners = sampled(num_rois=39, foreground_balanced=False).boxes[3:]
    assert box_iou(owners, TARGET["boxes"]).argmax(dim=1).bincount().tolist() == [13, 13, 13]


def test_the_seed_decides():
    torch.testing.assert_close(sampled().boxes, sampled().boxes, rtol=0, atol=0)
    assert not torch.equal(sampled().boxes, sampled(seed=1).boxes)


def test_without_objects_only_proposals_are_left():
    rois = sampled(target=make_target([]))
    torch.testing.assert_close(rois.boxes, PROPOSALS)
    assert rois.num_proposals == 5
    no_proposals = make_roi_source("generator", preset="base_0.5", num_rois=8)(
        PROPOSALS[:0], TARGET, rng=torch.Generator(), iou=0.5
    )
    assert no_proposals.boxes.shape == (8, 4)
    assert no_proposals.num_proposals == 0


def test_an_object_across_the_border_never_gives_a_roi_below_the_threshold():
    """Clamping takes most of an object that is mostly outside, and the RoI would be a negative."""
    rois = sampled(target=make_target([[-60, 0, 10, 40]]), num_rois=50)
    assert rois.num_proposals == 5
    assert len(rois.boxes) == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": None}, "either preset or both"),
        ({"bin_weights": [1.0]}, "either preset or both"),
        ({"preset": "skew"}, "preset: must be one of"),
        ({"preset": None, "iou_bins": [0.5], "bin_weights": [0.0]}, "not all be 0"),
        ({"num_roi": 3}, "unknown key 'num_roi'"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        sampled(**options)


def train(detector, steps, lr=0.02):
    optimizer = torch.optim.SGD(detector.parameters(), lr=lr, momentum=0.9)
    first = None
    for _ in range(steps):
        losses = detector(IMAGE, [TARGET], rngs(1))
        loss = sum(losses.values())
        first = loss.item() if first is None else first
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(detector.parameters(), 5.0)
        optimizer.step()
    return first, loss.item(), losses


@pytest.mark.parametrize("heads", [1, 2], ids=["one stage", "cascade"])
def test_hard_generated_positives_train_a_staged_detector(staged_settings, heads):
    """More are generated than enter the loss: OHPM needs the loss of each of them."""
    detector = staged_settings["detector"]
    detector["box"]["rois"] = {"name": "generator", "preset": "uniform", "num_rois": 64}
    detector["box"]["assigner"] |= {"negative_floor": 0.1}
    detector["box"]["sampler"] = {"name": "ohpm", "num": 32, "positive_fraction": 0.25}
    detector["heads"]["second"] = detector["heads"]["box"]
    steps = ["rpn", {"box": "box", "iou": 0.5}, {"box": "second", "iou": 0.6}]
    detector["steps"] = steps[: 1 + heads]
    torch.manual_seed(0)
    model = build_detector(staged_settings, num_classes=2)
    first, last, losses = train(model, 60)
    assert len(losses) == 2 + 2 * heads
    assert last < 0.8 * first
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(
    "assigner",
    [
        {"name": "atss"},
        {"name": "paa"},
        {"name": "foveabox", "scale_ranges": [[1, 32], [16, 64], [32, 128]]},
        {"name": "ssd"},
        {"name": "max_iou", "overlap": {"name": "ggiou", "alpha": 0.3, "beta": 1 / 6}},
    ],
    ids=["atss", "paa", "foveabox", "ssd", "ggiou"],
)
@pytest.mark.parametrize("box_loss", ["giou", "ggiou_balanced"])
def test_a_dense_detector_trains_with_any_assigner(dense_settings, assigner, box_loss):
    step = dense_settings["detector"]["dense"]
    step["assigner"], step["objective"]["box"] = assigner, {"name": box_loss}
    torch.manual_seed(0)
    detector = build_detector(dense_settings, num_classes=2)
    first, last, losses = train(detector, 15)
    assert losses["box_loss"] > 0
    assert last < 0.9 * first


def test_an_image_smaller_than_its_batch_and_one_without_objects(dense_settings):
    """Padding takes anchors away from every level; the assigners are told what is left of each."""
    images = torch.cat([IMAGE, IMAGE])
    targets = [make_target([[4, 4, 24, 28]], labels=[2], size=(40, 64)), make_target([])]
    for name in ("atss", "paa"):
        dense_settings["detector"]["dense"]["assigner"] = {"name": name}
        detector = build_detector(dense_settings, num_classes=2)
        losses = detector(images, targets, rngs(2))
        assert all(loss.isfinite() for loss in losses.values())
        assert losses["box_loss"] > 0


@pytest.mark.parametrize("scale", ["shapes", "coco_tiny", "paper"])
def test_configured_generators_reach_the_threshold_of_their_stage(repository, scale):
    experiments = load_experiments(repository)
    found = 0
    for name in experiments.works["bbgen"].runs:
        detector = resolve_run(experiments, name, scale).model_dump()["detector"]
        settings = detector["box"]["rois"]
        if settings["name"] != "generator":
            continue
        found += 1
        source = make_roi_source(**settings)
        (iou,) = {step["iou"] for step in detector["steps"][1:]}
        rois = source(PROPOSALS[:0], TARGET, rng=torch.Generator().manual_seed(0), iou=iou)
        assert len(rois.boxes) == settings["num_rois"], name
    assert found > 0

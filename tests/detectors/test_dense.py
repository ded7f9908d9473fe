"""The dense family: losses against a loop over anchors, predictions, degenerate inputs."""

import math

import pytest
import torch
from rebalance.detectors import build_detector
from rebalance.detectors.flow import Flow
from rebalance.detectors.selection import make_detection_settings, select_detections
from rebalance.detectors.types import Predictions, make_candidates
from rebalance.errors import InputError
from rebalance.losses import focal_loss, smooth_l1_loss
from torchvision.ops import box_iou, nms

from .conftest import make_target, rngs

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
TARGETS = [make_target([[4, 4, 24, 28], [30, 30, 60, 44]], labels=[2, 1]), make_target([])]


@pytest.fixture
def detector(dense_settings):
    torch.manual_seed(0)
    return build_detector(dense_settings, num_classes=2)


def taken_apart(detector):
    """Logits [B, A, C], deltas [B, A, 4] and anchors [A, 4]."""
    maps = detector.neck(detector.backbone(IMAGES))
    predictions = detector.heads["dense"](maps)
    anchors, _ = detector.steps[0].grid(maps)
    return (
        predictions.logits.unflatten(0, (2, -1)),
        predictions.deltas[:, 0].unflatten(0, (2, -1)),
        anchors,
    )


def test_losses_equal_a_loop_over_images_and_anchors(detector):
    losses = detector(IMAGES, TARGETS, rngs(2))
    logits, deltas, anchors = taken_apart(detector)
    class_sum, box_sum, positives = 0.0, 0.0, 0
    for image, target in enumerate(TARGETS):
        truths = target["boxes"]
        overlaps = box_iou(anchors, truths)
        for k in range(len(anchors)):
            best, truth = overlaps[k].max(0) if len(truths) else (torch.tensor(0.0), None)
            forced = [
                g for g in range(len(truths))
                if overlaps[k, g] == overlaps[:, g].max() and overlaps[k, g] > 0
            ]  # fmt: skip
            if forced:
                truth = max(forced, key=lambda g: overlaps[k, g])
            elif 0.4 <= best < 0.5:
                continue
            wanted = torch.zeros(2)
            if forced or best >= 0.5:
                positives += 1
                wanted[target["labels"][truth] - 1] = 1
                goal = detector.steps[0].coder.encode(truths[truth][None], anchors[k][None])
                box_sum += smooth_l1_loss(deltas[image, k][None], goal, beta=0.11).sum()
            class_sum += focal_loss(logits[image, k], wanted, alpha=0.25, gamma=2.0).sum()
    assert positives > 2
    torch.testing.assert_close(losses["class_loss"], class_sum / positives, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(losses["box_loss"], box_sum / positives, rtol=1e-4, atol=1e-4)


def test_a_batch_without_objects_trains(detector):
    losses = detector(IMAGES, [make_target([]), make_target([])], rngs(2))
    sum(losses.values()).backward()
    assert losses["box_loss"] == 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in detector.parameters())


def test_a_batch_wholly_inside_a_crowd_region_trains(detector):
    crowd = make_target([], ignored=[[-100, -100, 200, 200]])
    losses = detector(IMAGES, [crowd, crowd], rngs(2))
    assert losses["class_loss"] == 0
    sum(losses.values()).backward()


def test_predictions_equal_a_plain_selection_of_the_same_scores(detector):
    """Per class: all anchors above the threshold, decoded, clipped, torchvision's nms."""
    torch.nn.init.zeros_(detector.heads["dense"].class_logits.bias)
    detector.test = detector.test._replace(pre_nms=10**6, max_detections=10**6, score_threshold=0.5)
    (found, _) = detector.predict(IMAGES, [(64, 64), (64, 64)])
    logits, deltas, anchors = taken_apart(detector)
    boxes = detector.steps[0].coder.decode(deltas[0], anchors).clamp(0, 64)
    boxes_of_class = {}
    for column in range(2):
        scores = logits[0, :, column].sigmoid()
        rows = (scores > 0.5) & (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        keep = nms(boxes[rows], scores[rows], 0.5)
        boxes_of_class[column + 1] = (boxes[rows][keep], scores[rows][keep])
    assert len(found["scores"]) == sum(len(s) for _, s in boxes_of_class.values()) > 0
    assert (found["scores"].diff() <= 0).all()
    for label, (expected, scores) in boxes_of_class.items():
        own = found["labels"] == label
        torch.testing.assert_close(found["scores"][own], scores)
        torch.testing.assert_close(found["boxes"][own], expected)


def test_nothing_above_the_threshold_is_an_empty_result(detector):
    for found in detector.predict(IMAGES, [(64, 64), (64, 48)]):
        assert found["boxes"].shape == (0, 4)
        assert found["scores"].shape == found["labels"].shape == (0,)


def test_detections_stay_inside_the_image_not_its_canvas(detector):
    torch.nn.init.zeros_(detector.heads["dense"].class_logits.bias)
    (found, _) = detector.predict(IMAGES, [(40, 30), (64, 64)])
    assert len(found["boxes"]) > 0
    assert found["boxes"][:, 2].max() <= 30
    assert found["boxes"][:, 3].max() <= 40


def test_selection_by_hand(detector):
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 9], [5, 5, 5, 9]])
    scores = torch.tensor([[0.9, 0.1], [0.8, 0.1], [0.1, 0.7], [0.99, 0.1]])
    predictions = Predictions(scores.logit(), torch.zeros(4, 1, 4))
    flow = Flow([], [], (20, 20), [(20, 20)])
    flow.last = detector.steps[0], predictions, make_candidates([boxes])
    settings = make_detection_settings(nms={"name": "nms", "iou": 0.5}, score_threshold=0.5)
    found = select_detections([flow], settings)
    # the second overlaps the first by 0.9; the third is of another class; the fourth is empty
    assert found.scores.tolist() == pytest.approx([0.9, 0.7])
    assert found.rows.tolist() == [0, 2]
    assert found.labels.tolist() == [1, 2]


def select(detector, boxes, scores, extra, **options):
    """Detections of one image of 20 x 20 pixels, of boxes [N, 4] with scores [N, C]."""
    boxes, scores = torch.tensor(boxes), torch.tensor(scores)
    predictions = Predictions(scores.logit(), torch.zeros(len(boxes), 1, 4), extra)
    flow = Flow([], [], (20, 20), [(20, 20)])
    flow.last = detector.steps[0], predictions, make_candidates([boxes])
    settings = make_detection_settings(nms={"name": "nms", "iou": 0.5}, **options)
    return select_detections([flow], settings)


APART = [[0.0, 0, 5, 5], [10, 0, 15, 5], [0, 10, 5, 15]]


@pytest.mark.parametrize(
    ("average", "expected"),
    [
        ("scores", [(0.9 + 0.5) / 2, (0.2 + 0.6) / 2]),
        ("logits", [0.75, 1 / (1 + (4 / 1.5) ** 0.5)]),  # odds: sqrt(9 * 1), sqrt(1 / 4 * 1.5)
        ("largest_logits", [0.9, 0.6]),
    ],
)
def test_what_is_averaged_over_box_steps_by_hand(detector, average, expected):
    logits = [torch.tensor(scores).logit() for scores in ([[0.9], [0.2]], [[0.5], [0.6]])]
    flow = Flow([], [], (20, 20), [(20, 20)])
    flow.logits = logits
    boxes = make_candidates([torch.tensor(APART[:2])])
    flow.last = detector.steps[0], Predictions(logits[-1], torch.zeros(2, 1, 4)), boxes
    settings = make_detection_settings(nms={"name": "nms"}, score_threshold=0.1, average=average)
    assert select_detections([flow], settings).scores.tolist() == pytest.approx(expected)


def test_a_heads_estimate_enters_the_scores_after_or_before_the_threshold(detector):
    scores = [[0.9], [0.6], [0.4]]
    extra = {"iou": torch.tensor([0.1, 0.8, 0.9]).logit()}
    product = select(detector, APART, scores, extra, score_threshold=0.5, quality={"output": "iou"})
    # 0.9 * 0.1 is below the threshold, which only the class is compared with
    assert product.scores.tolist() == pytest.approx([0.48, 0.09])
    assert product.rows.tolist() == [1, 0]
    mean = select(
        detector, APART, scores, extra, score_threshold=0.5,
        quality={"output": "iou", "combine": "geometric_mean", "before_choice": True},
    )  # fmt: skip
    assert mean.scores.tolist() == pytest.approx([0.48**0.5, 0.6])  # sqrt(0.09) = 0.3 is not above
    assert mean.rows.tolist() == [1, 2]


def test_detections_may_be_moved_by_votes(detector):
    boxes = [[0.0, 0, 10, 10], [0, 0, 10, 9], [10, 10, 20, 20]]
    found = select(
        detector, boxes, [[0.9, 0.1], [0.6, 0.1], [0.1, 0.8]], {}, score_threshold=0.5,
        voting={"name": "score"},
    )  # fmt: skip
    # IoU of the first two is 0.9: weights 0.9 and 0.6 exp(-0.01 / 0.025)
    weight = 0.6 * math.exp(-0.4)
    lower = (0.9 * 10 + weight * 9) / (0.9 + weight)
    wanted = torch.tensor([[0, 0, 10, lower], boxes[2]])
    torch.testing.assert_close(found.candidates.boxes, wanted)
    assert found.rows.tolist() == [0, 2]


def test_boxes_may_end_a_margin_before_the_image(detector):
    found = select(detector, [[5.0, 5, 30, 19.5]], [[0.9]], {}, score_threshold=0.5, clip_margin=1)
    assert found.candidates.boxes.tolist() == [[5, 5, 19, 19]]


@pytest.mark.parametrize(("options", "message"), [
    ({"quality": {"output": "iou"}}, r"quality.output must be one of \['centerness'\], which"),
    ({"quality": {"output": "iou", "combine": "sum"}}, "quality.combine: must be one of"),
    ({"voting": {"name": "majority"}}, "voting must be one of score, got 'majority'"),
    ({"voting": {"name": "score", "width": 1}}, "voting.width: unknown key 'width'"),
])  # fmt: skip
def test_selection_refuses_what_is_not_there(detector, options, message):
    extra = {"centerness": torch.zeros(3)}
    with pytest.raises(InputError, match=message):
        select(detector, APART, [[0.9]] * 3, extra, score_threshold=0.5, **options)


def test_hard_negatives_of_ssd_are_found_by_classes_alone(dense_settings):
    dense = dense_settings["detector"]["dense"]
    dense["sampler"] = {"name": "hard_negative", "ratio": 2}
    dense["costs"] = ["class"]
    detector = build_detector(dense_settings, num_classes=2)
    ((_, matched, _),) = detector.train_steps(IMAGES, TARGETS, rngs(2))
    assert set(matched.image.tolist()) == {0}  # without positives an image has no negatives
    positives = int(matched.is_positive.sum())
    assert int((~matched.is_positive).sum()) == 2 * positives > 0
    dense["costs"] = ["mask"]
    with pytest.raises(InputError, match=r"costs\[0\]: must be one of 'class', 'box', got"):
        build_detector(dense_settings, num_classes=2)


def test_it_learns_two_objects(detector):
    torch.manual_seed(0)
    images = torch.zeros(1, 3, 64, 64)
    images[0, 0, 4:28, 4:24], images[0, 1, 30:44, 30:60] = 2.0, 2.0
    optimizer = torch.optim.SGD(detector.parameters(), lr=0.05, momentum=0.9)
    for _ in range(100):
        loss = sum(detector(images, TARGETS[:1], rngs(1)).values())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(detector.parameters(), 5.0)
        optimizer.step()
    (found,) = detector.predict(images, [(64, 64)])
    assert found["labels"][:2].sort().values.tolist() == [1, 2]
    order = found["labels"][:2].argsort(descending=True)
    overlaps = box_iou(found["boxes"][:2][order], TARGETS[0]["boxes"]).diagonal()
    assert (overlaps > 0.7).all()


def test_unknown_settings_are_refused(dense_settings):
    dense_settings["detector"]["steps"] = [{"anchorless": "dense"}]
    with pytest.raises(InputError, match="a step is one of rpn, dense"):
        build_detector(dense_settings, 2)

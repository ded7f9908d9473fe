"""Flipped and resized passes at test: what they find together."""

from functools import reduce

import pytest
import torch
from rebalance.config.experiments import load_experiments
from rebalance.config.reading import merged
from rebalance.detectors import build_detector
from rebalance.detectors.select import Augmentation
from rebalance.errors import InputError
from torch.nn.functional import interpolate
from torchvision.ops import batched_nms

from .golden import REPOSITORY

EXPERIMENTS = load_experiments(REPOSITORY, check_runs=False)
BACKBONE = {"name": "plain", "widths": [8, 8, 16, 16]}
SIZE, CANVAS = (60, 90), (64, 96)
NAMES = ["retinanet", "paa", "faster_rcnn", "ms_rcnn", "htc"]


def build(name, **test):
    """The detector at the scale shapes, in float64 so that two ways to one result order it alike.

    Everything scores above the threshold: an untrained detector has no confidence.
    """
    layers = EXPERIMENTS.detector_layers(name, "shapes")
    settings = reduce(merged, (layer.settings for layer in layers), {})
    settings = merged(settings, {"test": {"score_threshold": 0.0, "max_detections": 30, **test}})
    torch.manual_seed(0)
    return build_detector({"backbone": BACKBONE, "detector": settings}, 3).double().eval()


@pytest.fixture
def image():
    """Smaller than its canvas."""
    pixels = torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return 4 * pixels - 2


def predict(detector, image):
    """Of one image, laid on the canvas of its size."""
    height, width = image.shape[1:]
    canvas = image.new_zeros(1, 3, -(-height // 32) * 32, -(-width // 32) * 32)
    canvas[0, :, :height, :width] = image
    (found,) = detector.predict(canvas, [(height, width)])
    return found


def mirrored(boxes, width=SIZE[1]):
    x1, y1, x2, y2 = boxes.unbind(1)
    return torch.stack((width - x2, y1, width - x1, y2), dim=1)


@pytest.mark.parametrize("name", NAMES)
def test_one_unflipped_pass_is_the_plain_one_to_the_last_bit(name, image):
    detector = build(name)
    plain = predict(detector, image)
    detector.test = detector.test._replace(augment=Augmentation())
    augmented = predict(detector, image)
    assert len(plain["boxes"]) > 5
    assert plain.keys() == augmented.keys()
    assert all(torch.equal(plain[field], augmented[field]) for field in plain)


@pytest.mark.parametrize("name", NAMES)
def test_the_detections_of_a_mirrored_image_are_mirrored(name, image):
    """Both passes see what they see of the image itself, the other way round."""
    detector = build(name, augment={"flip": True, "scales": [1.0, 1.5]})
    found, other = predict(detector, image), predict(detector, image.flip(-1))
    assert len(found["boxes"]) > 5
    torch.testing.assert_close(mirrored(other["boxes"]), found["boxes"])
    if "mask_probabilities" in found:
        other["mask_probabilities"] = other["mask_probabilities"].flip(-1)
    for field in found.keys() - {"boxes"}:
        torch.testing.assert_close(other[field], found[field])
    detector.test = detector.test._replace(augment=None)
    plain, other = predict(detector, image), predict(detector, image.flip(-1))
    assert not torch.allclose(other["scores"][:5], plain["scores"][:5], rtol=1e-4)


@pytest.mark.parametrize("name", ["retinanet", "faster_rcnn"])
def test_boxes_of_all_passes_are_suppressed_together(name, image):
    """The oracle makes each pass by hand, without suppression, and then suppresses their union."""
    single = build(name, nms={"name": "nms", "iou": 1.0}, max_detections=10_000)
    small = interpolate(image[None], (30, 45), mode="bilinear", antialias=True)[0]
    passes = [
        (predict(single, image), lambda boxes: boxes),
        (predict(single, image.flip(-1)), mirrored),
        (predict(single, small), lambda boxes: boxes * 2),
        (predict(single, small.flip(-1)), lambda boxes: mirrored(boxes, 45) * 2),
    ]
    boxes = torch.cat([back(found["boxes"]) for found, back in passes])
    scores, labels = (torch.cat([found[field] for found, _ in passes]) for field in
                      ("scores", "labels"))  # fmt: skip
    kept = batched_nms(boxes, scores, labels, 0.5)[:30]
    found = predict(build(name, augment={"flip": True, "scales": [1.0, 0.5]}), image)
    torch.testing.assert_close(found["boxes"], boxes[kept])
    torch.testing.assert_close(found["scores"], scores[kept])
    assert torch.equal(found["labels"], labels[kept])


@pytest.mark.parametrize("name", ["yolact", "solov2"])
def test_masks_of_the_whole_image_are_not_augmented(name):
    with pytest.raises(InputError, match=r"test\.augment: is for detectors with a dense or rpn"):
        build(name, augment={"flip": True})


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        ({"scales": []}, r"test\.augment\.scales"),
        ({"scales": [0.0]}, r"test\.augment\.scales\[0\]: must be more than 0"),
        ({"flips": True}, r"test\.augment\.flips: unknown key"),
    ],
)
def test_wrong_augmentations_are_refused_by_name(augment, message):
    with pytest.raises(InputError, match=message):
        build("retinanet", augment=augment)

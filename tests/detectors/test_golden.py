"""Whole detectors against the published code: losses, gradients, detections of the golden cases.

``golden_settings/<case>.yaml`` says what a case is in our settings, and what our losses are called
there::

    like: another case, whose settings are merged below these
    backbone, detector: ours
    losses: {our loss: their terms, summed; null: not in this case}
    gradients: {parameters of theirs, as a pattern: tolerance, relative to the largest gradient}
    recorded_samples: {number of a step: its sampler there, whose recorded draws it is given}
    recorded_proposals: true, where equal scores decide which of them are proposals in training
    ties: later_first, where boxes of exactly equal scores were suppressed in the other order;
        empty, where chance decides which boxes without area are among the best: they pool nothing
        and score the same, and only their number and scores are compared
    without: [phases in which the published code departs or raises, see the comment there]

The folder of the data is found through REBALANCE_GOLDEN.
"""

import copy
import fnmatch
import itertools

import pytest
import torch
import yaml
from rebalance.config.reading import merged
from rebalance.detectors import build_detector
from rebalance.detectors.masks import paste_masks, resize_masks
from rebalance.detectors.types import make_candidates
from rebalance.weights import mmdetection
from rebalance.weights.convert import export_weights, import_weights
from torch import nn

from detectors.golden import FOLDER, REPOSITORY, GoldenCase

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="needs golden/detectors (REBALANCE_GOLDEN)"
)
SETTINGS = REPOSITORY / "tests" / "detectors" / "golden_settings"
CASES = sorted(path.stem for path in SETTINGS.glob("*.yaml"))
LOSSES = 1e-3  # the README's tolerances for a whole network
GRADIENTS = 1e-3
NORMS = 5e-3
KINKED = 2e-2
"""Of the first convolution: kinks of ReLU and max-pooling on the way."""


def settings_of(name):
    settings = yaml.safe_load((SETTINGS / f"{name}.yaml").read_text())
    if "like" in settings:
        return merged(settings_of(settings.pop("like")), settings)
    return settings


def names_of_losses(settings, recorded):
    """Our losses -> their terms, without those of a case below that this one does not record."""
    terms = {
        ours: [theirs] if isinstance(theirs, str) else theirs
        for ours, theirs in settings["losses"].items()
        if theirs is not None
    }
    return {ours: names for ours, names in terms.items() if set(names) <= recorded.keys()}


def load(name):
    """The case, its settings, and our detector with its weights."""
    case, settings = GoldenCase(name), settings_of(name)
    detector = build_detector(settings, num_classes=case.meta["num_classes"])
    if "in/feats/0" in case:
        detector.backbone = RecordedMaps(case)
    detector.load_state_dict(import_weights(case.state(), detector, "mmdetection"))
    return case, settings, detector


class RecordedMaps(nn.Module):
    """Where only neck and head were run: what they were given, in place of a backbone."""

    def __init__(self, case):
        super().__init__()
        self.maps = [case["in/feats/0"], case["in/feats/1"]]

    def forward(self, images):
        return self.maps


def images_of(case):
    """The batch; blank where the case has none."""
    if "in/img" in case:
        return case["in/img"]
    metas = case.meta["img_metas"]
    return torch.zeros(len(metas), 3, *metas[0]["pad_shape"][:2])


def targets_of(case, scene):
    """Targets of a scene; in scene c no image has an object."""
    targets = []
    for image, meta in enumerate(case.meta["img_metas"]):
        source = "a" if scene == "c" else scene
        boxes = case[f"in/{source}/gt_boxes/{image}"].reshape(-1, 4)
        labels = case[f"in/{source}/gt_labels/{image}"].long().reshape(-1) + 1
        height, width = meta["img_shape"][:2]
        target = {
            "boxes": boxes,
            "labels": labels,
            "ignored_boxes": torch.zeros(0, 4),
            "image_size": (height, width),
            "image_id": image,
        }
        if f"in/{source}/gt_boxes_ignore/{image}" in case:
            target["ignored_boxes"] = case[f"in/{source}/gt_boxes_ignore/{image}"].reshape(-1, 4)
        if f"in/{source}/gt_masks/{image}" in case:
            target["masks"] = case[f"in/{source}/gt_masks/{image}"]
        if scene == "c":
            target = {
                **target,
                **{key: target[key][:0] for key in ("boxes", "labels", "masks") if key in target},
            }
        targets.append(target)
    return targets


def losses_of(case, settings, detector, scene):
    give_recorded_samples(case, settings, detector, scene)
    if settings.get("recorded_proposals"):
        give_proposals(case, detector.steps[0], f"train_{scene}/rpn_head.get_bboxes/0")
    rngs = [torch.Generator().manual_seed(0) for _ in case.meta["img_metas"]]
    return detector.train()(images_of(case), targets_of(case, scene), rngs)


def give_proposals(case, step, prefix):
    """Later steps see the recorded proposals; what the step itself trains on stays its own."""
    proposals = [case[f"{prefix}/{image}"][:, :4] for image in range(len(case.meta["img_metas"]))]
    train_step = step.train_step

    def train_and_propose(flow, *others):
        matched = train_step(flow, *others)
        flow.rois = make_candidates(proposals)
        return matched

    step.train_step = train_and_propose


def give_recorded_samples(case, settings, detector, scene):
    """Where a case's own draws are recorded, its steps take those."""
    for step, site in settings.get("recorded_samples", {}).items():
        detector.steps[step].sampler = recorded_sampler(case, f"train_{scene}/{site}", scene)


def recorded_sampler(case, prefix, scene):
    """What the published sampler drew, image after image, of ground truths before proposals."""
    images = itertools.count()

    def sample(assignment, **_):
        image = next(images)
        drawn = [case[f"{prefix}/{image}/{kind}_inds"].long() for kind in ("pos", "neg")]
        num_truths = len(case[f"in/{scene}/gt_boxes/{image}"].reshape(-1, 4))
        # Ours has the ground truths behind the proposals.
        return ((torch.cat(drawn) - num_truths) % len(assignment.gt_idxs)).sort().values

    return sample


def summed(term):
    return sum(term) if isinstance(term, list) else term


def scenes(*letters):
    """Parametrises by case and those scenes that it has."""
    pairs = [
        (name, scene)
        for name in CASES
        for scene in letters
        if f"train_{scene}" not in settings_of(name).get("without", [])
        and f"train_{scene}" in GoldenCase(name).meta["losses"]
    ]
    return pytest.mark.parametrize(("name", "scene"), pairs)


@scenes("a", "b", "c")
def test_losses_are_the_published_ones(name, scene):
    case, settings, detector = load(name)
    losses = losses_of(case, settings, detector, scene)
    recorded = case.meta["losses"][f"train_{scene}"]
    terms_of = names_of_losses(settings, recorded)
    assert losses.keys() == terms_of.keys()
    for ours, terms in terms_of.items():
        expected = torch.tensor(float(sum(summed(recorded[term]) for term in terms)))
        torch.testing.assert_close(
            losses[ours].detach(), expected, rtol=LOSSES, atol=1e-6,
            msg=lambda m, name=ours: f"{name}: {m}",
        )  # fmt: skip
    total = torch.tensor(recorded["__total__"])
    torch.testing.assert_close(sum(losses.values()).detach(), total, rtol=LOSSES, atol=1e-6)


@scenes("a", "b")
def test_gradients_are_the_published_ones(name, scene):
    case, settings, detector = load(name)
    sum(losses_of(case, settings, detector, scene).values()).backward()
    gradients = copy.deepcopy(detector)
    with torch.no_grad():
        for ours, parameter in detector.named_parameters():
            gradient = parameter.grad
            value = torch.zeros_like(parameter) if gradient is None else gradient
            gradients.get_parameter(ours).copy_(value)
    ours = export_weights(gradients, "mmdetection")
    phase, compared = f"train_{scene}", 0
    tolerances = settings.get("gradients", {})
    for recorded, norm in case.meta["grad_norms"][phase].items():
        theirs = mmdetection.current(recorded)
        usual = KINKED if theirs.startswith("backbone.") else GRADIENTS
        matching = (t for pattern, t in tolerances.items() if fnmatch.fnmatch(theirs, pattern))
        tolerance = next(matching, usual)
        if norm is not None:
            expected = torch.tensor(float(norm))
            torch.testing.assert_close(
                ours[theirs].norm(), expected, rtol=max(tolerance, NORMS), atol=1e-5,
                msg=lambda m, name=theirs: f"norm of {name}: {m}",
            )  # fmt: skip
        if f"{phase}/grad/{recorded}" in case:
            expected = case[f"{phase}/grad/{recorded}"]
            largest = float(expected.abs().max()) if expected.numel() else 0.0
            torch.testing.assert_close(
                ours[theirs], expected, rtol=0, atol=tolerance * largest + 1e-6,
                msg=lambda m, name=theirs: f"{name}: {m}",
            )  # fmt: skip
            compared += 1
    assert compared > 0


@pytest.mark.parametrize(
    "name", [n for n in CASES if "test" not in settings_of(n).get("without", [])]
)
def test_detections_are_the_published_ones(name):
    case, settings, detector = load(name)
    if settings.get("ties") == "later_first":
        detector.test = detector.test._replace(suppression=later_first(detector.test.suppression))
    compare_detections(case, settings, detector)


def compare_detections(case, settings, detector, phase="test"):
    """Boxes, labels, scores, masks and their scores against those recorded in a phase."""
    found, sizes = found_by(case, detector, phase == "test_rescale")
    for image, (detections, size) in enumerate(zip(found, sizes, strict=True)):
        prefix = f"{phase}/result/{image}"
        if f"{prefix}/boxes" not in case:
            continue
        boxes, labels = case[f"{prefix}/boxes"], case[f"{prefix}/labels"].long() + 1
        assert len(detections["boxes"]) == len(boxes) > 0
        rows = torch.arange(len(boxes))
        if settings.get("ties") == "empty":
            rows = solid(boxes).nonzero().squeeze(1)
            own = solid(detections["boxes"])
            empty = [boxes[~solid(boxes), 4], detections["scores"][~own]]
            torch.testing.assert_close(*(scores.sort().values for scores in empty))
            detections = {name: value[own] for name, value in detections.items()}
        if not boxes[:, :4].any():  # SOLOv2 gives masks only
            detections["boxes"] = torch.zeros_like(detections["boxes"])
        partners = partners_of(detections, boxes[rows], labels[rows])
        if f"{prefix}/masks_packed" in case:
            masks = unpacked(case, prefix)
            canvas = tuple(case["in/img"].shape[-2:])
            ours = masks_of(detections, masks.shape[1:], (canvas, size))[partners]
            assert (ours != masks[rows]).float().mean() < 1e-3
        if f"{prefix}/mask_scores" in case:
            scores = case[f"{prefix}/mask_scores"][rows]
            torch.testing.assert_close(
                detections["mask_scores"][partners], scores, rtol=1e-3, atol=1e-5
            )


def found_by(case, detector, rescale=False):
    """Detections, and the size of the image that each of them lies in.

    Older versions test each image alone, on a canvas of its own, some in the original image only.
    """
    metas, images = case.meta["img_metas"], images_of(case)
    sizes = [tuple(meta["img_shape"][:2]) for meta in metas]
    detector.eval()
    if case.meta.get("test_canvas"):
        found = []
        for image, meta, size in zip(images, metas, sizes, strict=True):
            height, width = meta["pad_shape"][:2]
            found += detector.predict(image[None, :, :height, :width], [size])
    else:
        found = detector.predict(images, sizes)
    if not (rescale or case.meta.get("test_is_rescaled")):
        return found, sizes
    originals = [tuple(meta["ori_shape"][:2]) for meta in metas]
    return [rescaled(*one) for one in zip(found, sizes, originals, strict=True)], originals


def solid(boxes):
    """[D] bool, whether each box has an area."""
    return (boxes[:, 2:4] > boxes[:, :2]).all(dim=1)


def rescaled(detections, size, original):
    """The same detections in pixels of the original image."""
    factors = torch.tensor([original[1] / size[1], original[0] / size[0]] * 2)
    return {**detections, "boxes": detections["boxes"] * factors}


def later_first(suppression):
    """The same suppression, for which the later of two equal scores is the better one."""

    def suppress(boxes, scores, groups):
        rows, kept_scores = suppression(boxes.flip(0), scores.flip(0), groups.flip(0))
        return len(boxes) - 1 - rows, kept_scores

    return suppress


@scenes("c")
def test_gradient_without_objects_is_as_long_as_the_published_one(name, scene):
    case, settings, detector = load(name)
    recorded = case.meta["losses"][f"train_{scene}"]
    sum(losses_of(case, settings, detector, scene).values()).backward()
    gradients = [p.grad.square().sum() for p in detector.parameters() if p.grad is not None]
    norm = torch.tensor(recorded["__grad_norm__"])
    torch.testing.assert_close(sum(gradients).sqrt(), norm, rtol=GRADIENTS, atol=1e-5)


def partners_of(detections, boxes, labels):
    """[D] our row of each recorded detection; each is found once, as order is not compared."""
    ours = torch.cat([detections["boxes"], detections["scores"][:, None] * 100], dim=1)
    theirs = torch.cat([boxes[:, :4], boxes[:, 4:] * 100], dim=1)
    apart = (ours.nan_to_num(-1)[None] - theirs.nan_to_num(-1)[:, None]).abs().amax(dim=2)
    apart = torch.where(detections["labels"][None] == labels[:, None], apart, torch.inf)
    nearest, rows = apart.min(dim=1)
    assert nearest.max() < 0.02, f"no partner within 0.02 for {(nearest >= 0.02).sum()}"
    assert len(rows.unique()) == len(rows)
    return rows


def unpacked(case, prefix):
    depth, height, width = case[f"{prefix}/masks_shape"].tolist()
    packed = case[f"{prefix}/masks_packed"]
    shifts = torch.arange(7, -1, -1, dtype=torch.uint8)
    bits = (packed[..., None] >> shifts) & 1
    return bits.flatten(-2)[..., :width].reshape(depth, height, width).bool()


def masks_of(detections, size, on_canvas):
    if "masks" in detections:
        return detections["masks"]
    if "canvas_mask_probabilities" in detections:
        probabilities = detections["canvas_mask_probabilities"]
        return resize_masks(probabilities, size, on_canvas=on_canvas)
    return paste_masks(detections["mask_probabilities"], detections["boxes"], size)

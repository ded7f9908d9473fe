"""The Rank & Sort SOLOv2 head against its authors' branch, on recorded maps and mask features."""

import pytest
import torch
from rebalance.detectors import build_detector
from rebalance.detectors.masks import resize_masks
from torch import nn

from detectors.golden import FOLDER, GoldenCase
from detectors.test_golden import targets_of, unpacked

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="needs golden/detectors (REBALANCE_GOLDEN)"
)
CANVAS = (128, 160)
SETTINGS = {
    "backbone": {"name": "plain", "widths": [8, 8, 8, 8]},
    "detector": {
        "neck": {"name": "fpn", "channels": 8, "first_level": 2, "num_levels": 5, "extra": "pool"},
        "heads": {
            "dense": {
                "name": "solo", "num_convs": 2, "channels": 16, "num_prototypes": 8,
                "mask_channels": 8, "groups": 4,
            }
        },
        "grid": {
            "num_cells": [12, 10, 8, 6, 4],
            "assignment": {
                "scale_ranges": [[1, 24], [12, 48], [24, 96], [48, 192], [96, 2048]],
                "contested": "first",
                "ignore_iof": 2.0,
            },
            "pairing": "published",
            "objective": {
                "name": "ranking",
                "class": {"name": "rank_sort"},
                "mask": {"name": "dice", "smooth": 0.001},
                "labels": "dice",
                "weigh": "score",
                "balance": "value",
            },
        },
        "steps": [{"grid": "dense"}],
        "test": {
            "score_threshold": 0.2,
            "nms": {"name": "matrix_nms", "pre_nms": 60, "threshold": 0.05},
            "max_detections": 16,
        },
    },
}  # fmt: skip
NAMES = {
    "cate_convs": "class_tower",
    "kernel_convs": "kernel_tower",
    "solo_cate": "class_logits",
    "solo_kernel": "kernels",
}


class Recorded(nn.Module):
    """In place of backbone, neck and mask feature: what the head was given."""

    def __init__(self, outputs, strides=()):
        super().__init__()
        self.outputs, self.strides = outputs, strides

    def forward(self, _):
        return self.outputs


def our_name(theirs):
    """``cate_convs.1.gn.bias`` is ``class_tower.4.bias``: convolution, norm and ReLU by turns."""
    part, *others = theirs.split(".")
    if len(others) > 1:
        index, kind, name = others
        others = [str(3 * int(index) + (kind == "gn")), name]
    return ".".join([NAMES[part], *others])


def load():
    case = GoldenCase("ranksort_solov2_head")
    detector = build_detector(SETTINGS, num_classes=5)
    head = detector.heads["dense"]
    head.mask_feature = Recorded(case["in/mask_feats"].requires_grad_())
    head.load_state_dict({our_name(name): value for name, value in case.state().items()})
    maps = [case[f"in/feats/{level}"] for level in range(5)]
    detector.backbone, detector.neck = Recorded(None), Recorded(maps, (4, 8, 16, 32, 64))
    return case, detector, head


def trained(case, detector):
    rngs = [torch.Generator() for _ in range(2)]
    steps = detector.train().train_steps(torch.zeros(2, 3, *CANVAS), targets_of(case, "a"), rngs)
    ((_, matched, losses),) = steps
    return matched, losses


def test_cells_and_masks_are_assigned_as_published():
    case, detector, _ = load()
    matched, _ = trained(case, detector)
    assert len(matched.matches.rows) == 2 * (144 + 100 + 64 + 36 + 16)
    sizes, places = [144, 100, 64, 36, 16], matched.owners.places.tolist()
    labels = matched.labels.split(sizes * 2)
    compared = 0
    for image in range(2):
        for level, size in enumerate(sizes):
            prefix = f"train_a/targets/{image}"
            recorded = case[f"{prefix}/cate_labels/{level}"].flatten().long()
            assert labels[5 * image + level].equal(recorded)
            start = 360 * image + sum(sizes[:level])
            own = [row for row, place in enumerate(places) if start <= place < start + size]
            order = case[f"{prefix}/grid_order/{level}"].tolist()
            assert [places[row] - start for row in own] == order
            targets = case[f"{prefix}/mask_targets/{level}"].float()
            assert matched.mask_targets[own].equal(targets)
            compared += len(own)
    assert compared == len(places) == len(matched.positives)
    assert places != sorted(places)  # the case in which the published weights are of other cells


def test_losses_and_gradients_are_the_published_ones():
    case, detector, head = load()
    outputs = {"cate": [], "kernel": []}
    for name, layer in (("cate", head.class_logits), ("kernel", head.kernels)):
        layer.register_forward_hook(
            lambda layer, given, output, name=name: (
                output.retain_grad(),
                outputs[name].append(output),
            )[1]
        )
    _, losses = trained(case, detector)
    recorded = case.meta["losses"]["train_a"]
    expected = {
        "class_loss": recorded["loss_rank"] + recorded["loss_sort"],
        "mask_loss": recorded["loss_ins"],
    }
    for name, value in expected.items():
        torch.testing.assert_close(losses[name].detach(), torch.tensor(value), rtol=1e-4, atol=0)
    sum(losses.values()).backward()
    gradients = {
        **{f"grad/{theirs}": head.get_parameter(our_name(theirs)).grad for theirs in (
            "solo_cate.weight", "solo_cate.bias", "solo_kernel.weight", "solo_kernel.bias"
        )},
        **{
            f"grad_wrt_output/{name}/{level}": output.grad
            for name, levels in outputs.items()
            for level, output in enumerate(levels)
        },
        "grad_wrt_mask_feats": head.mask_feature.outputs.grad,
    }  # fmt: skip
    for name, gradient in gradients.items():
        theirs = case[f"train_a/{name}"]
        tolerance = 1e-3 * float(theirs.abs().max())
        torch.testing.assert_close(
            gradient, theirs, rtol=0, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_the_right_pairing_departs_from_the_published_one():
    case, detector, _ = load()
    matched, _ = trained(case, detector)
    detector.steps[0].pairing = "cells"
    paired, _ = trained(case, detector)
    assert paired.owners.places.equal(paired.positives)
    assert paired.owners.gt.equal(paired.gt)
    assert not matched.owners.gt.equal(paired.owners.gt)


def test_detections_are_the_published_ones():
    case, detector, _ = load()
    sizes = [tuple(meta["img_shape"][:2]) for meta in case.meta["img_metas"]]
    found = detector.eval().predict(torch.zeros(2, 3, *CANVAS), sizes)
    for image, (detections, size) in enumerate(zip(found, sizes, strict=True)):
        prefix = f"test/result/{image}"
        masks = unpacked(case, prefix)
        ours = resize_masks(
            detections["canvas_mask_probabilities"], masks.shape[1:], on_canvas=(CANVAS, size)
        )
        torch.testing.assert_close(
            detections["scores"], case[f"{prefix}/scores"], rtol=1e-4, atol=1e-6
        )
        assert detections["labels"].equal(case[f"{prefix}/labels"].long() + 1)
        assert (ours != masks).float().mean() < 1e-3

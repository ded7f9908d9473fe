"""Checkpoints of mmdetection and torchvision into our detectors, and back."""

import copy

import pytest
import torch
import torchvision
import yaml
from rebalance.cli import main
from rebalance.cli.weights import PROJECTS
from rebalance.data.weights import read_weights
from rebalance.detectors import build_detector
from rebalance.errors import InputError
from rebalance.weights.convert import SOURCES, export_weights, import_weights
from safetensors.torch import load_file, save_file

RESNET = {"name": "resnet", "depth": 50, "width": 8, "norm": "frozen_batch"}
NUM_CLASSES = 3


def settings_of(repository, base, backbone=RESNET, **changes):
    detectors = yaml.safe_load((repository / "config" / "detectors.yaml").read_text())
    return {"backbone": dict(backbone), "detector": {**copy.deepcopy(detectors[base]), **changes}}


def small(repository, base, backbone=RESNET, classes=NUM_CLASSES, **changes):
    torch.manual_seed(0)
    return build_detector(settings_of(repository, base, backbone, **changes), classes)


def cascade(repository, entries):
    """Heads as the entries of box steps name them."""
    names = {entry["box"] for entry in entries}
    detector = settings_of(repository, "faster_rcnn")["detector"]
    box = detector["heads"]["box"]
    return small(
        repository,
        "faster_rcnn",
        heads={"rpn": detector["heads"]["rpn"], **{name: dict(box) for name in sorted(names)}},
        steps=["rpn", *entries],
    )


def assert_same(one, two):
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert torch.equal(value, two[name]), name


@pytest.mark.parametrize("base", ["retinanet", "faster_rcnn"])
@pytest.mark.parametrize("project", sorted(SOURCES))
def test_what_went_out_comes_in_unchanged(repository, base, project):
    detector = small(repository, base)
    exported = export_weights(detector, project)
    assert not exported.keys() & {"heads.dense.class_logits.weight", "heads.rpn.tower.0.weight"}
    other = small(repository, base)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert_same(import_weights(exported, other, project), detector.state_dict())


def test_several_stages_are_a_list_in_mmdetection(repository):
    stages = [{"box": "a", "iou": 0.5}, {"box": "b", "iou": 0.6}, {"box": "c", "iou": 0.7}]
    three = cascade(repository, stages)
    exported = export_weights(three, "mmdetection")
    for index, name in enumerate("abc"):
        theirs = exported[f"roi_head.bbox_head.{index}.shared_fcs.1.weight"]
        assert torch.equal(theirs, three.heads[name].hidden[3].weight)
    one = cascade(repository, stages[:1])
    assert "roi_head.bbox_head.shared_fcs.1.weight" in export_weights(one, "mmdetection")
    shared = cascade(repository, [{"box": "a", "iou": 0.5}, {"box": "a", "iou": 0.6}])
    boxes = {k for k in export_weights(shared, "mmdetection") if k.startswith("roi_head.")}
    assert {name.split(".")[2] for name in boxes} == {"0"}  # R3-CNN: one head, in a list


def test_background_is_first_here_and_last_in_mmdetection(repository):
    detector = small(repository, "faster_rcnn")
    with torch.no_grad():
        detector.heads["box"].class_logits.bias.copy_(torch.tensor([9.0, 1, 2, 3]))
    exported = export_weights(detector, "mmdetection")
    assert exported["roi_head.bbox_head.fc_cls.bias"].tolist() == [1, 2, 3, 9]


def test_a_sigmoid_head_has_no_background_to_move(repository):
    detector = settings_of(repository, "faster_rcnn")["detector"]
    box = {**detector["box"], "objective": {
        "name": "linear", "per": "samples", "class": {"name": "focal"}, "box": {"name": "l1"},
    }}  # fmt: skip
    detector = small(repository, "faster_rcnn", box=box)
    with torch.no_grad():
        detector.heads["box"].class_logits.bias.copy_(torch.tensor([1.0, 2, 3]))
    exported = export_weights(detector, "mmdetection")
    assert exported["roi_head.bbox_head.fc_cls.bias"].tolist() == [1, 2, 3]


def drop(state):
    del state["bbox_head.retina_cls.bias"]


def add(state):
    state["bbox_head.atss_centerness.bias"] = torch.zeros(9)


def reshape(state):
    state["bbox_head.retina_cls.bias"] = torch.zeros(90)


@pytest.mark.parametrize(("change", "message"), [
    pytest.param(drop, r"missing bbox_head.retina_cls.bias \(1 in all\)$", id="missing"),
    pytest.param(add, r"unknown bbox_head.atss_centerness.bias \(1 in all\)$", id="surplus"),
    pytest.param(reshape, r"shapes: bbox_head.retina_cls.bias is \[90\], ours \[27\]", id="shape"),
])  # fmt: skip
def test_what_does_not_fit_is_said_by_name(repository, change, message):
    detector = small(repository, "retinanet")
    state = export_weights(detector, "mmdetection")
    change(state)
    with pytest.raises(InputError, match=message):
        import_weights(state, detector, "mmdetection")


def test_another_architecture_is_refused_with_one_message(repository):
    state = export_weights(small(repository, "faster_rcnn"), "mmdetection")
    with pytest.raises(InputError, match=r"missing .* in all\); unknown .* in all\)"):
        import_weights(state, small(repository, "retinanet"), "mmdetection")


def test_what_other_projects_do_not_have_is_refused(repository):
    detector = small(repository, "retinanet", backbone={"name": "plain"})
    with pytest.raises(InputError, match="no detector with our backbone"):
        export_weights(detector, "mmdetection")
    with pytest.raises(InputError, match=r"source must be one of \['mmdetection', 'torchvision'\]"):
        export_weights(detector, "detectron")


def test_names_with_a_module_before_them_are_those_of_a_parallel_training(repository):
    detector = small(repository, "retinanet")
    state = export_weights(detector, "mmdetection")
    parallel = {f"module.{name}": value for name, value in state.items()}
    assert_same(import_weights(parallel, detector, "mmdetection"), detector.state_dict())


MODELS = torchvision.models.detection


@pytest.mark.parametrize(("model", "base", "neck", "norm"), [
    pytest.param(MODELS.retinanet_resnet50_fpn, "retinanet", {}, "none", id="RetinaNet"),
    pytest.param(MODELS.retinanet_resnet50_fpn_v2, "retinanet", {"extra_from": "input"}, "group",
                 id="RetinaNet v2: P6 from C5, norm in the head"),
    pytest.param(MODELS.fasterrcnn_resnet50_fpn, "faster_rcnn", {}, None, id="Faster R-CNN"),
])  # fmt: skip
@pytest.mark.parametrize("classes", [NUM_CLASSES, 80])
def test_torchvisions_own_state_dict_comes_in(repository, model, base, neck, norm, classes):
    """80 classes: those of COCO, out of 91 columns that are category ids."""
    torch.manual_seed(1)
    columns = {NUM_CLASSES: NUM_CLASSES + 1, 80: 91}[classes]
    state = model(weights=None, weights_backbone=None, num_classes=columns).state_dict()
    published = settings_of(repository, base)["detector"]
    changes = {"neck": published["neck"] | neck, "heads": published["heads"]}
    if norm is not None:
        changes["heads"]["dense"]["norm"] = norm
    detector = small(repository, base, {"name": "resnet", "depth": 50}, classes, **changes)
    detector.load_state_dict(import_weights(state, detector, "torchvision"))
    ids = [1, 2, 3] if classes == NUM_CLASSES else [*range(1, 12), *range(13, 26), 27, 28]
    if base == "retinanet":
        theirs = state["head.classification_head.cls_logits.weight"].unflatten(0, (9, columns))
        ours = detector.heads["dense"].class_logits.weight.unflatten(0, (9, classes))
        assert torch.equal(ours[:, : len(ids)], theirs[:, ids])
    else:
        box = detector.heads["box"]
        logits = state["roi_heads.box_predictor.cls_score.weight"]
        assert torch.equal(box.class_logits.weight[: len(ids) + 1], logits[[0, *ids]])
        deltas = state["roi_heads.box_predictor.bbox_pred.weight"].unflatten(0, (-1, 4))
        assert torch.equal(box.box_deltas.weight.unflatten(0, (-1, 4))[: len(ids)], deltas[ids])
    if classes == NUM_CLASSES:
        exported = export_weights(detector, "torchvision")
        counters = {name for name in exported if name.endswith("num_batches_tracked")}
        assert exported.keys() - counters == state.keys() - counters


def test_names_of_torchvisions_published_files(repository):
    detector = small(repository, "retinanet")
    state = export_weights(detector, "torchvision")
    old = {
        "backbone.fpn.inner_blocks.0.0.bias": "backbone.fpn.inner_blocks.0.bias",
        "head.classification_head.conv.3.0.weight": "head.classification_head.conv.6.weight",
    }
    for new, name in old.items():
        state[name] = state.pop(new)
    assert_same(import_weights(state, detector, "torchvision"), detector.state_dict())


def test_other_numbers_of_columns_are_refused(repository):
    detector = small(repository, "faster_rcnn")
    state = export_weights(detector, "torchvision")
    detector = small(repository, "faster_rcnn", classes=5)
    with pytest.raises(InputError, match="has 4 columns, ours needs 6"):
        import_weights(state, detector, "torchvision")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_command_line_there_and_back(repository, tmp_path, suffix):
    assert sorted(SOURCES) == sorted(PROJECTS)
    settings = settings_of(repository, "retinanet")
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(settings))
    detector = small(repository, "retinanet")
    save_file(detector.state_dict(), tmp_path / "model.safetensors")
    run = ["--run-file", str(tmp_path / "run.yaml"), "--classes", str(NUM_CLASSES)]
    theirs, ours = tmp_path / f"theirs{suffix}", tmp_path / "ours.safetensors"
    weights = str(tmp_path / "model.safetensors")
    export = ["weights", "export", "--to", "mmdetection", "--weights", weights, "--out"]
    assert main([*export, str(theirs), *run]) == 0
    assert "bbox_head.retina_reg.bias" in read_weights(theirs)
    back = ["weights", "import", "--from", "mmdetection", "--weights", str(theirs)]
    assert main([*back, "--out", str(ours), *run]) == 0
    assert_same(load_file(ours), detector.state_dict())


def test_command_line_says_what_is_wrong(tmp_path, capsys):
    (tmp_path / "run.yaml").write_text("name: nothing\n")
    (tmp_path / "w.pth").write_bytes(b"junk")
    arguments = ["weights", "import", "--from", "mmdetection", "--run-file",
                 str(tmp_path / "run.yaml"), "--out", str(tmp_path / "o.safetensors")]  # fmt: skip
    assert main([*arguments, "--weights", str(tmp_path / "w.pth")]) == 2
    assert "w.pth: not a file of tensors only" in capsys.readouterr().err
    torch.save({}, tmp_path / "w.pth")
    assert main([*arguments, "--weights", str(tmp_path / "w.pth")]) == 2
    assert "run.yaml: missing key 'backbone'" in capsys.readouterr().err

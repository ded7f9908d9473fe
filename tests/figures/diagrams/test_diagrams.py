"""What the explanatory diagrams connect, counted by hand or against what they depict."""

from pathlib import Path

import pytest
import yaml
from rebalance.figures.diagrams import FIGURES
from rebalance.figures.diagrams import compute as diagrams
from rebalance.figures.diagrams.compute import Edge, distances, edges, feeds, inputs, parts_of
from torch import nn
from torchvision.models import resnet50

PAPERS = Path(__file__).resolve().parents[3] / "config" / "papers"


def test_edges_distances_and_what_feeds_a_part_by_hand():
    graph = edges(flow=["a > b > c > d"], jump=["a > c"])
    assert graph[0] == Edge("a", "b", "flow")
    assert graph[3] == Edge("a", "c", "jump")
    assert parts_of(graph) == ["a", "b", "c", "d"]
    assert distances(graph, "a") == {"a": 0, "b": 1, "c": 1, "d": 2}
    costs = {"flow": 1, "jump": 5}
    assert distances(graph, "a", lambda edge: costs[edge.kind])["d"] == 3
    assert feeds(graph, "c") == {"a", "b"}
    assert inputs(graph, "c") == {"a", "b"}


def test_convolutions_of_a_stage_are_those_of_a_resnet50():
    model = resnet50()
    for level, stage in (("C3", model.layer2), ("C4", model.layer3), ("C5", model.layer4)):
        blocks = [(name, part) for name, part in stage.named_modules()
                  if isinstance(part, nn.Conv2d) and "downsample" not in name]  # fmt: skip
        assert diagrams.CONVOLUTIONS[level] == len(blocks)


def test_ways_from_c2_through_an_fpn():
    # a lateral and an output convolution; 12, 18 and 9 in the stages before
    assert diagrams.fpn_depths() == {"P2": 2, "P3": 14, "P4": 32, "P5": 41}


def test_a_second_way_up_spares_panet_the_backbone():
    way = distances(diagrams.DESIGNS["PANet"], "C2", diagrams.panet_convolutions)
    assert (way["P2"], way["N2"], way["N5"], way["P5"]) == (2, 2, 8, 41)


def test_nas_fpn_has_seven_cells_of_two_or_three_maps():
    graph = diagrams.DESIGNS["NAS-FPN"]
    cells = [part for part in parts_of(graph) if inputs(graph, part)]
    assert len(cells) == 7
    assert {len(inputs(graph, cell)) for cell in cells} == {2, 3}
    given = {part for part in parts_of(graph) if not inputs(graph, part)}
    assert given == {"C3", "C4", "C5", "P6", "P7"}


def test_r3cnn_has_one_head_and_three_turns():
    assert diagrams.heads_of(diagrams.R3CNN, "B") == ["B1"]
    assert diagrams.heads_of(diagrams.R3CNN, "M") == ["M1"]
    assert diagrams.heads_of(diagrams.HTC, "B") == ["B1", "B2", "B3"]
    assert len(diagrams.TURNS) == 3
    assert "B1" in feeds(diagrams.R3CNN, "pooler")
    assert "B1" not in feeds(diagrams.HTC, "pooler 1")


def test_problems_are_those_of_table_1_2():
    rows = yaml.safe_load((PAPERS / "thesis.yaml").read_text())["targets"]["table_1_2"]["rows"]
    words = ("imbalance in ", " class imbalance", "-level scale imbalance", "-level imbalance",
             " imbalance")  # fmt: skip
    listed = {}
    for row in rows:
        name = row["setting"]["problem"]
        for word in words:
            name = name.replace(word, "")
        listed[name] = row["setting"]["type"]
    ours = {
        name.replace("–", "-").replace(" scale", "").replace(" level", ""): kind
        for name, (kind, _) in diagrams.PROBLEMS.items()
    }
    assert ours == listed


def test_the_drawn_box_reaches_the_threshold():
    assert diagrams.MIN_IOU <= diagrams.drawn_iou() < 1


@pytest.mark.parametrize(
    ("what", "name", "spoilt"),
    [
        ("detector", "DETECTOR", diagrams.DETECTOR[:-1] + edges(scales=["C5 > shared layers"])),
        ("imbalance_pipeline", "PIPELINE", edges(flow=["image > elsewhere"])),
        ("scales", "SCALES", dict.fromkeys(diagrams.SCALES, edges(predict=["image > C2"]))),
        ("feature_imbalance", "CONVOLUTIONS", {"C3": 1, "C4": 1, "C5": 1}),
        ("pyramid_designs", "DESIGNS",
         diagrams.DESIGNS | {"STDN": edges(resize=["D1 > pool 1 > S1"])}),
        ("generated_positives", "MIN_IOU", 0.99),
        ("faster_rcnn_training", "NOT_FOR_POSITIVES", ("RoI pooling",)),
        ("recursion", "R3CNN", diagrams.HTC),
        ("rank_sort_pipeline", "RANK_SORT", diagrams.USUAL),
    ],
)  # fmt: skip
def test_a_wrong_diagram_fails_its_checks(what, name, spoilt, monkeypatch):
    assert all(claim.holds for claim in FIGURES[what].checks({}))
    if name == "MIN_IOU":
        box = diagrams.drawn_box()
        monkeypatch.setattr(diagrams, "drawn_box", lambda: box)
    monkeypatch.setattr(diagrams, name, spoilt)
    assert not all(claim.holds for claim in FIGURES[what].checks({}))

"""What the explanatory diagrams connect to what, and what can be counted on them.

A diagram is a list of edges between named parts, written as paths; ``draw`` gives the parts
their places. What a figure claims (a shortcut, a layer that is the only source, a module
that is left out) is computed from the same edges that are drawn.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch

from rebalance.boxes import paired_iou
from rebalance.figures.box_generator.compute import REFERENCE, generated
from rebalance.figures.checks import Check, named_numbers, printed_claim
from rebalance.losses.balancing import value_weight


class Edge(NamedTuple):
    """One arrow; ``kind`` says what flows along it."""

    source: str
    target: str
    kind: str


def edges(**paths: Sequence[str]) -> list[Edge]:
    """Edges of each kind: ``edges(flow=["image > C2 > C3"])`` are two of kind flow."""
    found = []
    for kind, some in paths.items():
        for path in some:
            parts = path.split(" > ")
            found += [Edge(a, b, kind) for a, b in pairwise(parts)]
    return found


def parts_of(graph: Iterable[Edge]) -> list[str]:
    """Names at the ends of edges, in order of appearance."""
    return list(dict.fromkeys(name for edge in graph for name in edge[:2]))


def distances(
    graph: Sequence[Edge], source: str, cost: Callable[[Edge], int] = lambda edge: 1
) -> dict[str, int]:
    """Cost of the cheapest way from ``source`` to each part that it reaches."""
    found = {source: 0}
    for _ in parts_of(graph):  # Bellman and Ford: no way has more steps than there are parts
        for edge in graph:
            if edge.source in found:
                reached = found[edge.source] + cost(edge)
                found[edge.target] = min(reached, found.get(edge.target, reached))
    return found


def feeds(graph: Sequence[Edge], target: str) -> set[str]:
    """Parts from which ``target`` is reached."""
    return {name for name in parts_of(graph) if target in distances(graph, name)} - {target}


def inputs(graph: Iterable[Edge], target: str) -> set[str]:
    """Parts with an edge to ``target``."""
    return {edge.source for edge in graph if edge.target == target}


# --- thesis Figure 1.2 -----------------------------------------------------------------------

HEADS = ("classification", "box", "mask or keypoints", "auxiliary")
TASK_HEADS = {
    "object detection": {"classification", "box"},
    "instance segmentation": {"classification", "mask or keypoints"},
    "keypoint detection": {"classification", "mask or keypoints"},
}
"""Heads without which a detector of the task cannot do; more may be there."""
ALWAYS = set.intersection(*TASK_HEADS.values())

FPN_EDGES: dict[str, Sequence[str]] = {
    "backbone": ["C2 > C3 > C4 > C5"],
    "lateral": [f"C{level} > P{level}" for level in (2, 3, 4, 5)],
    "top_down": ["P5 > P4 > P3 > P2"],
}
DETECTOR = edges(
    flow=["image > C2", "combine > NMS > detections"],
    scales=[f"P{level} > shared layers" for level in (2, 3, 4, 5)],
    heads=[f"shared layers > {head} > combine" for head in HEADS],
    **FPN_EDGES,
)


def detector_checks(numbers: Mapping[str, Any]) -> list[Check]:
    """thesis Figure 1.2: one network for all scales, and the head that no task does without."""
    levels = inputs(DETECTOR, "shared layers")
    return [
        printed_claim("one detection network reads the maps of all scales",
                      levels == {"P2", "P3", "P4", "P5"}, ", ".join(sorted(levels))),
        printed_claim("some heads are common to all tasks, the others depend on the task",
                      0 < len(ALWAYS) < len(HEADS), f"common: {', '.join(sorted(ALWAYS))}"),
    ]  # fmt: skip


# --- thesis Figure 3.2 -----------------------------------------------------------------------

PHASES = {
    "feature extraction": ("image", "backbone, neck", "feature maps"),
    "detection and box matching": (
        "detection network", "predictions", "ground truth", "box matching",
    ),
    "labelling and sampling": ("labelling", "sampling", "losses"),
}  # fmt: skip
PIPELINE = edges(
    flow=[
        "image > backbone, neck > feature maps > detection network > predictions > losses",
        "predictions > box matching > labelling > sampling > losses",
        "ground truth > box matching",
    ]
)
PROBLEMS = {
    "object/box scale": ("scale", "feature extraction"),
    "feature level": ("scale", "feature extraction"),
    "IoU distribution": ("spatial", "detection and box matching"),
    "object location": ("spatial", "detection and box matching"),
    "foreground–background": ("class", "labelling and sampling"),
    "foreground–foreground": ("class", "labelling and sampling"),
    "regression loss": ("spatial", "labelling and sampling"),
    "objective": ("objective", "labelling and sampling"),
}
"""Problem of Table 1.2 -> its type, and the phase in which it arises."""


def pipeline_checks(numbers: Mapping[str, Any]) -> list[Check]:
    """thesis Figure 3.2: the order of the steps, and problems in every phase."""
    return [
        printed_claim("ground truths meet predictions before anything is sampled",
                      {"ground truth", "predictions", "box matching"}
                      <= feeds(PIPELINE, "sampling")),
        printed_claim("in every phase some problem arises",
                      {phase for _, phase in PROBLEMS.values()} == set(PHASES)),
    ]  # fmt: skip


# --- thesis Figure 3.8 -----------------------------------------------------------------------

SCALES = {
    "last layer only": edges(backbone=["image > C1 > C2 > C3"], predict=["C3 > predict 3"]),
    "several layers": edges(
        backbone=["image > C1 > C2 > C3"],
        predict=[f"C{level} > predict {level}" for level in (1, 2, 3)],
    ),
    "feature pyramid": edges(
        backbone=["image > C1 > C2 > C3"],
        lateral=[f"C{level} > P{level}" for level in (1, 2, 3)],
        top_down=["P3 > P2 > P1"],
        predict=[f"P{level} > predict {level}" for level in (1, 2, 3)],
    ),
    "image pyramid": edges(
        resize=["image > image ½ > image ¼"],
        backbone=[
            "image > C1 > C2 > C3", "image ½ > D1 > D2 > D3", "image ¼ > E1 > E2 > E3",
        ],
        predict=["C3 > predict 1", "D3 > predict 2", "E3 > predict 3"],
    ),
    "image and feature pyramid": edges(
        backbone=["image > C1 > C2 > C3"],
        light=["image ½ > light 2 > C2", "image ¼ > light 3 > C3"],
        lateral=[f"C{level} > P{level}" for level in (1, 2, 3)],
        forward=["P1 > P2 > P3"],
        predict=[f"P{level} > predict {level}" for level in (1, 2, 3)],
    ),
}  # fmt: skip


def scale_checks(numbers: Mapping[str, Any]) -> list[Check]:
    """thesis Figure 3.8: how many places each design predicts at, and from how many images."""
    places = {name: sum(edge.kind == "predict" for edge in graph) for name, graph in SCALES.items()}
    images = {
        name: sum(part.startswith("image") for part in parts_of(graph))
        for name, graph in SCALES.items()
    }
    return [
        printed_claim("only (a) predicts at a single place",
                      [count == 1 for count in places.values()] == [True] + 4 * [False],
                      named_numbers(places, 0)),
        printed_claim("only (d) and (e) resize the image",
                      [count > 1 for count in images.values()] == 3 * [False] + 2 * [True],
                      named_numbers(images, 0)),
        printed_claim("(e) has one backbone, (d) one per image",
                      "light 2" in feeds(SCALES["image and feature pyramid"], "C2")
                      and not feeds(SCALES["image pyramid"], "D1") & {"C1", "C2", "C3"}),
    ]  # fmt: skip


# --- thesis Figures 3.9 and 3.10 -------------------------------------------------------------

CONVOLUTIONS = {"C3": 12, "C4": 18, "C5": 9}
"""Of the stages of a ResNet-50: 4, 6 and 3 blocks of three; the test counts them."""
LEVELS = (2, 3, 4, 5)
FPN = edges(
    backbone=["C2 > C3 > C4 > C5"],
    lateral=[f"C{level} > M{level}" for level in LEVELS],
    top_down=["M5 > M4 > M3 > M2"],
    output=[f"M{level} > P{level}" for level in LEVELS],
)


def convolutions(edge: Edge) -> int:
    """Convolutions on an edge: of a backbone stage, 1 x 1, 3 x 3, or none in resizing."""
    fixed = {"lateral": 1, "output": 1, "top_down": 0}
    return CONVOLUTIONS[edge.target] if edge.kind == "backbone" else fixed[edge.kind]


def fpn_depths() -> dict[str, int]:
    """P level -> convolutions on the shortest way from C2."""
    found = distances(FPN, "C2", convolutions)
    return {f"P{level}": found[f"P{level}"] for level in LEVELS}


def feature_checks(numbers: Mapping[str, Any]) -> list[Check]:
    """thesis Figure 3.9: C2 is next to P2 and far from P5."""
    depths = fpn_depths()
    text = ", ".join(f"{name}: {depth}" for name, depth in depths.items())
    return [
        printed_claim("C2 reaches P2 directly",
                      distances(FPN, "C2")["P2"] == 2 and depths["P2"] == 2,
                      f"{depths['P2']} convolutions", "one lateral, one after merging"),
        printed_claim("there are several layers from C2 to P5", depths["P5"] > 10 * depths["P2"],
                      f"{depths['P5']} convolutions", "of a ResNet-50"),
        printed_claim("the coarser the level, the longer the way",
                      list(depths.values()) == sorted(depths.values()), text),
    ]  # fmt: skip


DESIGNS = {
    "PANet": edges(
        **FPN_EDGES,
        augment=["P2 > N2 > N3 > N4 > N5"],
        again=["P3 > N3", "P4 > N4", "P5 > N5"],
        pool=[f"N{level} > pool all levels" for level in LEVELS],
    ),
    "Libra FPN": edges(
        **FPN_EDGES,
        gather=[f"P{level} > integrate" for level in LEVELS],
        residual=["integrate > refine > add"],
        identity=["P2 > add > out"],
    ),
    "STDN": edges(
        backbone=["D1 > D2 > D3 > D4"],
        resize=[
            *(f"D4 > pool {size} > S{size}" for size in (1, 2, 3)),
            "D4 > identity > S4",
            *(f"D4 > transfer {size} > S{size}" for size in (5, 6)),
        ],
    ),
    "Parallel FPN": edges(
        backbone=["backbone > last maps"],
        resize=[f"last maps > F{level}" for level in (2, 3, 4)],
        reduce=[f"F{level} > R{level}" for level in (2, 3, 4)],
        other=["F2 > A2 > P2", "R3 > A2", "R4 > A2", "F4 > A4 > P4", "R2 > A4", "R3 > A4"],
        shown=["F3 > A3 > P3", "R2 > A3", "R4 > A3"],
    ),
    "feature reconfiguration": edges(
        backbone=["C2 > C3 > C4 > C5"],
        gather=[f"C{level} > X" for level in LEVELS],
        residual=["X > global attention > local reconf. > add"],
        identity=["C2 > add > out"],
    ),
    "zoom out-and-in": edges(
        backbone=["C3 > C4 > C5"],
        zoom=["C5 > B5 > B4 > B3"],
        gather=[f"{name}{level} > stack {level}" for level in (3, 4, 5) for name in "CB"],
        attend=[f"stack {level} > weights > P{level}" for level in (3, 4, 5)],
    ),
    "multi-level FPN": edges(
        fuse=["C4 > FFM1", "C5 > FFM1"],
        chain=["FFM1 > TUM 1 > FFM2 a > TUM 2 > FFM2 b > TUM 3"],
        base=["FFM1 > FFM2 a", "FFM1 > FFM2 b"],
        gather=[f"TUM {index} > join" for index in (1, 2, 3)],
        attend=["join > out"],
    ),
    "NAS-FPN": edges(
        cell=[
            "P6 > A4", "C4 > A4", "A4 > B4", "C4 > B4", "B4 > O3", "C3 > O3", "O3 > O4", "B4 > O4",
            "O4 > O5", "O3 > O5", "C5 > O5", "O5 > O7", "B4 > O7", "P7 > O7", "O7 > O6", "O5 > O6",
        ],
    ),
}  # fmt: skip
"""The eight designs of Figure 3.10, (a) to (h); that of NAS-FPN is the one its search found."""


def panet_convolutions(edge: Edge) -> int:
    """As in FPN, whose P has one more; 3 x 3 down and 3 x 3 after adding on the way up."""
    if edge.kind == "backbone":
        return CONVOLUTIONS[edge.target]
    if edge.kind == "augment":
        return 0 if edge.source == "P2" else 2
    return {"lateral": 2, "top_down": 0, "again": 1, "pool": 0}[edge.kind]


def _read_by_the_rest(design: str, backbone: Sequence[str]) -> set[str]:
    """Layers of the backbone that something outside of it reads."""
    return {
        edge.source for edge in DESIGNS[design]
        if edge.source in backbone and edge.target not in backbone
    }  # fmt: skip


def design_checks(numbers: Mapping[str, Any]) -> list[Check]:
    """thesis Figure 3.10: what the chapter says of each design, read off its edges."""
    way = distances(DESIGNS["PANet"], "C2", panet_convolutions)
    libra = inputs(DESIGNS["Libra FPN"], "integrate")
    stdn = _read_by_the_rest("STDN", ["D1", "D2", "D3", "D4"])
    parallel = _read_by_the_rest("Parallel FPN", ["backbone", "last maps"])
    tensor = inputs(DESIGNS["feature reconfiguration"], "X")
    zoom = {
        edge.source for edge in DESIGNS["zoom out-and-in"]
        if edge.source.startswith("C") and edge.target.startswith("B")
    }  # fmt: skip
    before = [
        sum(part.startswith("TUM") for part in feeds(DESIGNS["multi-level FPN"], f"TUM {index}"))
        for index in (1, 2, 3)
    ]
    return [
        printed_claim("(a) PANet's second way up is shorter than the backbone",
                      way["N5"] < way["P5"], f"{way['N5']} convolutions from C2, not {way['P5']}",
                      "with a ResNet-50"),
        printed_claim("(b) Libra FPN's residual comes from all levels at once",
                      libra == {"P2", "P3", "P4", "P5"}, ", ".join(sorted(libra))),
        printed_claim("(c) STDN makes six maps from the last dense block alone",
                      stdn == {"D4"} and {f"S{size}" for size in range(1, 7)}
                      <= set(parts_of(DESIGNS["STDN"])), ", ".join(sorted(stdn))),
        printed_claim("(d) Parallel FPN reads only the last layers of the backbone",
                      parallel == {"last maps"}, ", ".join(sorted(parallel))),
        printed_claim("(e) reconfiguration gathers several levels of the backbone in one tensor",
                      tensor == {"C2", "C3", "C4", "C5"}, ", ".join(sorted(tensor))),
        printed_claim("(f) zooming in has no lateral connection", zoom == {"C5"},
                      f"into B: {', '.join(sorted(zoom))}"),
        printed_claim("(g) each further U-shaped module lies deeper", before == [0, 1, 2],
                      f"modules before it: {', '.join(map(str, before))}"),
    ]  # fmt: skip


# --- thesis Figure 4.1, bbgen Figures 1 and 7 ------------------------------------------------

MIN_IOU = 0.5
GENERATED_POSITIVES = edges(
    features=["image > backbone > RPN", "backbone > RoI pooling"],
    negatives=["RPN > negatives > RoI pooling"],
    inputs=["objects > generator", "class shares > generator", "IoU shares > generator"],
    positives=["generator > RoI pooling"],
    flow=["RoI pooling > R-CNN > losses"],
)


def drawn_box() -> torch.Tensor:
    """[4], a box that the generator draws around the reference for MIN_IOU.

    The fifth of the seed's: the first ones share an edge with the reference, nearly.
    """
    return generated(5, MIN_IOU)[4]


def drawn_iou() -> float:
    """IoU of ``drawn_box`` with the reference."""
    return float(paired_iou(drawn_box()[None], REFERENCE[None]))


def _sources(graph: Sequence[Edge], kind: str) -> set[str]:
    """Where flows of a kind begin."""
    some = [edge for edge in graph if edge.kind == kind]
    return {edge.source for edge in some} - {edge.target for edge in some}


def generated_checks(numbers: Mapping[str, Any]) -> list[Check]:
    """thesis Figure 4.1: the box that is drawn here reaches T; who makes which RoIs."""
    positives = _sources(GENERATED_POSITIVES, "positives")
    negatives = _sources(GENERATED_POSITIVES, "negatives")
    return [
        printed_claim("the generated box has an IoU of at least T", drawn_iou() >= MIN_IOU,
                      f"{drawn_iou():.4f}, T = {MIN_IOU}"),
        printed_claim("positives come from the generator, negatives from the RPN",
                      (positives, negatives) == ({"generator"}, {"RPN"})),
    ]  # fmt: skip


NOT_FOR_POSITIVES = ("make proposals", "NMS", "match, sample RoIs")
FASTER_RCNN = edges(
    features=["image > feature extractor > RPN", "feature extractor > RoI pooling"],
    conventional=[
        "RPN > sample anchors > RPN losses",
        "RPN > make proposals > NMS > match, sample RoIs",
    ],
    negatives=["match, sample RoIs > RoI pooling"],
    added=["ground truth > generator"],
    positives=["generator > RoI pooling"],
    flow=["RoI pooling > R-CNN > R-CNN losses"],
)


def faster_rcnn_checks(numbers: Mapping[str, Any]) -> list[Check]:
    """bbgen Figure 7: what remains without the modules that positives do not use."""
    rest = [edge for edge in FASTER_RCNN if not {*edge[:2]} & set(NOT_FOR_POSITIVES)]
    before = feeds(rest, "R-CNN losses")
    return [
        printed_claim("positives still reach the R-CNN without the marked modules",
                      "generator" in before),
        printed_claim("its gradients still reach the feature extractor",
                      "feature extractor" in before),
        printed_claim("negatives need the marked modules",
                      set(NOT_FOR_POSITIVES) <= feeds(FASTER_RCNN, "R-CNN losses")
                      and "RPN" not in before),
    ]  # fmt: skip


# --- r3cnn Figure 1 --------------------------------------------------------------------------

TURNS = (0.5, 0.6, 0.7)
"""IoU threshold of each stage of the cascade, and of each turn of the loop."""
HTC = edges(
    features=[f"features > {part}" for part in ("RPN", "pooler 1", "pooler 2", "pooler 3")],
    boxes=[
        "RPN > pooler 1 > B1 > pooler 2 > B2 > pooler 3 > B3 > detections",
        *(f"B{stage} > M{stage}" for stage in (1, 2, 3)),
    ],
    masks=["M1 > M2 > M3 > masks"],
)
R3CNN = edges(
    features=["features > RPN", "features > pooler"],
    boxes=["RPN > pooler > B1 > detections", "B1 > M1"],
    loop=["B1 > pooler"],
    masks=["M1 > masks"],
)


def heads_of(graph: Sequence[Edge], letter: str) -> list[str]:
    """Box heads (B) or mask heads (M)."""
    return [part for part in parts_of(graph) if part[0] == letter and part[1:].isdigit()]


def recursion_checks(numbers: Mapping[str, Any]) -> list[Check]:
    """r3cnn Figure 1: three heads in a row, or one that is used three times."""
    counts = {
        name: (len(heads_of(graph, "B")), len(heads_of(graph, "M")))
        for name, graph in (("HTC", HTC), ("R3-CNN", R3CNN))
    }
    text = "{} box, {} mask"
    return [
        printed_claim("(a) HTC has three box and three mask heads", counts["HTC"] == (3, 3),
                      text.format(*counts["HTC"])),
        printed_claim("(b) R3-CNN has one of each", counts["R3-CNN"] == (1, 1),
                      text.format(*counts["R3-CNN"])),
        printed_claim("boxes of the head return to it, in R3-CNN only",
                      _returns(R3CNN, "B1") and not any(_returns(HTC, head) for head in
                                                        heads_of(HTC, "B"))),
        printed_claim("boxes are refined as often: three heads, or three turns",
                      counts["HTC"][0] == counts["R3-CNN"][0] * len(TURNS),
                      f"IoU thresholds {', '.join(str(iou) for iou in TURNS)}"),
    ]  # fmt: skip


def _returns(graph: Sequence[Edge], part: str) -> bool:
    """Whether some way leads from a part back to it."""
    return any(part in distances(graph, edge.target) for edge in graph if edge.source == part)


# --- thesis Figure 8.2 -----------------------------------------------------------------------

TASKS = ("classification", "box", "mask", "auxiliary")
USUAL = edges(
    flow=["proposals > sampler", *(f"sampler > {task} > {task} loss" for task in TASKS)],
    targets=[f"{task} target > {task} loss" for task in TASKS],
)
RANK_SORT = edges(
    flow=[f"proposals > {task} > {task} loss" for task in TASKS[:3]],
    targets=[f"{task} target > {task} loss" for task in TASKS[:3]],
)
REMOVED = ("sampler", "auxiliary", "auxiliary loss", "auxiliary target")
EXAMPLE_LOSSES = {"cls": 0.6, "box": 0.3, "mask": 0.2}
"""Any losses would do."""


def balanced() -> dict[str, float]:
    """Task -> weight by value of its loss in the example."""
    first = torch.tensor(EXAMPLE_LOSSES["cls"])
    return {
        task: float(value_weight(first, torch.tensor(loss))) for task, loss in
        EXAMPLE_LOSSES.items()
    }  # fmt: skip


def rank_sort_checks(numbers: Mapping[str, Any]) -> list[Check]:
    """thesis Figure 8.2: what is left out, and what the weights by value do."""
    gone = [part for part in parts_of(USUAL) if part not in parts_of(RANK_SORT)]
    weighted = {task: weight * EXAMPLE_LOSSES[task] for task, weight in balanced().items()}
    return [
        printed_claim("(b) lacks the sampler and the auxiliary head, and nothing else",
                      sorted(gone) == sorted(REMOVED), ", ".join(gone)),
        printed_claim("(c) weighted by value, all tasks have the loss of the classification",
                      max(weighted.values()) - min(weighted.values()) < 1e-6,
                      named_numbers(weighted)),
    ]  # fmt: skip

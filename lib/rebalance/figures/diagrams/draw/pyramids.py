"""thesis Figures 3.8 to 3.10: ways to predict at several scales, and what feature pyramids mix."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from rebalance.figures.diagrams.compute import (
    CONVOLUTIONS,
    DESIGNS,
    FPN,
    LEVELS,
    SCALES,
    fpn_depths,
)
from rebalance.figures.diagrams.draw.parts import (
    BACKBONE,
    NEW,
    PYRAMID,
    SMALL,
    STEP,
    Look,
    Node,
    Point,
    canvas,
    connect,
    place,
    pyramid,
    route,
    swatch,
    text,
    title,
)
from rebalance.figures.style import INK, PALETTE, SOFT

LIGHT = PALETTE[5]
Via = dict[tuple[str, str], Sequence[Point]]


def _moved(nodes: Mapping[str, Node], dx: float, dy: float) -> dict[str, Node]:
    return {name: node._replace(x=node.x + dx, y=node.y + dy) for name, node in nodes.items()}


def _moved_via(via: Via, dx: float, dy: float) -> Via:
    return {ends: [(x + dx, y + dy) for x, y in points] for ends, points in via.items()}


# --- Figure 3.8 ------------------------------------------------------------------------------

_ROWS = (0.62, 1.02, 1.42)


def _predictions(x: float, levels: Sequence[int]) -> dict[str, Node]:
    return {
        f"predict {level}": Node(x, _ROWS[level - 1], 0.52, 0.22, "predict", STEP)
        for level in levels
    }


def _column(letter: str, x: float, widths: Sequence[float], colour: str) -> dict[str, Node]:
    names = [f"{letter}{level}" for level in (1, 2, 3)]
    return pyramid(x, _ROWS, widths, names, colour, label="")


def _image(x: float, y: float, width: float, label: str = "image") -> Node:
    return Node(x, y, width, 0.2, label, "", "map")


def _scale_nodes() -> list[tuple[Point, dict[str, Node]]]:
    """Lower left corner and nodes of each panel."""
    wide, mid = (0.8, 0.6, 0.42), (0.62, 0.48, 0.34)
    return [
        ((0.15, 2.7), {"image": _image(0.75, 0.2, 0.95), **_column("C", 0.75, wide, BACKBONE),
                        **_predictions(1.65, [3])}),
        ((2.45, 2.7), {"image": _image(0.75, 0.2, 0.95), **_column("C", 0.75, wide, BACKBONE),
                        **_predictions(1.65, [1, 2, 3])}),
        ((4.75, 2.7), {"image": _image(0.45, 0.2, 0.75), **_column("C", 0.45, mid, BACKBONE),
                        **_column("P", 1.25, mid, PYRAMID), **_predictions(2.05, [1, 2, 3])}),
        ((0.15, 0.3), {
            "image": _image(0.6, 0.2, 0.95), "image ½": _image(1.75, 0.2, 0.66, "½"),
            "image ¼": _image(2.75, 0.2, 0.44, "¼"),
            **_column("C", 0.6, wide, BACKBONE), **_column("D", 1.75, (0.56, 0.42, 0.3), BACKBONE),
            **_column("E", 2.75, (0.38, 0.28, 0.2), BACKBONE),
            **{f"predict {index}": Node(x, 1.82, 0.52, 0.22, "predict", STEP)
               for index, x in ((1, 0.6), (2, 1.75), (3, 2.75))},
        }),
        ((3.65, 0.3), {
            "image": _image(1.55, 0.2, 0.7), "image ½": _image(0.25, 1.02, 0.4, "½"),
            "image ¼": _image(0.25, 1.42, 0.28, "¼"),
            "light 2": Node(0.8, 1.02, 0.4, 0.22, "light", LIGHT),
            "light 3": Node(0.8, 1.42, 0.4, 0.22, "light", LIGHT),
            **_column("C", 1.55, (0.58, 0.46, 0.34), BACKBONE),
            **_column("P", 2.36, (0.54, 0.44, 0.32), PYRAMID), **_predictions(3.12, [1, 2, 3]),
        }),
    ]  # fmt: skip


def plot_scales() -> Figure:
    """Five ways to predict objects of different sizes."""
    fig, ax = canvas(4.72)
    looks = {"top_down": Look(PYRAMID, 1.1), "forward": Look(PYRAMID, 1.1),
             "lateral": Look(PYRAMID, 1.1), "light": Look(LIGHT, 1.1),
             "backbone": Look(BACKBONE, 1.1), "resize": Look(SOFT, 0.9, True)}  # fmt: skip
    for letter, (name, graph), ((dx, dy), nodes) in zip(
        "abcde", SCALES.items(), _scale_nodes(), strict=True
    ):
        nodes = _moved(nodes, dx, dy)
        place(ax, nodes)
        connect(ax, nodes, graph, looks)
        title(ax, dx, dy + (1.82 if letter in "abc" else 2.14), f"({letter}) {name}")
    for x, words, look in (
        (0.2, "backbone", looks["backbone"]), (1.45, "feature pyramid", looks["lateral"]),
        (3.05, "light network", looks["light"]), (4.5, "resized image", looks["resize"]),
        (5.9, "to a prediction", Look()),
    ):  # fmt: skip
        swatch(ax, x, 0.16, words, look)
    return fig


# --- Figure 3.9 ------------------------------------------------------------------------------


def plot_feature_imbalance() -> Figure:
    """Ways from C2 to the levels of an FPN, with the convolutions on them."""
    fig, ax = canvas(2.75)
    ys = [0.3 + 0.58 * index for index in range(4)]
    nodes = {
        **pyramid(0.95, ys, (1.1, 0.88, 0.68, 0.48), [f"C{i}" for i in LEVELS], BACKBONE, 0.22),
        **pyramid(2.35, ys, (0.9, 0.74, 0.58, 0.42), [f"M{i}" for i in LEVELS], STEP, 0.22),
        **pyramid(3.7, ys, (0.9, 0.74, 0.58, 0.42), [f"P{i}" for i in LEVELS], PYRAMID, 0.22),
    }
    near = ["C2", "M2", "P2"]
    far = ["C2", "C3", "C4", "C5", "M5", "P5"]
    place(ax, nodes)
    for edge in FPN:
        kind = _on_way(edge[:2], near, far)
        connect(ax, nodes, [edge], {edge.kind: Look(*kind)})
        (x1, y1), (x2, y2) = route(nodes[edge.source], nodes[edge.target])
        words = {"lateral": "1×1", "output": "3×3"}.get(edge.kind)
        if edge.kind == "backbone":
            text(ax, x1 - 0.08, (y1 + y2) / 2, f"{CONVOLUTIONS[edge.target]} convolutions", SMALL,
                 ha="right")  # fmt: skip
        elif edge.kind == "top_down":
            text(ax, x1 + 0.08, (y1 + y2) / 2, "upsample, add", SMALL, ha="left")
        else:
            text(ax, (x1 + x2) / 2 - 0.02, y1 + 0.09, str(words), SMALL)
    for x, words in ((0.95, "backbone"), (2.35, "merged"), (3.7, "pyramid")):
        text(ax, x, 2.4, words, fontweight="bold")
    words = "convolutions on the shortest way\nfrom C2, with a ResNet-50"
    text(ax, 4.55, 2.5, words, ha="left", fontweight="bold")
    for y, (name, depth) in zip(ys, fpn_depths().items(), strict=True):
        colour = {"P2": PYRAMID, "P5": NEW}.get(name, STEP)
        width = 1.9 * depth / max(fpn_depths().values())
        ax.add_patch(Rectangle((4.55, y - 0.1), width, 0.2, facecolor=colour, linewidth=0))
        text(ax, 4.6 + width, y, f"{depth}  to {name}", ha="left")
    return fig


def _on_way(ends: tuple[str, str], near: Sequence[str], far: Sequence[str]) -> Look:
    """Colour of an edge: on the short way, on the long one, or on neither."""
    for way, colour in ((near, PYRAMID), (far, NEW)):
        if ends in pairwise(way):
            return Look(colour, 2.0)
    return Look()


# --- Figure 3.10 -----------------------------------------------------------------------------

_FOUR = (0.2, 0.58, 0.96, 1.34)
_SIZES = (0.56, 0.46, 0.36, 0.28)


def _levels(
    letter: str,
    x: float,
    colour: str,
    widths: Sequence[float] = _SIZES,
    ys: Sequence[float] = _FOUR,
) -> dict[str, Node]:
    start = 2 if len(ys) == 4 else 3
    names = [f"{letter}{start + index}" for index in range(len(ys))]
    return pyramid(x, ys, widths, names, colour)


def _plus(x: float, y: float) -> Node:
    return Node(x, y, 0.18, 0.18, "+", INK, "op")


def _panet() -> tuple[dict[str, Node], Via]:
    return {
        **_levels("C", 0.4, BACKBONE), **_levels("P", 1.2, PYRAMID), **_levels("N", 2.0, NEW),
        "pool all levels": Node(3.0, 0.77, 0.72, 1.36, "RoI pooling\non all\nlevels", STEP),
    }, {}  # fmt: skip


def _libra() -> tuple[dict[str, Node], Via]:
    return {
        **_levels("C", 0.4, BACKBONE), **_levels("P", 1.1, PYRAMID),
        "integrate": Node(1.9, 0.77, 0.52, 1.36, "resize,\naverage", STEP),
        "refine": Node(2.68, 0.96, 0.6, 0.44, "conv. or\nnon-local", NEW),
        "add": _plus(2.68, 0.3), "out": Node(3.15, 0.3, 0.34, 0.2, "P2′", PYRAMID, "map"),
    }, {("P2", "add"): [(1.1, -0.02), (2.68, -0.02)]}  # fmt: skip


def _stdn() -> tuple[dict[str, Node], Via]:
    nodes = {
        f"D{index}": Node(0.12 + 0.38 * index - 0.16, 0.77, 0.28, 0.5, None, BACKBONE)
        for index in (1, 2, 3, 4)
    }
    ys = [1.44 - 0.27 * index for index in range(6)]
    ops = ["pool 1", "pool 2", "pool 3", "identity", "transfer 5", "transfer 6"]
    words = ["mean pool"] * 3 + ["identity"] + ["scale transfer"] * 2
    for index, (op, label, y) in enumerate(zip(ops, words, ys, strict=True)):
        nodes[op] = Node(2.25, y, 0.8, 0.19, label, STEP)
        width = 0.24 + 0.06 * index
        nodes[f"S{index + 1}"] = Node(3.1, y, width, 0.18, "", PYRAMID, "map")
    return nodes, {("D4", op): [(1.7, 0.77), (1.7, y)] for op, y in zip(ops, ys, strict=True)}


def _parallel() -> tuple[dict[str, Node], Via]:
    nodes = {
        "backbone": Node(0.3, 0.75, 0.58, 0.3, None, BACKBONE),
        "last maps": Node(0.87, 0.75, 0.32, 0.44, "last\ntwo", BACKBONE),
    }
    via: Via = {}
    for level, y in ((2, 0.24), (3, 0.75), (4, 1.26)):
        width = {2: 0.42, 3: 0.34, 4: 0.26}[level]
        nodes[f"behind F{level}"] = Node(1.46, y + 0.05, width, 0.16, "", BACKBONE, "map")
        nodes[f"F{level}"] = Node(1.42, y, width, 0.16, "", BACKBONE, "map")
        nodes[f"R{level}"] = Node(1.98, y, 0.8 * width, 0.16, "", PYRAMID, "map")
        nodes[f"A{level}"] = Node(2.62, y, 0.44, 0.22, "MSCA", STEP)
        nodes[f"P{level}"] = Node(3.16, y, width, 0.2, None, PYRAMID, "map")
        via[f"F{level}", f"A{level}"] = [(1.46, y + 0.24), (2.62, y + 0.24)]
    return nodes, via


def _reconfiguration() -> tuple[dict[str, Node], Via]:
    return {
        **_levels("C", 0.4, BACKBONE),
        "X": Node(1.05, 0.77, 0.26, 1.36, "X", STEP),
        "global attention": Node(1.75, 0.96, 0.62, 0.44, "global\nattention", NEW),
        "local reconf.": Node(2.68, 0.96, 0.74, 0.44, "local recon-\nfiguration", NEW),
        "add": _plus(2.68, 0.3), "out": Node(3.15, 0.3, 0.34, 0.2, "P2", PYRAMID, "map"),
    }, {("C2", "add"): [(0.4, -0.02), (2.68, -0.02)]}  # fmt: skip


def _zoom() -> tuple[dict[str, Node], Via]:
    ys, widths = (0.24, 0.77, 1.3), (0.5, 0.4, 0.3)
    return {
        **_levels("C", 0.35, BACKBONE, widths, ys), **_levels("B", 1.05, NEW, widths, ys),
        **{f"stack {level}": Node(1.72, y, 0.4, 0.24, "join", STEP)
           for level, y in zip((3, 4, 5), ys, strict=True)},
        "weights": Node(2.42, 0.77, 0.56, 1.3, "learned\nweights\nof maps\n(MAD)", STEP),
        **_levels("P", 3.12, PYRAMID, (0.44, 0.34, 0.28), ys),
    }, {("C3", "stack 3"): [(0.5, 0.02), (1.72, 0.02)],
        ("C4", "stack 4"): [(0.5, 0.53), (1.72, 0.53)],
        ("C5", "stack 5"): [(0.4, 1.52), (1.72, 1.52)]}  # fmt: skip


def _multi_level() -> tuple[dict[str, Node], Via]:
    nodes = {
        "C4": Node(0.26, 0.42, 0.4, 0.2, None, BACKBONE, "map"),
        "C5": Node(0.26, 0.82, 0.3, 0.2, None, BACKBONE, "map"),
        "FFM1": Node(0.82, 0.42, 0.42, 0.24, "FFMv1", STEP),
        "FFM2 a": Node(1.66, 0.42, 0.42, 0.24, "FFMv2", STEP),
        "FFM2 b": Node(2.46, 0.42, 0.42, 0.24, "FFMv2", STEP),
        "join": Node(1.9, 1.36, 2.3, 0.24, "join maps of equal size, weigh channels", STEP),
        "out": Node(3.32, 1.36, 0.26, 0.2, "P", PYRAMID, "map"),
    }
    for index, x in ((1, 1.25), (2, 2.06), (3, 2.87)):
        nodes[f"TUM {index}"] = Node(x, 0.9, 0.44, 0.3, None, NEW)
    below = 0.12
    return nodes, {
        ("FFM1", "FFM2 a"): [(0.82, below), (1.66, below)],
        ("FFM1", "FFM2 b"): [(0.82, below), (2.46, below)],
        ("C5", "FFM1"): [(0.82, 0.82)],
    }


def _nas() -> tuple[dict[str, Node], Via]:
    def at(column: float, level: int) -> tuple[float, float]:
        return 0.26 + 0.41 * column, 0.12 + 0.33 * (level - 3)

    names = ("C3", "C4", "C5", "P6", "P7")
    nodes = {
        name: Node(*at(0, level), 0.38 - 0.02 * level, 0.18, None, BACKBONE, "map")
        for level, name in enumerate(names, start=3)
    }
    cells = (("A4", 1.4, 4, "×"), ("B4", 2.3, 4, "+"), ("O3", 3.2, 3, "+"), ("O4", 4.2, 4, "+"),
             ("O5", 5.4, 5, "×"), ("O7", 6.4, 7, "×"), ("O6", 7.4, 6, "×"))  # fmt: skip
    for name, column, level, sign in cells:
        colour = PYRAMID if name[0] == "O" else STEP
        nodes[name] = Node(*at(column, level), 0.2, 0.2, sign, colour, "op")
    corner, (x, y) = at(5.4, 3), at(2.3, 4)
    return nodes, {("O3", "O5"): [corner], ("C4", "B4"): [(0.3, y - 0.18), (x, y - 0.18)]}


_PANELS = {
    "PANet": _panet, "Libra FPN": _libra, "STDN": _stdn, "Parallel FPN": _parallel,
    "feature reconfiguration": _reconfiguration, "zoom out-and-in": _zoom,
    "multi-level FPN": _multi_level, "NAS-FPN": _nas,
}  # fmt: skip
_REMARKS = {
    "Libra FPN": "shown for P2",
    "Parallel FPN": "what MSCA takes for P3 in orange",
    "feature reconfiguration": "for P2; X joins all levels",
    "NAS-FPN": "a row per level; × pools to weigh, + adds",
}


def plot_pyramid_designs() -> Figure:
    """Eight designs that mix low- and high-level features better than an FPN."""
    fig, ax = canvas(8.3)
    looks = {
        "backbone": Look(BACKBONE, 1.1), "lateral": Look(PYRAMID), "top_down": Look(PYRAMID, 1.1),
        "augment": Look(NEW, 1.5), "residual": Look(NEW, 1.5), "zoom": Look(NEW, 1.5),
        "shown": Look(NEW, 1.5), "chain": Look(NEW, 1.5), "other": Look("#b9c0cb", 0.8),
    }  # fmt: skip
    for index, (name, graph) in enumerate(DESIGNS.items()):
        dx, dy = 0.1 + 3.6 * (index % 2), 6.42 - 2.0 * (index // 2)
        nodes, via = _PANELS[name]()
        nodes = _moved(nodes, dx, dy)
        place(ax, nodes)
        connect(ax, nodes, graph, looks, _moved_via(via, dx, dy))
        title(ax, dx, dy + 1.75, f"({'abcdefgh'[index]}) {name}")
        if name in _REMARKS:
            text(ax, dx + 3.4, dy + 1.75, _REMARKS[name], SMALL, ha="right", color=SOFT)
    for x, colour, words in (
        (0.5, BACKBONE, "backbone"), (1.8, PYRAMID, "pyramid"),
        (3.0, NEW, "what the design adds, or changes"), (5.6, STEP, "other steps"),
    ):  # fmt: skip
        place(ax, {"": Node(x, 0.14, 0.22, 0.12, "", colour)})
        text(ax, x + 0.18, 0.14, words, SMALL, ha="left")
    return fig

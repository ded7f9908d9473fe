"""``shapes``: a synthetic detection set drawn from a seed, for runs without any download.

It has, in small, what the five works are about: long-tailed classes, sizes from a tenth to more
than half of the image, slender objects (sides up to 1:6), objects that hide each other, clutter,
crowd regions, truncated objects and images without objects. Boxes and masks are those of the
visible part, as in COCO.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from rebalance.data.files import own_folder, write_atomically
from rebalance.errors import InputError

# Class k is drawn with a probability proportional to 1 / k (Zipf): the first is 8 times the last.
CLASS_NAMES = ("disc", "box", "bar", "triangle", "ring", "star", "cross", "heart")
_HUES = (0.00, 0.60, 0.12, 0.36, 0.50, 0.86, 0.72, 0.24)
_ASPECTS = {"bar": (3.0, 6.0), "box": (1.0, 2.0), "disc": (1.0, 1.5), "triangle": (1.0, 2.0)}

_SUBPIXELS = 4  # per pixel and axis: edges are smooth and boxes are exact to a quarter of a pixel
_EMPTY_IMAGES = 0.03
_CROWDED_IMAGES = 0.08
_MIN_VISIBLE = 0.45  # of its area, or an object is not placed over the others


@dataclass
class Instance:
    """One annotated object or crowd region of a drawn image.

    Attributes:
        class_id: 1..C, the category id.
        box: (x1, y1, x2, y2), pixels, around the visible part.
        area: visible area, square pixels.
        segmentation: COCO polygons, or uncompressed RLE where the object is partly hidden.
        crowd: whether this is a region of many objects.
        truncated: whether the image's edge cuts it.
        difficult: hard to recognise (VOC's sense): mostly hidden, tiny, or a crowd.
    """

    class_id: int
    box: tuple[float, float, float, float]
    area: float
    segmentation: Any
    crowd: bool
    truncated: bool
    difficult: bool


@dataclass
class Scene:
    """One drawn image: ``pixels`` uint8 [H, W, 3] and its instances."""

    pixels: np.ndarray
    instances: list[Instance] = field(default_factory=list)


@dataclass
class _Window:
    """A part of the canvas, whole pixels, given in subpixels."""

    x1: int
    y1: int
    x2: int
    y2: int

    def of(self, canvas: np.ndarray) -> np.ndarray:
        return canvas[self.y1 : self.y2, self.x1 : self.x2]


@dataclass
class _Placed:
    class_id: int
    outline: np.ndarray  # [P, 2] xy in pixels
    hole: np.ndarray  # [Q, 2], empty if there is none
    color: np.ndarray
    window: _Window
    mask: np.ndarray  # bool, the size of the window: all of the shape that is inside the image
    crowd: bool


def make_shapes(
    out_dir: str | Path,
    num_train: int = 1000,
    num_val: int = 200,
    image_size: int = 96,
    seed: int = 0,
    vary_aspect: bool = False,
) -> None:
    """Write ``annotations/{train,val}.json`` (COCO JSON) and ``images/{train,val}/``.

    Image i of a split depends on (seed, split, i) only. An annotation file is written last and in
    one step, so its presence means that its images are complete.

    Args:
        out_dir: dataset folder; files of an earlier call are replaced.
        num_train: images of the training split.
        num_val: images of the validation split.
        image_size: longer side, pixels, at least 32.
        seed: of everything random.
        vary_aspect: make two thirds of the images 3:4 or 4:3 instead of square.

    Raises:
        InputError: a number out of its range.
    """
    check_drawing_options(num_train, num_val, image_size, seed)
    with own_folder(out_dir) as out:
        splits = {"train": num_train, "val": num_val}
        files = {split: out / "annotations" / f"{split}.json" for split in splits}
        for path in files.values():
            path.unlink(missing_ok=True)
        for split, count in splits.items():
            (out / "images" / split).mkdir(parents=True, exist_ok=True)
            images: list[dict[str, Any]] = []
            annotations: list[dict[str, Any]] = []
            scenes = draw_scenes(split, count, image_size, seed, vary_aspect)
            for image_id, scene in enumerate(scenes, start=1):
                file_name = f"{split}/{image_id:06d}.jpg"
                save_jpeg(scene.pixels, out / "images" / file_name)
                height, width = scene.pixels.shape[:2]
                images.append(
                    {"id": image_id, "file_name": file_name, "width": width, "height": height}
                )
                for instance in scene.instances:
                    annotations.append(_coco_annotation(instance, len(annotations) + 1, image_id))
            coco = {
                "info": {"description": f"Rebalance shapes, split {split}, seed {seed}"},
                "images": images,
                "annotations": annotations,
                "categories": [
                    {"id": class_id, "name": name, "supercategory": "shape"}
                    for class_id, name in enumerate(CLASS_NAMES, start=1)
                ],
            }
            write_atomically(files[split], json.dumps(coco).encode())


def check_drawing_options(num_train: int, num_val: int, image_size: int, seed: int) -> None:
    """Refuse a number that is out of its range by its name."""
    least = {"num_train": 1, "num_val": 1, "image_size": 32, "seed": 0}
    given = {"num_train": num_train, "num_val": num_val, "image_size": image_size, "seed": seed}
    for name, value in given.items():
        if value < least[name]:
            raise InputError(f"shapes: {name} must be at least {least[name]}, got {value}")


def draw_scenes(
    split: str, count: int, image_size: int, seed: int, vary_aspect: bool = False
) -> Iterator[Scene]:
    """The images of a split, one after the other; the arguments are those of `make_shapes`."""
    for index in range(count):
        rng = np.random.default_rng([seed, int.from_bytes(split.encode()), index])
        short = round(image_size * 0.75)
        sizes = [(image_size, image_size), (short, image_size), (image_size, short)]
        height, width = sizes[rng.integers(3)] if vary_aspect else sizes[0]
        yield draw_scene(height, width, rng)


def save_jpeg(pixels: np.ndarray, path: Path) -> None:
    """Write uint8 [H, W, 3] as JPEG, quality 95, colour not subsampled."""
    Image.fromarray(pixels).save(path, format="JPEG", quality=95, subsampling=0)


def _coco_annotation(instance: Instance, annotation_id: int, image_id: int) -> dict[str, Any]:
    x1, y1, x2, y2 = instance.box
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": instance.class_id,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": instance.area,
        "iscrowd": int(instance.crowd),
        "segmentation": instance.segmentation,
    }


def draw_scene(height: int, width: int, rng: np.random.Generator) -> Scene:
    """Draw one image of the given size; everything random comes from ``rng``."""
    canvas = Image.fromarray(_background(height, width, rng)).resize(
        (width * _SUBPIXELS, height * _SUBPIXELS), Image.Resampling.NEAREST
    )
    _draw_clutter(canvas, rng)
    placed, owner = _place_objects(height, width, rng)
    for shape in placed:
        _draw_object(canvas, shape, rng)
    pixels = np.asarray(canvas.reduce(_SUBPIXELS)).astype(np.float32)
    pixels += rng.normal(0, 4, size=pixels.shape)
    scene = Scene(np.clip(pixels, 0, 255).astype(np.uint8))
    groups: dict[int, list[int]] = {}
    for number, shape in enumerate(placed, start=1):
        # All members of a crowd are one annotation, keyed by -class so that it comes first.
        groups.setdefault(-shape.class_id if shape.crowd else number, []).append(number)
    for numbers in groups.values():
        scene.instances.append(_annotate(placed, numbers, owner))
    return scene


def _background(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Muted colours that vary slowly, with stripes of low contrast."""
    coarse = rng.uniform(70, 175, size=(4, 4, 1)) + rng.normal(0, 12, size=(4, 4, 3))
    texture = Image.fromarray(np.clip(coarse, 0, 255).astype(np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    y, x = np.mgrid[:height, :width]
    angle, period = rng.uniform(0, math.pi), rng.uniform(4, 16)
    phase = (x * math.cos(angle) + y * math.sin(angle)) * 2 * math.pi / period
    stripes = rng.uniform(0, 14) * np.sin(phase)[..., None]
    return np.clip(np.asarray(texture) + stripes, 0, 255).astype(np.uint8)


def _draw_clutter(canvas: Image.Image, rng: np.random.Generator) -> None:
    """Grey lines and polygons that are no objects."""
    draw = ImageDraw.Draw(canvas)
    size = np.array(canvas.size)
    for _ in range(rng.integers(2, 9)):
        grey = rng.uniform(30, 225) + rng.normal(0, 10, size=3)
        color = tuple(int(value) for value in np.clip(grey, 0, 255))
        if rng.random() < 0.5:
            ends = rng.uniform(0, 1, size=(2, 2)) * size
            draw.line([tuple(end) for end in ends], fill=color, width=int(rng.integers(3, 12)))
        else:
            corners = rng.uniform(0, 1, size=2) * size + rng.normal(0, 0.08, size=(4, 2)) * size
            draw.polygon([tuple(corner) for corner in corners], fill=color)


def _place_objects(
    height: int, width: int, rng: np.random.Generator
) -> tuple[list[_Placed], np.ndarray]:
    """Shapes in drawing order and, per subpixel, the number (from 1) of the top one, or 0."""
    owner = np.zeros((height * _SUBPIXELS, width * _SUBPIXELS), dtype=np.int32)
    placed: list[_Placed] = []
    if rng.random() < _EMPTY_IMAGES:
        return placed, owner
    frequencies = 1 / np.arange(1, len(CLASS_NAMES) + 1)
    frequencies /= frequencies.sum()
    side = min(height, width)

    def place(shape: _Placed, keep_visible: bool) -> None:
        below = shape.window.of(owner)
        hidden = np.bincount(below[shape.mask], minlength=len(placed) + 1)[1:]
        if keep_visible:
            for number in np.flatnonzero(hidden) + 1:
                other = placed[number - 1]
                shown = np.sum(other.window.of(owner) == number) - hidden[number - 1]
                if shown < _MIN_VISIBLE * other.mask.sum():
                    return
        if shape.mask.any():
            placed.append(shape)
            below[shape.mask] = len(placed)

    if rng.random() < _CROWDED_IMAGES:
        class_id = int(rng.choice(len(CLASS_NAMES), p=frequencies)) + 1
        middle = rng.uniform(0.25, 0.75, size=2) * (width, height)
        for _ in range(rng.integers(7, 13)):
            center = middle + rng.normal(0, 0.1, size=2) * side
            size = side * rng.uniform(0.08, 0.13)
            place(_shape(class_id, center, size, owner.shape, rng, crowd=True), keep_visible=False)
    for _ in range(rng.integers(1, 7)):
        class_id = int(rng.choice(len(CLASS_NAMES), p=frequencies)) + 1
        size = side * math.exp(rng.uniform(math.log(0.11), math.log(0.6)))
        if CLASS_NAMES[class_id - 1] == "bar":
            size = min(size, 0.4 * side)  # the long side then fits into the image
        margin = min(0.35 * size / side, 0.3)  # keeps the middle well inside, the edge may cut
        center = rng.uniform(margin, 1 - margin, size=2) * (width, height)
        place(_shape(class_id, center, size, owner.shape, rng, crowd=False), keep_visible=True)
    return placed, owner


def _shape(
    class_id: int,
    center: np.ndarray,
    size: float,
    canvas: tuple[int, ...],
    rng: np.random.Generator,
    crowd: bool,
) -> _Placed:
    """A shape of a class around ``center``; the geometric mean of its sides is about ``size``."""
    name = CLASS_NAMES[class_id - 1]
    aspect = math.exp(rng.uniform(*np.log(_ASPECTS.get(name, (1.0, 1.25)))))
    sides = np.array([size * math.sqrt(aspect), size / math.sqrt(aspect)])
    tilt = rng.normal(0, math.radians(5 if name == "bar" else 12))
    if rng.random() < 0.5 and name in ("bar", "box", "disc"):
        tilt += math.pi / 2  # lying or standing; the other shapes have an upright side
    rotation = np.array([[math.cos(tilt), -math.sin(tilt)], [math.sin(tilt), math.cos(tilt)]])
    outline, holes = _unit_outline(name)
    hue = _HUES[class_id - 1] + rng.uniform(-0.03, 0.03)
    color = _rgb(hue % 1.0, rng.uniform(0.7, 1.0), rng.uniform(0.7, 1.0))
    corners = (outline * sides / 2) @ rotation.T + center
    hole = (holes * sides / 2) @ rotation.T + center
    window, mask = _raster(corners, hole, canvas)
    return _Placed(class_id, corners, hole, color, window, mask, crowd)


def _unit_outline(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Corners of a shape within [-1, 1] x [-1, 1], y down, and those of its hole (or none)."""
    turn = np.linspace(0, 2 * math.pi, 32, endpoint=False)
    circle = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    none = np.zeros((0, 2))
    if name in ("box", "bar"):
        return np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], dtype=float), none
    if name == "triangle":
        return np.array([[0, -1], [1, 1], [-1, 1]], dtype=float), none
    if name == "ring":
        return circle, circle * 0.5
    if name == "star":
        turn = np.linspace(0, 2 * math.pi, 10, endpoint=False) - math.pi / 2
        radius = np.where(np.arange(10) % 2 == 0, 1.0, 0.45)
        return np.stack([radius * np.cos(turn), radius * np.sin(turn)], axis=1), none
    if name == "cross":
        a = 0.34
        corner = [[-a, -1], [a, -1], [a, -a], [1, -a], [1, a], [a, a]]
        return np.array([*corner, *[[-x, -y] for x, y in corner]], dtype=float), none
    if name == "heart":
        x = np.sin(turn) ** 3
        y = -(13 * np.cos(turn) - 5 * np.cos(2 * turn) - 2 * np.cos(3 * turn) - np.cos(4 * turn))
        return np.stack([x, y / 14.5 - 0.16], axis=1), none
    assert name == "disc", name
    return circle, none


def _rgb(hue: float, saturation: float, value: float) -> np.ndarray:
    """Colour as [3] in 0..255; all arguments in [0, 1]."""
    steps = (np.array([5, 3, 1]) + hue * 6) % 6
    return 255 * value * (1 - saturation * np.clip(np.minimum(steps, 4 - steps), 0, 1))


def _raster(
    outline: np.ndarray, hole: np.ndarray, canvas: tuple[int, ...]
) -> tuple[_Window, np.ndarray]:
    """The window of the canvas (H, W in subpixels) that holds a shape, and the shape in it."""
    limit = np.array([canvas[1], canvas[0]]) // _SUBPIXELS
    low = np.clip(np.floor(outline.min(axis=0) - 1), 0, limit).astype(int)
    high = np.clip(np.ceil(outline.max(axis=0) + 1), low, limit).astype(int)
    x1, y1, x2, y2 = (np.concatenate([low, high]) * _SUBPIXELS).tolist()
    image = Image.new("L", (x2 - x1, y2 - y1))
    draw = ImageDraw.Draw(image)
    draw.polygon(_in_subpixels(outline - low), fill=1)
    if len(hole):
        draw.polygon(_in_subpixels(hole - low), fill=0)
    return _Window(x1, y1, x2, y2), np.asarray(image).astype(bool)


def _in_subpixels(corners: np.ndarray) -> list[tuple[float, float]]:
    # Pillow's integer coordinates are the middles of pixels, ours are their edges.
    return [(x * _SUBPIXELS - 0.5, y * _SUBPIXELS - 0.5) for x, y in corners.tolist()]


def _draw_object(canvas: Image.Image, shape: _Placed, rng: np.random.Generator) -> None:
    """Fill a shape with its colour under a slope of light, with a darker rim."""
    height, width = shape.mask.shape
    y = np.arange(height)[:, None] / max(width, height)
    x = np.arange(width) / max(width, height)
    angle = rng.uniform(0, 2 * math.pi)
    light = 1 + rng.uniform(0, 0.25) * (x * math.cos(angle) + y * math.sin(angle) - 0.5)
    fill = np.clip(light[..., None] * shape.color, 0, 255).astype(np.uint8)
    corner = (shape.window.x1, shape.window.y1)
    canvas.paste(Image.fromarray(fill), corner, Image.fromarray(shape.mask))
    rim = tuple(int(value) for value in 0.45 * shape.color)
    draw = ImageDraw.Draw(canvas)
    for corners in (shape.outline, shape.hole):
        if len(corners):
            points = _in_subpixels(corners)
            draw.line([*points, points[0]], fill=rim, width=2)


def _annotate(placed: list[_Placed], numbers: list[int], owner: np.ndarray) -> Instance:
    """The annotation of the shapes with these numbers: one object, or a crowd as a whole."""
    members = [placed[number - 1] for number in numbers]
    first = members[0]
    window = _Window(
        min(member.window.x1 for member in members),
        min(member.window.y1 for member in members),
        max(member.window.x2 for member in members),
        max(member.window.y2 for member in members),
    )
    visible = np.isin(window.of(owner), numbers)
    mask = _whole_pixels(visible)
    # Within the mask: a sliver beside whatever hides the rest does not stretch the box.
    box = Image.fromarray(visible & mask.repeat(_SUBPIXELS, 0).repeat(_SUBPIXELS, 1)).getbbox()
    assert box is not None, "of every object and of every crowd a part stays visible"
    pixels = np.array(owner.shape[::-1]) // _SUBPIXELS
    outlines = np.concatenate([member.outline for member in members])
    truncated = bool((outlines < 0).any() or (outlines > pixels).any())
    whole = len(members) == 1 and not truncated and np.array_equal(visible, first.mask)
    if whole and not len(first.hole) and not first.crowd:
        segmentation: Any = [[round(value, 2) for value in first.outline.ravel().tolist()]]
    else:
        segmentation = _run_lengths(mask, window, owner.shape)
    area = float(visible.sum()) / _SUBPIXELS**2
    mostly_hidden = visible.sum() < 0.6 * sum(member.mask.sum() for member in members)
    offsets = (window.x1, window.y1, window.x1, window.y1)
    x1, y1, x2, y2 = (
        (edge + offset) / _SUBPIXELS for edge, offset in zip(box, offsets, strict=True)
    )
    return Instance(
        class_id=first.class_id,
        box=(x1, y1, x2, y2),
        area=area,
        segmentation=segmentation,
        crowd=first.crowd,
        truncated=truncated,
        difficult=bool(first.crowd or mostly_hidden or area < 60),
    )


def _whole_pixels(visible: np.ndarray) -> np.ndarray:
    """The pixels of which at least half of the subpixels are visible, bool [H, W]."""
    rows, columns = (size // _SUBPIXELS for size in visible.shape)
    cells = visible.reshape(rows, _SUBPIXELS, columns, _SUBPIXELS)
    return cells.sum(axis=(1, 3)) >= _SUBPIXELS**2 / 2


def _run_lengths(part: np.ndarray, window: _Window, canvas: tuple[int, ...]) -> dict[str, Any]:
    """Uncompressed COCO RLE (column by column, starting with zeros) of a mask in a window."""
    height, width = (size // _SUBPIXELS for size in canvas)
    mask = np.zeros((height, width), dtype=bool)
    x, y = window.x1 // _SUBPIXELS, window.y1 // _SUBPIXELS
    mask[y : y + part.shape[0], x : x + part.shape[1]] = part
    flat = np.concatenate([[False], mask.T.ravel(), [not mask[-1, -1]]])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(np.concatenate([[0], changes]))
    return {"counts": counts.tolist(), "size": [height, width]}

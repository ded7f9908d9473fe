"""Settings of one run: how layers merge, which parts they name, which code they depend on.

Apart from ``rebalance.experiments``, which reads and checks all of ``config/``: a training depends
on this file, and a change to the checks of tables and figures must not train anything again.
"""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from rebalance.sources import LOOKUP_TABLES, parts, source_files

MASK_STEPS = ("mask", "prototypes", "grid")
"""Kinds of steps that train on instance masks."""


def merged(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``change`` on top.

    Mappings merge key by key, but one that has a ``name`` replaces the mapping below it as a whole:
    the options of a smooth L1 loss mean nothing to the IoU loss put in its place.
    """
    result = copy.deepcopy(dict(base))
    for key, value in change.items():
        below = result.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping) and "name" not in value:
            result[key] = merged(below, value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def named_parts(
    detector: Mapping[str, Any], where: str = "detector"
) -> Iterator[tuple[str, Mapping[str, Any], str]]:
    """Every objective, loss, weighting, assigner (and overlap), sampler, RoI source of a detector.

    Args:
        detector: a run's ``detector`` settings, or a part of them.
        where: their place, which the places below start with.

    Returns:
        Kind of the part (a key of ``LOOKUP_TABLES``), its settings, its place.
    """
    kinds = {"rois": "roi_source"} | {kind: kind for kind in LOOKUP_TABLES}
    for key, value in detector.items():
        if key == "objective":
            yield "objective", value, f"{where}.{key}"
            yield from _parts_of_objective(value, f"{where}.{key}")
        elif isinstance(value, Mapping):
            if key in kinds and value.get("name"):
                yield kinds[key], value, f"{where}.{key}"
            yield from named_parts(value, f"{where}.{key}")


def _parts_of_objective(
    objective: Mapping[str, Any], where: str
) -> Iterator[tuple[str, Mapping[str, Any], str]]:
    for key, value in objective.items():
        place = f"{where}.{key}"
        if key in ("weigh", "balance"):
            settings = value if isinstance(value, Mapping) else {"name": value}
            yield {"weigh": "instance_weights"}.get(key, key), settings, place
        elif key == "costs_by":
            yield from _parts_of_objective(value, place)
        elif isinstance(value, Mapping):
            yield "loss", value, place
            weigh = {"weigh": value["weigh"]} if value.get("weigh") else {}
            yield from _parts_of_objective(weigh, place)


def needs_masks(detector: Mapping[str, Any]) -> bool:
    """Whether a detector trains on instance masks.

    Args:
        detector: a run's ``detector`` settings; the kinds of its ``steps`` are read, which are
            ``<kind>`` or ``{<kind>: <head>, ...}``.
    """
    return any(
        kind in MASK_STEPS
        for step in detector.get("steps", ())
        for kind in (step if isinstance(step, Mapping) else (step,))
    )


def run_sources(resolved: Mapping[str, Any]) -> list[str]:
    """Library files that a training of this run depends on.

    The engine, the detectors and what they import, and of the losses, assigners and samplers only
    the files of those that the run names.
    """
    modules = ["rebalance.engine.train"]
    modules += [parts("backbone")[resolved["backbone"]["name"]].module]
    for kind, settings, _ in named_parts(resolved["detector"]):
        modules.append(parts(kind)[settings["name"]].module)
    return [str(path) for path in source_files(modules)]

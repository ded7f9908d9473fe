"""Settings of one run: how layers merge, which parts they name, which code they depend on.

Apart from ``rebalance.experiments``, which reads and checks all of ``config/``: a training depends
on this file, and a change to the checks of tables and figures must not train anything again.
"""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from rebalance.sources import LOOKUP_TABLES, fingerprint


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
    """Every loss, assigner (and its overlap), sampler and RoI source of a detector.

    Args:
        detector: a run's ``detector`` settings, or a part of them.
        where: their place, which the places below start with.

    Returns:
        Kind of the part (a key of ``LOOKUP_TABLES``), its settings, its place.
    """
    kinds = {"rois": "roi_source"} | {kind: kind for kind in LOOKUP_TABLES}
    for key, value in detector.items():
        if key == "objective":
            for task, settings in value.items():
                if isinstance(settings, Mapping):
                    yield "loss", settings, f"{where}.{key}.{task}"
        elif isinstance(value, Mapping):
            if key in kinds and value.get("name"):
                yield kinds[key], value, f"{where}.{key}"
            yield from named_parts(value, f"{where}.{key}")


def needs_masks(detector: Mapping[str, Any]) -> bool:
    """Whether a detector trains on instance masks.

    Args:
        detector: a run's ``detector`` settings; its ``steps`` are read: ``{mask: <head>, ...}``, or
            the name of a step whose objective has a term for masks.
    """
    return any(
        "mask" in (step if isinstance(step, Mapping) else detector[step].get("objective", {}))
        for step in detector.get("steps", ())
    )


def run_code(resolved: Mapping[str, Any], module: str) -> str:
    """Digest of the library's code that a step of a run depends on.

    Of the losses, assigners, samplers and other parts it is the code of those that the run names.

    Args:
        resolved: settings of the run.
        module: what makes the step, for example ``rebalance.engine.train``.
    """
    return fingerprint([module], used_parts(resolved))


def used_parts(resolved: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Kind (a key of ``LOOKUP_TABLES``) and name of every part that a run names."""
    named = [(kind, settings["name"]) for kind, settings, _ in named_parts(resolved["detector"])]
    return [("backbone", resolved["backbone"]["name"]), *named]

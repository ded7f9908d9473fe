"""YAML files, read strictly, and how layers of settings merge."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from rebalance.errors import InputError
from rebalance.inputs import read_bytes


class _StrictLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML that refuses a key given twice, which plain YAML lets pass with the last one winning."""


def _strict_mapping(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen = set()
    for key_node, _ in node.value:
        if key_node.value in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"key {key_node.value!r} is given twice", key_node.start_mark
            )
        seen.add(key_node.value)
    loader.flatten_mapping(node)  # merge keys (<<), which may repeat what is merged
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _strict_mapping)


def load_yaml(path: Path) -> Any:
    """Contents of a YAML file.

    Raises:
        InputError: no such file, not YAML, or a key given twice; the message has file and line.
    """
    contents = read_bytes(path)
    try:
        return yaml.load(contents.decode(), _StrictLoader)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8: {error.reason} at byte {error.start}") from None
    except RecursionError:
        raise InputError(f"{path}: it is nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is none
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error


def merged(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``change`` on top.

    Mappings merge key by key, but one that has a ``name`` replaces the mapping below it as a whole:
    the options of a smooth L1 loss mean nothing to the IoU loss put in its place. What the result
    did not have to merge it shares with the two: none of the three may be changed.
    """
    result = dict(base)
    for key, value in change.items():
        below = result.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping) and "name" not in value:
            result[key] = merged(below, value)
        else:
            result[key] = value
    return result

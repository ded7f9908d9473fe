"""From what a file says to typed options, or one message with file, key, got and allowed."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Self, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from rebalance.config.part import nearest
from rebalance.errors import InputError

Model = TypeVar("Model", bound=BaseModel)
Key = str | int


class Place(NamedTuple):
    """Where settings come from: a file and the keys down to them."""

    file: str
    keys: tuple[Key, ...] = ()
    remark: str = ""
    """Behind a message: what these settings were merged for."""

    def at(self, *keys: Key) -> Self:
        """A place further down."""
        return self._replace(keys=(*self.keys, *keys))

    def __str__(self) -> str:
        """``config/papers/ggiou.yaml: runs.baseline.steps[1].iou``."""
        path = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in self.keys)
        return f"{self.file}: {path.removeprefix('.')}" if path else self.file


class Layer(NamedTuple):
    """Settings that others are laid over, or that are laid over others.

    Attributes:
        place: where they stand.
        settings: what they say.
        at: keys from the whole down to them.
    """

    place: Place
    settings: Any
    at: tuple[Key, ...] = ()

    def reach(self, keys: tuple[Key, ...]) -> tuple[int, bool]:
        """How many of the keys lead to something that this layer says (-1: it is of other keys).

        And whether it replaces what lower layers say there, as ``merged`` does.
        """
        if keys[: len(self.at)] != self.at:
            return -1, False
        depth, below, replaces = len(self.at), self.settings, False
        for key in keys[depth:]:
            is_there = isinstance(below, Mapping) and key in below
            is_there |= isinstance(below, list) and isinstance(key, int) and key < len(below)
            if not is_there:
                break
            depth, below = depth + 1, below[key]
            replaces |= not isinstance(below, Mapping) or "name" in below
        return depth, replaces


class Layers(tuple[Layer, ...]):
    """Where merged settings come from: the lowest layer first."""

    def at(self, *keys: Key) -> Place:
        """Where the file that has the last word says what stands at some keys of the whole."""
        last_word, furthest = self[-1], -1
        for layer in reversed(self):
            depth, replaces = layer.reach(keys)
            if depth > furthest:
                last_word, furthest = layer, depth
            if replaces:
                break
        return last_word.place.at(*keys[len(last_word.at) :])


def parse(model: type[Model], data: Any, place: Place | Layers | str) -> Model:
    """``data`` as options of ``model``, which may be a kind: then as those of the part it names.

    Raises:
        InputError: the first thing that is wrong: file, keys, what was got, what is allowed.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        if isinstance(place, str):
            place = Place(place)
        raise InputError(_message(error.errors()[0], place)) from None


def _message(error: ErrorDetails, place: Place | Layers) -> str:
    # A choice between kinds is marked in the location by what was chosen: "<focal>".
    keys = [key for key in error["loc"] if not str(key).startswith("<")]
    context = error.get("ctx", {})
    if error["type"] == "missing":
        at, problem = place.at(*keys[:-1]), f"missing key {keys[-1]!r}"
    elif error["type"] == "refused":
        at, problem = place.at(*keys, *context["at"]), context["problem"]
    else:
        at = place.at(*keys)
        problem = f"{_allowed(error, context)}, got {error['input']!r}{_near(error)}"
    return f"{at}: {problem}{at.remark}"


def _near(error: ErrorDetails) -> str:
    if error["type"] != "literal_error" or not isinstance(error["input"], str):
        return ""
    return nearest(error["input"], [name.strip("'") for name in _choices(error)])


def _choices(error: ErrorDetails) -> list[str]:
    return str(error["ctx"]["expected"]).replace(" or ", ", ").split(", ")


def _allowed(error: ErrorDetails, context: Mapping[str, Any]) -> str:
    """What is allowed, in words."""
    match error["type"]:
        case "literal_error":
            return f"must be one of {', '.join(_choices(error))}"
        case "greater_than":
            return f"must be more than {context['gt']:g}"
        case "greater_than_equal":
            return f"must be at least {context['ge']:g}"
        case "less_than":
            return f"must be less than {context['lt']:g}"
        case "less_than_equal":
            return f"must be at most {context['le']:g}"
        case "too_short":
            return f"must have at least {context['min_length']} entries"
        case "too_long":
            return f"must have at most {context['max_length']} entries"
        case "string_too_short":
            return "must not be empty"
        case "string_pattern_mismatch":
            return f"must match {context['pattern']}"
    return MEANINGS.get(error["type"], error["msg"])


MEANINGS = {
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "list_type": "must be a list",
    "none_required": "must be null",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
}
"""Type of a pydantic error -> what it asks for."""

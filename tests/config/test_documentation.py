"""The page and the schemas are those that the types make."""

import json

import pytest
from rebalance.config.documentation import PAGE, SCHEMAS, in_words, json_schemas, options_page
from rebalance.config.options.losses import FocalL1
from rebalance.config.part import PARTS

MAKE = "python -m rebalance.config.documentation"


def test_the_page_is_up_to_date(repository):
    assert (repository / PAGE).read_text() == options_page(), f"run {MAKE}"


def test_the_schemas_are_up_to_date(repository):
    made = json_schemas()
    found = {path.name: path.read_text() for path in (repository / SCHEMAS).iterdir()}
    assert found == made, f"run {MAKE}"


def test_every_part_is_on_the_page():
    page = options_page()
    for part in PARTS:
        assert f"**`{part.called}`**" in page
    assert "| `beta` | number in [0.3679, 1] | `0.8` | Larger suppresses outliers more" in page


def test_types_in_words():
    field = FocalL1.model_fields["beta"]
    assert in_words(field.annotation, field.metadata) == "number in [0.3679, 1]"
    assert in_words(list[int | None]) == "list of whole number or null"


@pytest.mark.parametrize("name", ["detectors.schema.json", "scale.schema.json"])
def test_schemas_tell_editors_keys_bounds_and_documentation(name):
    definitions = json.loads(json_schemas()[name])["$defs"]
    # What else a NamedDetector has are keys of a detector.
    assert all(
        definition.get("additionalProperties") is False
        for kind, definition in definitions.items()
        if definition.get("type") == "object" and kind != "NamedDetector"
    )
    if name.startswith("detectors"):
        option = definitions["MaxIou"]["properties"]["positive_iou"]
        assert (option["minimum"], option["maximum"], option["default"]) == (0, 1, 0.5)
        assert option["description"] == "Least overlap of a positive."

"""Every part has a section on the site: rule, source, options and a picture of its own."""

import inspect
import re
import sys

import pytest
import rebalance.generators
import rebalance.metrics
import yaml
from rebalance.config.options.assigners import Assigner
from rebalance.config.options.losses import InstanceWeights, Loss
from rebalance.config.options.objectives import Balance
from rebalance.config.options.samplers import Sampler

KINDS = (Loss, InstanceWeights, Balance, Assigner, Sampler)
NOT_METRICS = {
    "apply_thresholds",
    "evaluate_boxes_and_masks",
    "evaluate_panoptic",
    "load_detections",
    "load_ground_truth",
    "lrp_from_components",
    "match_files",
    "optimal_thresholds",
    "precision_recall_error",
    "s_lrp",
    "score_quality_correlation",
    "with_ranking",
}
"""They read, match or choose, or apply a metric that has a section to other things."""
NOT_GENERATORS = {"feasible_area", "quadrant_areas"}


@pytest.fixture(scope="module")
def sections(repository):
    """(page, name) -> text of each section of the reference pages that hooks.py adds."""
    folders = [str(repository / "docs" / name) for name in ("reference", "figures")]
    sys.path[:0] = folders
    try:
        from pages import reference_pages
        from pictures import pictures

        drawn = pictures()
        pages = reference_pages(drawn)
    finally:
        del sys.path[: len(folders)]
    found = {}
    for address, text in pages.items():
        if address.startswith("reference/"):
            # A kind's own heading, where a page has several, has no name in code.
            for section in re.split(r"^(?=###? )", text, flags=re.MULTILINE)[1:]:
                if named := re.match(r"###? `(\w+)` ", section):
                    found.setdefault((address.split("/")[1][:-3], named[1]), []).append(section)
    shown = [name for texts in found.values() for text in texts for name in pictures_of(text)]
    assert len(shown) == len(set(shown)), "a picture belongs to one part"
    assert set(shown) == set(drawn)
    return found


def pictures_of(section):
    return re.findall(r"\(\.\./pictures/(\w+)\.svg\)", section)


def public_functions(module):
    return {name for name in module.__all__ if inspect.isfunction(getattr(module, name))}


def test_every_section_says_what_the_part_does_whence_it_is_and_shows_it(sections):
    for (page, name), texts in sections.items():
        for text in texts if page != "detectors" else ():
            assert re.search(r"^\*\*(Rule|Formula)\.\*\* \S", text, re.MULTILINE), (page, name)
            assert re.search(r"\*\*Source:\*\* \w", text), (page, name)
            assert re.search(r"^\| option \||^No options\.$", text, re.MULTILINE), (page, name)
            assert len(pictures_of(text)) == 1, (page, name)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.noun)
def test_every_part_has_a_section(sections, kind):
    names = [name for (page, name), texts in sections.items() for _ in texts]
    everything = [name for one in KINDS for name in one.parts()]
    for name in kind.parts():
        assert names.count(name) >= everything.count(name), name


def test_every_metric_and_generator_has_a_section(sections):
    for page, module, others in (
        ("metrics", rebalance.metrics, NOT_METRICS),
        ("generators", rebalance.generators, NOT_GENERATORS),
    ):
        found = {name for where, name in sections if where == page}
        assert found == public_functions(module) - others


def test_every_detector_has_a_section_with_its_way_of_an_image(sections, repository):
    names = set(yaml.safe_load((repository / "config/detectors.yaml").read_text()))
    found = {name: texts for (page, name), texts in sections.items() if page == "detectors"}
    assert names <= set(found)
    for name, (text,) in found.items():
        assert '<ol class="flow">' in text, name

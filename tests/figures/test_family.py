"""Every target that a family makes: it is found, and its checks say what is known of it."""

import functools
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from rebalance.config.experiments import load_experiments
from rebalance.config.targets import Figure, FigureOfRuns
from rebalance.errors import InputError
from rebalance.figures.checks import Check, name_misprints, verdict, verdict_words
from rebalance.figures.family import families, find_figure, find_table
from rebalance.report.notebooks import check_parameters, declared_parameters

PAPERS = Path(__file__).resolve().parents[2] / "config" / "papers"
FAMILY_NOTEBOOKS = {"analytic_figure": "FIGURES", "analytic_table": "TABLES"}
"""Notebooks that find what they show in a family, by the name of its lookup table."""
TARGETS = {
    f"{path.stem}_{name}": target
    for path in sorted(PAPERS.glob("*.yaml"))
    for name, target in yaml.safe_load(path.read_text())["targets"].items()
}


@functools.cache
def checks_of(name: str) -> list[Check]:
    target: dict[str, Any] = TARGETS[name]
    family, what = (target["parameters"][key] for key in ("family", "what"))
    if target["notebook"] == "analytic_table":
        found = find_table(family, what)(target["rows"], target.get("numbers", {}))[1]
    else:
        found = find_figure(family, what).checks(target.get("numbers", {}))
    return name_misprints(found, target.get("misprints", []))


def of_families() -> list[str]:
    return [name for name, target in TARGETS.items() if target.get("notebook") in FAMILY_NOTEBOOKS]


def test_every_figure_and_table_of_a_family_is_used():
    used = set()
    for target in load_experiments(PAPERS.parents[1], check_runs=False).targets.values():
        notebook = getattr(target.entry, "notebook", None)
        given = getattr(target.entry, "parameters", {})
        if "what" in given:  # a notebook of a single family has the family's name
            table = FAMILY_NOTEBOOKS.get(notebook, "FIGURES")
            used.add((given.get("family", notebook), table, given["what"]))
    offered = {
        (family, table, what)
        for family in families()
        for table in ("FIGURES", "TABLES")
        for what in getattr(import_module(f"rebalance.figures.{family}"), table, {})
    }
    assert len(offered) > 50
    assert offered == used


def test_what_no_family_has_is_named():
    with pytest.raises(InputError, match=r"family: must be one of \[.*'toy_boxes'.*got 'toys'"):
        find_figure("toys", "slide")
    with pytest.raises(InputError, match=r"FIGURES of family 'toy_boxes' are .*'slide'.*got 'x'"):
        find_figure("toy_boxes", "x")
    with pytest.raises(InputError, match=r"TABLES of family 'toy_boxes' are \[\], got 'slide'"):
        find_table("toy_boxes", "slide")


# The failures that are known, by target: nothing else may fail, and these must.
KNOWN = {
    "bbgen_table_6": ["region II: IoU is T on the printed curve"],
    "thesis_table_b_1": ["region II: IoU is T on the printed curve"],
    "bbgen_table_9": ["weights of left_skew add up to 1"],
    "thesis_table_1_1": ["mean of the methods of others"],
    "thesis_table_3_1": [
        f"gradient harmonizing mechanism: weight of {box}" for box in ("pos1", "pos2", "neg2")
    ],
    "thesis_figure_M_1": [
        "current_ranking_error, i = 6", "current_sorting_error, i = 6",
        "target_sorting_error, i = 6", "ranking_loss, i = 6", "total_loss, i = 6",
    ],
    "thesis_figure_M_2": ["magnitudes of positives and negatives are equal (Eq. 6.37)"],
    "thesis_figure_6_1": ["the gradient that Algorithm 3 returns lowers the loss"],
    "ggiou_figure_1": [
        "(a) GGIoU of anchor 1 if it were at the truth's centre, as the text says"
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", of_families())
def test_exactly_the_known_checks_fail_and_all_are_named_misprints(name):
    failed = [check for check in checks_of(name) if check.holds is False]
    assert [check.name for check in failed] == KNOWN.get(name, [])
    assert all(check.misprint and check.note for check in failed)


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("thesis_figure_7_1", 27),  # 15 AP cells, 4 losses of 3 outputs
        ("thesis_figure_M_1", 28),
        ("ggiou_figure_1", 22),
        ("thesis_table_3_1", 36),
        ("thesis_table_5_1", 14),
        ("thesis_figure_c_1", 21),
        ("thesis_figure_3_11", 9),
    ],
)
def test_as_many_printed_numbers_are_computed_as_there_are(name, least):
    decided = [check for check in checks_of(name) if check.holds is not None]
    assert len([check for check in decided if check.tolerance is not None]) >= least


def test_printed_numbers_that_cannot_be_computed_are_counted_as_not_measured():
    """Figure 7.1's L1 loss needs the boxes: three cells must not be passed over in silence."""
    checks = checks_of("thesis_figure_7_1")
    assert [check.name for check in checks if check.holds is None] == [
        "l1_loss of C & R1", "l1_loss of C & R2", "l1_loss of C & R3"
    ]  # fmt: skip
    assert verdict_words(verdict(checks), checks) == "claims hold 28 of 28, 3 not measured"


def test_every_notebook_gets_exactly_the_parameters_that_it_declares():
    experiments = load_experiments(PAPERS.parents[1])
    made = [
        target for target in experiments.targets.values()
        if isinstance(target, Figure | FigureOfRuns)
    ]  # fmt: skip
    assert len(made) >= 76
    names = {target.name for target in made}
    assert {"bbgen_figure_5_trained", "thesis_figure_3_12", "focal_eiou_figure_4"} <= names
    for target in made:
        notebook = experiments.root / "notebooks" / f"{target.notebook}.ipynb"
        given = target.parameters(experiments.results("shapes"))
        check_parameters(notebook, declared_parameters(notebook), given)


def test_every_figure_of_runs_says_what_to_look_for(repository):
    experiments = load_experiments(repository, check_runs=False)
    figures = [
        target for target in experiments.targets.values()
        if isinstance(target, FigureOfRuns)
    ]  # fmt: skip
    assert len(figures) == 15
    for target in figures:
        assert target.entry.parameters["lead"].startswith("Look")

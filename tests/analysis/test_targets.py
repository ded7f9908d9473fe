"""Every target that a family's notebook makes: the verdict in its entry is what its checks say."""

import functools
from pathlib import Path
from typing import Any

import pytest
import yaml
from rebalance.analysis import (
    box_generator,
    diagram,
    loss_curves,
    metric_behaviour,
    ranking_examples,
    reported,
    toy_boxes,
)
from rebalance.analysis.checks import Check, verdict
from rebalance.analysis.tables import TABLES
from rebalance.experiments import load_experiments
from rebalance.notebooks import check_parameters, declared_parameters
from rebalance.targets import notebook_file, notebook_parameters

PAPERS = Path(__file__).resolve().parents[2] / "config" / "papers"
FAMILIES = {
    module.__name__.rpartition(".")[2]: module.CHECKS
    for module in (
        box_generator,
        diagram,
        loss_curves,
        metric_behaviour,
        ranking_examples,
        toy_boxes,
    )
}
TARGETS = {
    f"{path.stem}_{name}": target
    for path in sorted(PAPERS.glob("*.yaml"))
    for name, target in yaml.safe_load(path.read_text())["targets"].items()
}


@functools.cache
def checks_of(name: str) -> list[Check]:
    target: dict[str, Any] = TARGETS[name]
    what = target["parameters"].get("what")
    if target["notebook"] == "analytic_table":
        return TABLES[what](target["rows"])[1]
    return FAMILIES[target["notebook"]][what](target.get("numbers", {}))


def of_families() -> list[str]:
    return [
        name for name, target in TARGETS.items()
        if target.get("notebook") in (*FAMILIES, "analytic_table")
    ]  # fmt: skip


@pytest.mark.parametrize("name", of_families())
def test_verdict_is_what_the_checks_say(name):
    found = checks_of(name)
    failed = [check for check in found if not check.holds]
    assert verdict(found) == TARGETS[name]["verdict"]["status"], failed
    if failed:
        assert all(check.note for check in failed)
        assert TARGETS[name]["verdict"]["note"]


def test_every_page_without_a_training_has_a_verdict():
    for name, target in TARGETS.items():
        without = "notebook" in target and "reads" not in target
        assert ("verdict" in target) == without, name


def test_every_figure_and_table_of_a_family_is_used():
    used = {
        (target["notebook"], target["parameters"].get("what"))
        for target in TARGETS.values() if "notebook" in target
    }  # fmt: skip
    offered = {(family, what) for family, checks in FAMILIES.items() for what in checks}
    offered |= {("analytic_table", what) for what in TABLES}
    assert offered <= used


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
    "bbgen_figure_6": ["share of corners inside the box", "share of corners outside on both axes"],
    "thesis_figure_4_6": [
        "share of corners inside the box", "share of corners outside on both axes"
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", of_families())
def test_exactly_the_known_checks_fail(name):
    failed = [check.quantity for check in checks_of(name) if not check.holds]
    assert failed == KNOWN.get(name, [])


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
def test_as_many_printed_numbers_are_checked_as_there_are(name, least):
    numbers = [check for check in checks_of(name) if check.printed != "claimed"]
    assert len(numbers) >= least


def test_gains_of_ggiou_follow_from_its_table_8():
    target = TARGETS["ggiou_figure_3"]
    gains = reported.gains_by_threshold(target["parameters"]["table_rows"])
    assert target["parameters"]["table_rows"] == TARGETS["ggiou_table_8"]["rows"]
    assert verdict(reported.gain_checks(target["numbers"], gains)) == target["verdict"]["status"]
    printed = [0.65, 0.675, 0.85, 1.05, 1.425, 1.85, 2.575, 3.775, 6.75, 11.175]
    assert gains["gain"].tolist() == pytest.approx(printed, abs=1e-9)
    assert gains["threshold"].tolist() == pytest.approx([0.5 + 0.05 * k for k in range(10)])


def test_every_notebook_gets_exactly_the_parameters_that_it_declares():
    experiments = load_experiments(PAPERS.parents[1])
    made = [
        target for target in experiments.targets.values()
        if "notebook" in target.settings and target.settings["kind"] != "curves"
    ]  # fmt: skip
    assert len(made) >= 78
    names = {target.name for target in made}
    assert {"bbgen_figure_5_trained", "thesis_figure_3_12", "focal_eiou_figure_4"} <= names
    for target in made:
        notebook = Path(notebook_file(experiments, target))
        given = notebook_parameters(experiments, target, "shapes", "data")
        check_parameters(notebook, declared_parameters(notebook), given)

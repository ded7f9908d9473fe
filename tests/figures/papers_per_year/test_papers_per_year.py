"""Papers per category and year: the counting, and the references against the work's text."""

import re
from pathlib import Path

import pytest
import yaml
from rebalance.figures.checks import verdict, verdict_words
from rebalance.figures.papers_per_year.compute import (
    papers_by_problem,
    papers_by_year,
    papers_checks,
    papers_table,
)
from rebalance.figures.papers_per_year.draw import plot_papers
from rebalance.figures.style import save_bitmap
from rebalance.figures.taxonomy.compute import BRANCHES

PAPERS = Path(__file__).resolve().parents[3] / "config" / "papers"
TARGET = yaml.safe_load((PAPERS / "thesis.yaml").read_text())["targets"]["figure_3_3"]
REFERENCES = TARGET["parameters"]["references"]
WITHOUT_NUMBER = {89}
"""Auto-FPN is named in the chapter, and cited nowhere."""


def references(**problems):
    empty = {problem: {} for leaves in BRANCHES.values() for problem in leaves}
    return empty | {name.replace("_", " "): by_year for name, by_year in problems.items()}


def test_a_paper_counts_once_in_a_category_and_in_each_of_its_categories():
    some = references(
        feature_level={2017: [1, 2], "2019": [3]},  # papermill hands years on as text
        objective={2019: [3]},
    ) | {"object/box scale": {2017: [2, 4]}}
    counts = papers_by_year(some)
    assert counts.index.tolist() == [2017, 2018, 2019]
    assert counts["scale"].tolist() == [3, 0, 1]
    assert counts["objective"].tolist() == [0, 0, 1]
    assert counts["class"].sum() == 0
    assert papers_by_problem(some)["feature level"] == 3
    table = papers_table(some).set_index("problem")
    assert table.loc["feature level", "references by year"] == "2017: 1, 2; 2019: 3"


def test_a_reference_of_two_years_or_an_unknown_problem_is_an_error():
    with pytest.raises(ValueError, match="reference 3 is of 2017 and, under objective, of 2019"):
        papers_by_year(references(feature_level={2017: [3]}, objective={2019: [3]}))
    with pytest.raises(ValueError, match="references must have the problems"):
        papers_by_problem(references(object_scale={2017: [3]}))


def test_claims_fail_where_they_are_not_true():
    some = references(objective={2015: [1, 2], 2016: [3]}, object_location={2015: [4]})
    assert [claim.holds for claim in papers_checks(some)] == [False, False, False]


def test_the_claims_hold_of_the_references(tmp_path):
    checks = papers_checks(REFERENCES)
    assert verdict_words(verdict(checks), checks) == "claims hold 3 of 3"
    save_bitmap(plot_papers(REFERENCES), tmp_path / "f.png", 40)


@pytest.fixture(scope="module")
def thesis(shared_dir):
    return (shared_dir / "sources" / "thesis.txt").read_text()


def test_years_are_those_of_the_bibliography(thesis):
    bibliography = thesis[thesis.index("\nREFERENCES\n") : thesis.index("\nAPPENDIX A")]
    entries = re.split(r"(?m)^(?:- )?\[(\d+)\] ", bibliography)
    years = {
        int(number): int(re.findall(r"\b(?:19|20)\d\d\b", entry)[-1])
        for number, entry in zip(entries[1::2], entries[2::2], strict=True)
        if int(number) <= 142  # what follows has entries without a year
    }
    checked = 0
    for by_year in REFERENCES.values():
        for year, numbers in by_year.items():
            for number in numbers:
                assert years[number] == year, number
                checked += 1
    assert checked >= 70


def test_references_are_cited_in_the_section_of_their_category(thesis):
    starts = [thesis.rindex(f"\n{heading}") for heading in (
        "3.2 Imbalance 1", "3.3 Imbalance 2", "3.4 Imbalance 3", "3.5 Imbalance 4",
        "3.6 Open Issues for All",
    )]  # fmt: skip
    for (category, leaves), start, end in zip(
        BRANCHES.items(), starts[:-1], starts[1:], strict=True
    ):
        cited = {
            int(number)
            for group in re.findall(r"\[([\d, ]+)\]", thesis[start:end])
            for number in group.split(",")
        } | WITHOUT_NUMBER
        if category == "spatial":
            # Section 3.2.1.2 says that it is a method against imbalance in regression, too.
            cited |= {68}
        for problem in leaves:
            given = {number for numbers in REFERENCES[problem].values() for number in numbers}
            assert given <= cited, (problem, given - cited)

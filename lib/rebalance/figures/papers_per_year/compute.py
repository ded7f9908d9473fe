"""References that address each imbalance problem, by year (thesis Figure 3.3)."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import pandas as pd

from rebalance.figures.checks import Check, printed_claim
from rebalance.figures.taxonomy.compute import BRANCHES

References = Mapping[str, Mapping[Any, Sequence[int]]]
"""Problem -> year (a number, or its text) -> numbers in the bibliography."""


def check_references(references: References) -> None:
    """Raise ValueError unless every problem is there, and every reference has one year."""
    problems = [problem for leaves in BRANCHES.values() for problem in leaves]
    if sorted(references) != sorted(problems):
        raise ValueError(f"references must have the problems {problems}, got {list(references)}")
    years: dict[int, int] = {}
    for problem, by_year in references.items():
        for year, numbers in by_year.items():
            for number in numbers:
                if years.setdefault(number, int(year)) != int(year):
                    raise ValueError(
                        f"reference {number} is of {years[number]} and, under {problem}, of {year}"
                    )


def papers_by_problem(references: References) -> pd.Series:
    """Number of references of each problem, in the order of BRANCHES."""
    check_references(references)
    return pd.Series({
        problem: len({number for numbers in references[problem].values() for number in numbers})
        for leaves in BRANCHES.values() for problem in leaves
    })  # fmt: skip


def papers_by_year(references: References) -> pd.DataFrame:
    """Number of references of each category (columns) by year (rows, none left out).

    A reference counts once in a category, whatever number of its problems it addresses, and in
    each category that it addresses.
    """
    check_references(references)
    years = {
        category: [
            year
            for year, _ in {
                (int(year), number)
                for problem in leaves
                for year, numbers in references[problem].items()
                for number in numbers
            }
        ]
        for category, leaves in BRANCHES.items()
    }
    every = [year for some in years.values() for year in some]
    index = range(min(every), max(every) + 1)
    return pd.DataFrame(
        {category: [some.count(year) for year in index] for category, some in years.items()},
        index=list(index),
    )


def papers_table(references: References) -> pd.DataFrame:
    """problem, papers, and the numbers of its references by year, for the page."""
    totals = papers_by_problem(references)
    return pd.DataFrame([
        {
            "category": category,
            "problem": problem,
            "papers": int(totals[problem]),
            "references by year": "; ".join(
                f"{year}: {', '.join(str(number) for number in sorted(numbers))}"
                for year, numbers in sorted(references[problem].items(), key=lambda p: int(p[0]))
            ),
        }
        for category, leaves in BRANCHES.items() for problem in leaves
    ])  # fmt: skip


def papers_checks(references: References) -> list[Check]:
    """Figure 3.3: what the chapter says of the drawing, and of the years of its references."""
    totals = papers_by_problem(references)
    distinct = {
        number: int(year)
        for by_year in references.values()
        for year, numbers in by_year.items()
        for number in numbers
    }
    years = pd.Series(list(distinct.values()))
    recent = [int(((years >= low) & (years <= high)).sum())
              for low, high in ((0, 2014), (2015, 2016), (2017, 2018), (2019, 2020))]  # fmt: skip
    few = ["objective", "object location"]
    return [
        printed_claim(
            "foreground-background imbalance has most of the methods",
            totals.idxmax() == "foreground-background class",
            f"{totals.max()} of {len(distinct)} papers",
        ),
        printed_claim(
            "objective and object location imbalance have got little attention",
            bool((totals.drop(few).min() > totals[few]).all()),
            ", ".join(f"{name} {totals[name]}" for name in few),
        ),
        printed_claim(
            "interest rises rapidly", all(a < b for a, b in pairwise(recent)),
            "papers: {} up to 2014, {} in 2015-16, {} in 2017-18, {} in 2019-20".format(*recent),
            "in pairs of years; 2020 alone has fewer, the year in which the review appeared",
        ),
    ]  # fmt: skip

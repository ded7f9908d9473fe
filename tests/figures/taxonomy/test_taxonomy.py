"""The tree of imbalance problems: its leaves, and that every method is on it."""

from pathlib import Path

import pytest
import yaml
from rebalance.figures.taxonomy.compute import BRANCHES
from rebalance.figures.taxonomy.draw import plot_taxonomy

PAPERS = Path(__file__).resolve().parents[3] / "config" / "papers"
TARGET = yaml.safe_load((PAPERS / "thesis.yaml").read_text())["targets"]["figure_3_1"]
METHODS = TARGET["numbers"]["methods_by_leaf_from_the_chapter_text"]


def test_the_tree_has_the_branches_and_leaves_that_the_work_counts():
    numbers = TARGET["numbers"]
    assert len(BRANCHES) == numbers["branches"]
    assert {leaf for leaves in BRANCHES.values() for leaf in leaves} == set(METHODS)
    assert len(METHODS) == numbers["leaves"]


def test_every_leaf_and_method_is_drawn():
    texts = [text.get_text() for text in plot_taxonomy(METHODS).axes[0].texts]
    drawn = " ".join(" ".join(texts).split())
    for leaf, groups in METHODS.items():
        assert leaf in texts
        lists = groups.values() if isinstance(groups, dict) else [groups]
        for method in (method for methods in lists for method in methods):
            assert method in drawn, method


def test_a_leaf_without_methods_is_an_error():
    with pytest.raises(KeyError, match="objective"):
        plot_taxonomy({leaf: methods for leaf, methods in METHODS.items() if leaf != "objective"})

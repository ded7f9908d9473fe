"""config/papers lists every table and figure of the five works, with the numbers they print."""

from pathlib import Path
from typing import Any

import pytest
import yaml

WORKS = ("bbgen", "focal_eiou", "ggiou", "r3cnn", "thesis")
NUM_TABLES, NUM_FIGURES = 68, 70
NOT_PRINTED = ("derived", "external", "exact", "outside")
"""What the registry's ``numbers`` hold beyond print: checks and sources of its authors."""
SPLIT_BY_A_COMMA = {("thesis", "table_1_2")}
"""Tables of the registry with a row that YAML cuts at an unquoted comma."""


@pytest.fixture(scope="module")
def configured() -> dict[str, dict[str, Any]]:
    papers = Path(__file__).resolve().parents[1] / "config" / "papers"
    return {
        work: yaml.safe_load((papers / f"{work}.yaml").read_text())["targets"] for work in WORKS
    }


@pytest.fixture(scope="module")
def registered(shared_dir: Path) -> dict[str, dict[str, Any]]:
    """Entries of the registry of transcribed numbers: work -> target -> entry."""
    found: dict[str, dict[str, Any]] = {work: {} for work in WORKS}
    for path in sorted((shared_dir / "paper").glob("*.yaml")):
        content = yaml.safe_load(path.read_text())
        for entry in content["tables"] + content["figures"]:
            work, target = entry["id"].split("/")
            found[work][target] = entry
    return found


def printed(numbers: Any) -> Any:
    """What a work prints, of a ``numbers`` entry of the registry."""
    if isinstance(numbers, dict):
        return {k: printed(v) for k, v in numbers.items() if not str(k).startswith(NOT_PRINTED)}
    return [printed(v) for v in numbers] if isinstance(numbers, list) else numbers


def test_every_table_and_figure_is_listed(configured):
    ids = [target for work in configured.values() for target in work]
    assert sum(name.startswith("table_") for name in ids) == NUM_TABLES
    assert sum(name.startswith("figure_") for name in ids) == NUM_FIGURES


def test_the_readme_counts_what_is_made(configured, repository):
    targets = [target for work in configured.values() for target in work.values()]
    made = [target for target in targets if "waits" not in target]
    shown = {"run", "released"}
    untrained = [
        target for target in made if not any(shown & set(row) for row in target.get("rows", []))
    ]
    readme = " ".join((repository / "README.md").read_text().split())
    assert len(made) == len(targets) == NUM_TABLES + NUM_FIGURES
    assert not [row for target in targets for row in target.get("rows", []) if "waits" in row]
    assert f"All {len(made)} tables and figures are made" in readme
    assert f"{len(untrained)} of these need no training" in readme


def test_every_entry_is_made_or_says_why_not(configured):
    for work, targets in configured.items():
        for name, target in targets.items():
            runs = any({"run", "released"} & set(row) for row in target.get("rows", []))
            ways = runs + ("notebook" in target) + ("waits" in target)
            if runs and name.startswith("figure_"):  # shows its runs in a notebook of its own
                assert "notebook" in target, f"{work}/{name}"
                assert "reads" in target, f"{work}/{name}"
                ways -= 1
            assert ways == 1, f"{work}/{name}"
            if "waits" in target:
                assert target["waits"].startswith("needs "), name


def test_the_inventory_is_that_of_the_registry(configured, registered):
    for work in WORKS:
        assert set(configured[work]) == set(registered[work])
        for name, entry in registered[work].items():
            assert configured[work][name]["kind"] == entry["kind"], f"{work}/{name}"


def test_reported_numbers_of_figures_are_known_points_of_the_registry(configured, registered):
    """Rows of a figure are of our choice; what they report is what the work prints."""
    compared = 0
    for work in WORKS:
        for name, target in configured[work].items():
            points = registered[work][name].get("known_points", [])
            rows = target.get("rows", []) if name.startswith("figure_") else []
            reported = [row for row in rows if row["reported"]]
            for row in reported:
                known = [p for p in points if p["AP"] == row["reported"]["AP"]]
                assert any(str(p["panel"]) == row["setting"]["panel"] for p in known), name
            assert len(reported) == (len(points) if rows else 0), f"{work}/{name}"
            compared += len(reported)
    assert compared == 3


def test_metrics_and_reported_numbers_are_those_of_the_registry(configured, registered):
    compared = 0
    for work in WORKS:
        for name, entry in registered[work].items():
            target = configured[work][name]
            if name.startswith("figure_"):
                continue
            metrics = {m["name"]: m for m in entry.get("metrics") or []}
            assert {m["name"]: m["percent"] for m in target.get("metrics", [])} == {
                key: m["percent"] for key, m in metrics.items()
            }, f"{work}/{name}"
            for m in target.get("metrics", []):
                assert m["better"] == metrics[m["name"]]["better"], f"{work}/{name}"
            rows, expected = target.get("rows", []), entry.get("rows") or []
            assert len(rows) == len(expected), f"{work}/{name}"
            for index, (row, meant) in enumerate(zip(rows, expected, strict=True)):
                printed_row = meant | meant.get("as_read", {})
                numbers = {k: v for k, v in row["reported"].items() if v is not None}
                assert numbers == {
                    key: printed_row[key] for key in metrics if printed_row.get(key) is not None
                }, f"{work}/{name}, row {index}"
                compared += len(numbers)
    assert compared > 2800


def test_settings_of_rows_are_those_of_the_registry(configured, registered):
    for work in WORKS:
        for name, entry in registered[work].items():
            if (work, name) in SPLIT_BY_A_COMMA or name.startswith("figure_"):
                continue
            rows = configured[work][name].get("rows", [])
            assert len({tuple(row["setting"]) for row in rows}) <= 1, f"{work}/{name}"
            for row, printed_row in zip(rows, entry.get("rows") or [], strict=True):
                for key, value in row["setting"].items():
                    given = printed_row.get(key)
                    if not isinstance(given, list | dict) and key in printed_row:
                        assert value == given, f"{work}/{name}: {key}"


def test_printed_numbers_of_figures_are_those_of_the_registry(configured, registered):
    for work in WORKS:
        for name, entry in registered[work].items():
            if name.startswith("figure_"):
                numbers = dict(configured[work][name].get("numbers", {}))
                numbers.pop("text", None)
                assert numbers == printed(entry.get("numbers") or {}), f"{work}/{name}"

"""conda users and pip users get the same packages."""

import re
import tomllib
from itertools import chain

import rebalance
import yaml


def pins(lines):
    return {line.strip() for line in lines if re.match(r"[A-Za-z0-9_.-]+==[0-9]", line.strip())}


def test_conda_environment_and_pip_pins_name_the_same_packages_and_versions(repository):
    environment = yaml.safe_load((repository / "environment.yml").read_text())
    pip_section = next(
        entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)
    )
    requirements = (repository / "requirements.txt").read_text().splitlines()
    assert pins(pip_section) == pins(requirements)
    assert len(pins(requirements)) == sum(
        bool(line.strip()) and not line.startswith("#") for line in requirements
    ), "every requirement is pinned"


def test_every_dependency_of_the_package_is_pinned(repository):
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    named = {re.match(r"[A-Za-z0-9_.-]+", name)[0] for name in wanted} - {"rebalance"}
    pinned = {
        pin.split("==")[0]
        for pin in pins((repository / "requirements.txt").read_text().splitlines())
    }
    assert named <= pinned


def test_the_suite_and_the_five_works_can_be_cited(repository):
    citation = yaml.safe_load((repository / "CITATION.cff").read_text())
    assert citation["version"] == rebalance.__version__
    works = (repository / "config" / "papers").glob("*.yaml")
    published = [work for work in map(read_yaml, works) if not work.get("own")]
    assert {one["title"] for one in citation["references"]} == {one["title"] for one in published}
    for one in citation["references"]:
        (work,) = (work for work in published if work["title"] == one["title"])
        assert f"year = {{{one['year']}}}" in work["bibtex"]


def test_the_workflow_is_listed_as_standardized_usage(repository):
    usage = read_yaml(repository / ".snakemake-workflow-catalog.yml")["usage"]
    assert {"mandatory-flags", "software-stack-deployment", "report"} <= set(usage)
    assert (repository / "config" / "README.md").is_file()
    assert (repository / "workflow" / "Snakefile").is_file()


def read_yaml(path):
    return yaml.safe_load(path.read_text())

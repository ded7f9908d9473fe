"""make, conda users and containers get the same packages."""

import os
import re
import subprocess
import sys
import tomllib
from itertools import chain

import pytest
import rebalance
import yaml

LOCKED = re.compile(r"^([A-Za-z0-9_.-]+==[^ ]+)((?: ; [^\\]+)?) \\\n((?:    --hash=.*\n)+)", re.M)


def pins(lines):
    return {line.strip() for line in lines if re.match(r"[A-Za-z0-9_.-]+==[0-9]", line.strip())}


@pytest.fixture(scope="module")
def requirements(repository):
    return (repository / "requirements.txt").read_text().splitlines()


@pytest.fixture(scope="module")
def lock(repository):
    return (repository / "requirements.lock").read_text()


def test_conda_environment_and_pip_pins_name_the_same_packages_and_versions(
    repository, requirements
):
    environment = yaml.safe_load((repository / "environment.yml").read_text())
    pip_section = next(
        entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)
    )
    assert pins(pip_section) == pins(requirements)
    assert len(pins(requirements)) == sum(
        bool(line.strip()) and not line.startswith("#") for line in requirements
    ), "every requirement is pinned"


def test_the_lock_holds_every_requirement_at_its_version(requirements, lock):
    locked = {pin.lower().replace("_", "-") for pin, _, _ in LOCKED.findall(lock)}
    wanted = {pin.lower().replace("_", "-") for pin in pins(requirements)}
    assert wanted <= locked, "make lock"


def test_the_lock_has_hashes_of_everything_and_says_nothing_of_where_it_comes_from(lock):
    comments = "".join(re.findall(r"^#.*\n", lock, re.M))
    entries = [f"{pin}{marker} \\\n{hashes}" for pin, marker, hashes in LOCKED.findall(lock)]
    assert lock == comments + "".join(entries), "nothing but comments and packages with hashes"
    hashes = re.findall(r"--hash=(\S+)", lock)
    assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", digest) for digest in hashes)


@pytest.mark.parametrize("name", ["Dockerfile", "rebalance.def"])
def test_containers_have_the_python_of_conda_users_and_install_the_lock(repository, name):
    environment = yaml.safe_load((repository / "environment.yml").read_text())
    python = environment["dependencies"][0].removeprefix("python=")
    recipe = (repository / "containers" / name).read_text()
    assert re.findall(r"^from:? python:(3\.\d+)", recipe, re.M | re.I) == [python]
    assert "--require-hashes --requirement requirements.lock" in recipe


def test_every_dependency_of_the_package_is_pinned(repository, requirements):
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    named = {re.match(r"[A-Za-z0-9_.-]+", name)[0] for name in wanted} - {"rebalance"}
    assert named <= {pin.split("==")[0] for pin in pins(requirements)}


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


GROUP = """
import os, pytest

@pytest.mark.xdist_group("group")
@pytest.mark.parametrize("k", range(8))
def test(k):
    with open("processes", "a") as file:
        file.write(os.environ["PYTEST_XDIST_WORKER"] + "\\n")
"""


def test_tests_of_a_group_run_in_one_process(tmp_path):
    """Where groups are ignored, nothing fails, but each process makes the fixtures of a group."""
    (tmp_path / "test_group.py").write_text(GROUP)
    command = [sys.executable, "-m", "pytest", "-p", "xdist", "-n", "2", "--dist", "loadgroup"]
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    processes = (tmp_path / "processes").read_text().split()
    assert len(processes) == 8
    assert len(set(processes)) == 1


def read_yaml(path):
    return yaml.safe_load(path.read_text())

"""conda users and pip users get the same packages."""

import re

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
    pyproject = (repository / "pyproject.toml").read_text()
    block = pyproject.split("dependencies = [", 1)[1].split("]", 1)[0]
    named = {re.match(r"[A-Za-z0-9_.-]+", name)[0] for name in re.findall(r'"([^"]+)"', block)}
    pinned = {
        pin.split("==")[0]
        for pin in pins((repository / "requirements.txt").read_text().splitlines())
    }
    assert named <= pinned

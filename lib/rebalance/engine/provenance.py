"""What a result was made with: versions, commit and contents of files."""

import hashlib
import platform
import subprocess
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import rebalance
from rebalance.inputs import check_is_file

PACKAGES = ("torch", "torchvision", "lightning-fabric", "numpy", "rebalance")


def versions() -> dict[str, str]:
    """Version of Python and of every package that a training's numbers depend on."""
    found = {package: version(package) for package in PACKAGES}
    return {"python": platform.python_version(), **found}


def git_commit() -> str | None:
    """Commit of the checkout that the package runs from ("-dirty" if changed); None without one."""
    folder = Path(rebalance.__file__).parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except OSError:  # no git on this machine
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


def contents_of(files: Iterable[str | Path]) -> str:
    """Digest of what some files hold, wherever they are.

    Raises:
        InputError: one is absent.
    """
    digests = hashlib.sha256()
    for path in files:
        with check_is_file(path).open("rb") as file:
            digests.update(hashlib.file_digest(file, "sha256").digest())
    return digests.hexdigest()

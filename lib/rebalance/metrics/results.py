"""Which files a result to compare consists of: one detections file, or one per seed of a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rebalance.errors import InputError

DETECTIONS = "detections.json"
MATCHES = "matches.npz"
VARIANT = "default"
"""The folder of the test-time settings that a run is trained for."""


@dataclass(frozen=True)
class ResultFiles:
    """Files of one result.

    Attributes:
        name: what tables call it; no folder of this machine in it.
        files: detections files, one per seed.
    """

    name: str
    files: tuple[Path, ...]


def find_results(
    given: Sequence[str | Path], runs: Path | None = None, names: Sequence[str] | None = None
) -> list[ResultFiles]:
    """The files of each result, and names that tell them apart.

    Args:
        given: each a COCO results file; a folder with ``detections.json``; the folder of a seed,
            whose default variant is taken; the folder of a run, all seeds of which are taken; or
            the name of a run in ``runs``, alone or with a variant (``name/variant``).
        runs: folder of the runs, ``results/<scale>/runs``.
        names: to use instead of those found.

    Raises:
        InputError: there is no such file, folder or run; not one name per result.
    """
    if names is not None and len(names) != len(given):
        raise InputError(f"names: got {len(names)} for {len(given)} results, must be one each")
    found = [_files(Path(one), runs) for one in given]
    shown = list(names) if names is not None else _distinct([_words(Path(one)) for one in given])
    return [ResultFiles(name, files) for name, files in zip(_numbered(shown), found, strict=True)]


def _files(given: Path, runs: Path | None) -> tuple[Path, ...]:
    if given.is_file():
        return (given,)
    patterns = [DETECTIONS, f"{VARIANT}/{DETECTIONS}", f"seed*/{VARIANT}/{DETECTIONS}"]
    places = [(given, pattern) for pattern in patterns]
    if runs is not None:
        places += [(runs / given, pattern) for pattern in patterns]
        places.append((runs / given.parent, f"seed*/{given.name}/{DETECTIONS}"))
    for folder, pattern in places:
        files = tuple(sorted(folder.glob(pattern)))
        if files:
            return files
    elsewhere = "" if runs is None else f", nor a run in {runs}"
    raise InputError(
        f"{given}: is no file, nor a folder with {DETECTIONS} of its own or of seeds{elsewhere}"
    )


def _words(given: Path) -> list[str]:
    """What a name can be made of, the part that says most last: folders, file without ending."""
    parts = [*given.parts[:-1], given.stem if given.suffix == ".json" else given.name]
    kept = [part for part in parts if part not in ("detections", VARIANT, "/", "..", ".")]
    return kept or [given.stem]


def _distinct(words: Sequence[Sequence[str]]) -> list[str]:
    """The shortest endings that differ, all of one length; the same where files are."""
    length = 1
    while length < max(map(len, words)):
        if len({tuple(one[-length:]) for one in words}) == len({tuple(one) for one in words}):
            break
        length += 1
    return ["/".join(one[-length:]) for one in words]


def _numbered(names: Sequence[str]) -> list[str]:
    """Names, the second and later of equal ones with a number."""
    seen: dict[str, int] = {}
    numbered = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        numbered.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return numbered

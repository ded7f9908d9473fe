"""Downloads that resume and are verified; archives that cannot write outside their folder."""

import gzip
import hashlib
import lzma
import re
import shutil
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import requests
import urllib3
from tqdm import tqdm

from rebalance.data.files import DAMAGED_ZIP, make_folder
from rebalance.errors import InputError, writing
from rebalance.locks import locked

_CHUNK = 1 << 20
_TIMEOUT = (15, 60)  # seconds to connect, and between two pieces of the body
_BAD_ADDRESS = (
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidSchema,
    requests.exceptions.InvalidURL,
)
# What zipfile and tarfile raise for bytes that are no archive, or not all of one.
_DAMAGED = (*DAMAGED_ZIP, tarfile.TarError, gzip.BadGzipFile, lzma.LZMAError)


class _Interrupted(Exception):
    """The transfer stopped early; what has arrived is kept and the rest is asked for again."""


def download(
    url: str,
    path: str | Path,
    *,
    size: int | None = None,
    md5: str | None = None,
    sha256: str | None = None,
    md5_url: str | None = None,
    attempts: int = 6,
    pause: float = 2.0,
) -> None:
    """Download a file once; the file at ``path`` exists only when it is complete and verified.

    What arrives goes to ``<path>.part``. A cut connection is taken up where it stopped (HTTP
    Range), within the call and by the next call. A file that is already there is verified and not
    downloaded again. Without a checksum the size announced by the server is what is verified, and
    the sha256 is printed to be written down.

    Of several processes that download to one ``path``, the others wait for the first and verify.

    Args:
        url: http or https address.
        path: file to make.
        size: expected bytes.
        md5: expected 32 hexadecimal digits.
        sha256: expected first 8 to 64 hexadecimal digits.
        md5_url: where the md5 is published, alone or before the file's name as md5sum prints it; it
            is asked for first.
        attempts: tries without any progress before giving up.
        pause: seconds before the second try, doubled with each further one.

    Raises:
        InputError: the server refuses (404, ...), the connection keeps failing, the disk is full,
            or size or checksum differ. The message names the address and the file.
    """
    path = Path(path)
    if md5_url is not None:
        md5 = _published_md5(md5_url)
    what = "the file that is there; remove it to download again"
    verify_what_is_there = partial(_verify, path, url, size, md5, sha256, what)
    if path.exists():
        return verify_what_is_there()
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_name(f".{path.name}.lock"), f"downloading {path}"):
        if path.exists():  # another process was here first
            return verify_what_is_there()
        part = path.with_name(path.name + ".part")
        announced = _fetch_all(url, part, size, attempts, pause)
        try:
            _verify(part, url, announced, md5, sha256, "what arrived (removed)")
        except InputError:
            part.unlink()
            raise
        if md5 is None and sha256 is None:
            digest = _digest(part, "sha256")
            print(f"{path}: no checksum to verify; sha256 {digest}", file=sys.stderr)
        part.replace(path)


def _published_md5(url: str) -> str:
    """The first word of a small text file.

    Raises:
        InputError: it cannot be had, or is no md5.
    """
    try:
        response = requests.get(url, timeout=_TIMEOUT)
        response.raise_for_status()
    except requests.RequestException as error:
        raise InputError(f"{url}: the checksum cannot be had: {error}") from None
    word = (response.text.split() or [""])[0].lower()
    if not re.fullmatch(r"[0-9a-f]{32}", word):
        raise InputError(f"{url}: must hold an md5 of 32 hexadecimal digits, got {word[:40]!r}")
    return word


def _fetch_all(url: str, part: Path, size: int | None, attempts: int, pause: float) -> int | None:
    """Fetch until all has arrived; its size as expected or as the server says, if either does."""
    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            return _fetch(url, part, size)
        except _BAD_ADDRESS as error:
            raise InputError(f"{url}: not an address to download from: {error}") from None
        except (_Interrupted, requests.RequestException) as error:
            # Progress starts the count anew: a long download may be cut any number of times.
            failures = 0 if part.exists() and part.stat().st_size > before else failures + 1
            if failures >= attempts:
                raise InputError(
                    f"{url}: {attempts} attempts failed, the last with: {error}; what has arrived "
                    f"is kept in {part} and the next call continues there"
                ) from None
            time.sleep(pause * 2**failures)


def _fetch(url: str, part: Path, size: int | None) -> int | None:
    """Append to ``part`` what is missing of ``url``; its size, where anything says it."""
    offset = part.stat().st_size if part.exists() else 0
    if size is not None and offset >= size:
        return size  # verification decides whether it is the right file
    # Without "identity" a server may compress, and then neither offsets nor sizes would fit.
    headers = {"Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        if response.status_code == 416:
            part.unlink()
            raise _Interrupted("the server cannot continue at this offset")
        if response.status_code >= 500 or response.status_code in (408, 429):
            raise _Interrupted(f"status {response.status_code} {response.reason}")
        if response.status_code not in (200, 206):
            raise InputError(f"{url}: the server says {response.status_code} {response.reason}")
        if response.status_code == 200:
            offset = 0  # the server sends all of it, whatever was asked for
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
            raise InputError(
                f"{url}: asked to continue at byte {offset}, the server sent Content-Range "
                f"{response.headers.get('Content-Range')!r}"
            )
        length = response.headers.get("Content-Length")
        total = None if length is None else offset + int(length)
        if size is not None and total is not None and total != size:
            raise InputError(f"{url}: expected {size} bytes, the server has {total}")
        _check_space(part.parent, (total or size or 0) - offset)
        _receive(response, part, offset, total)
        return size or total


def _receive(response: requests.Response, part: Path, offset: int, total: int | None) -> None:
    bar = tqdm(
        total=total,
        initial=offset,
        unit="B",
        unit_scale=True,
        unit_divisor=1024,
        desc=part.name.removesuffix(".part"),
        mininterval=0.2 if sys.stderr.isatty() else 5,
    )
    with bar, writing(part), part.open("ab" if offset else "wb") as file:
        # Not iter_content: it waits for a whole chunk and loses what came before a cut.
        while chunk := _read_some(response):
            file.write(chunk)
            bar.update(len(chunk))
    if total is not None and part.stat().st_size < total:
        raise _Interrupted(f"the connection closed after {part.stat().st_size} of {total} bytes")


def _read_some(response: requests.Response) -> bytes:
    try:
        return response.raw.read1(_CHUNK, decode_content=False)
    except urllib3.exceptions.HTTPError as error:
        raise _Interrupted(str(error)) from None


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(f"{folder}: {needed} bytes are needed, {free} are free")


def _verify(
    path: Path, url: str, size: int | None, md5: str | None, sha256: str | None, what: str
) -> None:
    got = path.stat().st_size
    if size is not None and got != size:
        raise InputError(f"{path}: {what}: expected {size} bytes from {url}, got {got}")
    for algorithm, expected in (("md5", md5), ("sha256", sha256)):
        if expected is not None:
            digest = _digest(path, algorithm)
            if not digest.startswith(expected.lower()):
                raise InputError(
                    f"{path}: {what}: expected {algorithm} {expected} from {url}, got {digest}"
                )


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def extract(archive: str | Path, folder: str | Path) -> None:
    """Unpack a zip or tar archive; ``folder`` exists afterwards only if all of it was unpacked.

    A folder that this archive (the same bytes) was unpacked to is left as it is.

    Raises:
        InputError: the archive is absent, damaged or cut, has a member outside the folder, a link
            or a device, does not fit on the disk; or the folder holds something else. Nothing is
            left.
    """
    archive = Path(archive)
    if not archive.is_file():
        raise InputError(f"{archive}: no such archive")
    made_from = f"archive with sha256 {_digest(archive, 'sha256')}\n"
    make_folder(folder, made_from, partial(_extract_to, archive))


def _extract_to(archive: Path, folder: Path) -> None:
    try:
        # By its beginning: a tar whose last member is a zip ends like one.
        if _begins_with(archive, b"PK"):
            _extract_zip(archive, folder)
        elif tarfile.is_tarfile(archive):
            _extract_tar(archive, folder)
        else:
            raise InputError(f"{archive}: neither a zip nor a tar archive, or cut short")
    except _DAMAGED as error:
        raise InputError(f"{archive}: damaged archive: {error}") from None
    except OSError as error:
        raise InputError(f"{archive}: cannot be unpacked: {error}") from None


def _begins_with(archive: Path, mark: bytes) -> bool:
    with archive.open("rb") as file:
        return file.read(len(mark)) == mark


def _extract_zip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        members = file.infolist()
        for member in members:
            # Unix mode in the upper half; its file type is 0 for archives made elsewhere.
            kind = (member.external_attr >> 28) & 0o17
            if kind not in (0, 0o04, 0o10):
                raise InputError(f"{archive}: member {member.filename!r} is a link or a device")
        _check_names(archive, (member.filename for member in members))
        _check_space(folder, sum(member.file_size for member in members))
        for member in _progress(members, archive):
            file.extract(member, folder)  # verifies the member's CRC


def _extract_tar(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as file:
        members = file.getmembers()
        # tarfile takes the end of a cut file for the end of the archive; a whole one has a mark.
        assert file.fileobj is not None, "tarfile.open opens one"
        file.fileobj.seek(file.offset)
        if file.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise InputError(f"{archive}: the archive is cut short or damaged at {file.offset}")
        # The checksum of a compressed tar comes behind its end, where tarfile does not read.
        while file.fileobj.read(_CHUNK):
            pass
        for member in members:
            if not (member.isfile() or member.isdir()):
                raise InputError(f"{archive}: member {member.name!r} is a link or a device")
        _check_names(archive, (member.name for member in members))
        _check_space(folder, sum(member.size for member in members))
        for member in _progress(members, archive):
            file.extract(member, folder, filter="data")


def _progress(members: list[Any], archive: Path) -> Iterable[Any]:
    return tqdm(members, desc=archive.name, mininterval=0.2 if sys.stderr.isatty() else 5)


def _check_names(archive: Path, names: Iterable[str]) -> None:
    for name in names:
        posix, windows = PurePosixPath(name), PureWindowsPath(name)
        if posix.is_absolute() or windows.drive or "\\" in name or ".." in posix.parts:
            raise InputError(f"{archive}: member {name!r} would be outside the folder")

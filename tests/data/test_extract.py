import io
import random
import stat
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from rebalance.data.download import extract
from rebalance.data.files import MADE_FROM
from rebalance.errors import InputError

COCO = {"val2017/000000000139.jpg": b"one" * 999, "val2017/000000000285.jpg": b"two" * 999}
VOC = {
    "VOCdevkit/VOC2007/JPEGImages/000001.jpg": b"\xff\xd8" + bytes(3000),
    "VOCdevkit/VOC2007/Annotations/000001.xml": b"<annotation/>",
    "VOCdevkit/VOC2007/ImageSets/Main/test.txt": b"000001\n",
}


def write_zip(path: Path, files: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        for name, target in (links or {}).items():
            member = zipfile.ZipInfo(name)
            member.create_system = 3
            member.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(member, target)
    return path


def write_tar(path: Path, files: dict[str, bytes], special: list[tarfile.TarInfo] = ()) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in special:
            archive.addfile(member)
    return path


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != MADE_FROM
    }


def assert_refused(archive: Path, tmp_path: Path, message: str) -> None:
    before = {path for path in tmp_path.rglob("*")}
    with pytest.raises(InputError, match=message) as error:
        extract(archive, tmp_path / "out")
    assert str(archive) in str(error.value)
    assert {path for path in tmp_path.rglob("*")} == before, "nothing is left, nothing escaped"


@pytest.mark.parametrize(("write", "files"), [(write_zip, COCO), (write_tar, VOC)])
def test_an_archive_is_unpacked_with_all_of_its_bytes(tmp_path, write, files):
    extract(write(tmp_path / "archive", files), tmp_path / "deep" / "out")
    assert contents(tmp_path / "deep" / "out") == files
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]


@pytest.mark.parametrize("write", [write_zip, write_tar])
@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/tmp/rebalance-evil", "a/.."])
def test_a_member_outside_the_folder_is_refused(tmp_path, write, name):
    archive = write(tmp_path / "archive", {"fine": b"1", name: b"2"})
    assert_refused(archive, tmp_path, "would be outside the folder")
    assert not Path("/tmp/rebalance-evil").exists()


@pytest.mark.parametrize("name", ["C:\\evil", "..\\evil", "C:evil"])
def test_names_that_leave_the_folder_on_other_systems_are_refused(tmp_path, name):
    assert_refused(write_tar(tmp_path / "archive", {name: b"2"}), tmp_path, "outside the folder")


@pytest.mark.parametrize("target", ["fine", "../../etc/passwd"])
def test_a_link_in_a_zip_is_refused(tmp_path, target):
    archive = write_zip(tmp_path / "archive", {"fine": b"1"}, links={"link": target})
    assert_refused(archive, tmp_path, "'link' is a link or a device")


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
)
def test_a_link_or_device_in_a_tar_is_refused(tmp_path, kind):
    archive = write_tar(tmp_path / "archive", {"fine": b"1"}, [special("odd", kind, "fine")])
    assert_refused(archive, tmp_path, "'odd' is a link or a device")


@pytest.mark.parametrize("write", [write_zip, write_tar])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_a_cut_archive_is_refused(tmp_path, write, part):
    archive = write(tmp_path / "archive", {**VOC, **COCO})
    whole = archive.read_bytes().rstrip(b"\0")
    archive.write_bytes(whole[: int(len(whole) * part)])
    assert_refused(archive, tmp_path, "damaged|cut short")


def test_a_tar_cut_exactly_between_two_members_is_refused(tmp_path):
    archive = write_tar(tmp_path / "archive", {"a": bytes(512), "b": bytes(512)})
    archive.write_bytes(archive.read_bytes()[:1024])  # tarfile itself would call this complete
    assert_refused(archive, tmp_path, "cut short")


def test_a_flipped_byte_in_a_zip_is_refused(tmp_path):
    archive = write_zip(tmp_path / "archive", COCO)
    damaged = bytearray(archive.read_bytes())
    damaged[60] ^= 0xFF
    archive.write_bytes(damaged)
    assert_refused(archive, tmp_path, "damaged archive")


def test_what_is_no_archive_is_refused(tmp_path):
    (tmp_path / "archive").write_bytes(b"<html>not found</html>")
    assert_refused(tmp_path / "archive", tmp_path, "neither a zip nor a tar")
    assert_refused(tmp_path / "absent", tmp_path, "no such archive")


@pytest.mark.parametrize("folder", ["", ".", "..", "/"])
def test_a_folder_without_a_name_of_its_own_is_refused(tmp_path, folder):
    archive = write_zip(tmp_path / "archive", {"a": b"1"})
    with pytest.raises(InputError, match="must be the name of a folder to make"):
        extract(archive, folder)


def test_a_folder_that_exists_is_not_touched(tmp_path):
    archive = write_zip(tmp_path / "archive", COCO)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("1")
    with pytest.raises(InputError, match="already exists"):
        extract(archive, tmp_path / "out")
    assert contents(tmp_path / "out") == {"mine": b"1"}


def test_what_the_same_archive_gave_before_is_left_as_it_is(tmp_path, capsys):
    archive, out = write_zip(tmp_path / "archive", COCO), tmp_path / "out"
    extract(archive, out)
    before = {path: path.stat() for path in out.rglob("*")}
    archive.touch()
    extract(archive, out)
    assert {path: path.stat() for path in out.rglob("*")} == before
    assert f"{out}: is there already" in capsys.readouterr().err
    with pytest.raises(InputError, match="already exists"):
        extract(write_zip(archive, VOC), out)
    assert {path: path.stat() for path in out.rglob("*")} == before


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "out").mkdir()  # the workflow makes the parents of outputs beforehand
    extract(write_zip(tmp_path / "archive", COCO), tmp_path / "out")
    assert contents(tmp_path / "out") == COCO


def test_a_killed_extraction_leaves_no_folder_and_the_next_one_is_whole(tmp_path):
    archive = write_zip(tmp_path / "archive", COCO)
    code = (
        "import os, sys, zipfile\n"
        "from rebalance.data.download import extract\n"
        "real, count = zipfile.ZipFile.extract, []\n"
        "def extract_one(self, *a):\n"
        "    if count: os.kill(os.getpid(), 9)\n"
        "    count.append(1); return real(self, *a)\n"
        "zipfile.ZipFile.extract = extract_one\n"
        "extract(sys.argv[1], sys.argv[2])"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code, archive, tmp_path / "out"], capture_output=True
    )
    assert killed.returncode == -9
    assert not (tmp_path / "out").exists()
    extract(archive, tmp_path / "out")
    assert contents(tmp_path / "out") == COCO
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "out"]


def test_an_archive_larger_than_the_disk_is_refused(tmp_path, monkeypatch):
    from rebalance.data import download as module

    archive = write_zip(tmp_path / "archive", COCO)
    usage = module.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(InputError, match="5994 bytes are needed, 1000 are free"):
        extract(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("compression", ["gz", "bz2", "xz"])
def test_a_flipped_bit_anywhere_in_a_compressed_tar_is_refused(tmp_path, compression):
    with tarfile.open(tmp_path / "archive", f"w:{compression}") as archive:
        for name in ("a", "b"):
            member = tarfile.TarInfo(name)
            member.size = 3000
            archive.addfile(member, io.BytesIO(random.Random(name).randbytes(3000)))
    whole = (tmp_path / "archive").read_bytes()
    damaged = bytearray(whole)
    for position in range(100, len(whole) - 40, len(whole) // 40):
        damaged[position] ^= 4
        (tmp_path / "archive").write_bytes(damaged)
        damaged[position] ^= 4
        assert_refused(tmp_path / "archive", tmp_path, "damaged|neither|cannot be unpacked")


def test_a_tar_that_ends_with_a_zip_is_a_tar(tmp_path):
    files = {"first": b"1", "last.zip": write_zip(tmp_path / "inner", COCO).read_bytes()}
    archive = write_tar(tmp_path / "archive", files)
    assert zipfile.is_zipfile(archive), "the trap is set"
    extract(archive, tmp_path / "out")
    assert contents(tmp_path / "out") == files

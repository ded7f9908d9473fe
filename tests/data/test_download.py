import hashlib
import subprocess
import sys

import pytest
from rebalance.cli import main
from rebalance.data.download import download
from rebalance.data.sources import SOURCES, find_source
from rebalance.errors import InputError

CONTENT = bytes(range(256)) * 2000  # 512 000 bytes, every position distinct within a block
MD5 = hashlib.md5(CONTENT).hexdigest()
SHA256 = hashlib.sha256(CONTENT).hexdigest()
EXPECTED = {"size": len(CONTENT), "md5": MD5, "sha256": SHA256[:8]}


def fetch(url, path, **options):
    download(url, path, **{"pause": 0.0, "attempts": 3, **EXPECTED, **options})


def left(path):
    return sorted(child.name for child in path.iterdir())


def test_a_download_gives_the_file_and_nothing_else(server, tmp_path):
    fetch(server.add("a.zip", CONTENT), tmp_path / "deep" / "a.zip")
    assert (tmp_path / "deep" / "a.zip").read_bytes() == CONTENT
    assert left(tmp_path / "deep") == ["a.zip"]


def test_a_file_that_is_there_is_verified_and_not_asked_for_again(server, tmp_path):
    url = server.add("a.zip", CONTENT)
    fetch(url, tmp_path / "a.zip")
    fetch(url, tmp_path / "a.zip")
    assert len(server.requests) == 1
    (tmp_path / "a.zip").write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(
        InputError, match=r"a\.zip: the file that is there; remove it.*expected md5"
    ):
        fetch(url, tmp_path / "a.zip")
    assert len(server.requests) == 1


def test_a_cut_connection_is_continued_where_it_stopped(server, tmp_path):
    server.cuts = [100_000, 50_000, 1]
    fetch(server.add("a.zip", CONTENT), tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert [asked for _, asked in server.requests] == [
        None,
        "bytes=100000-",
        "bytes=150000-",
        "bytes=150001-",
    ]


def test_progress_starts_the_count_of_failures_anew(server, tmp_path):
    server.cuts = [1000] * 20  # far more cuts than attempts
    fetch(server.add("a.zip", CONTENT), tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


def test_a_later_call_continues_the_partial_file(server, tmp_path):
    url = server.add("a.zip", CONTENT)
    server.cuts = [200_000, 0, 0, 0]
    with pytest.raises(InputError, match=r"3 attempts failed.*a\.zip\.part") as error:
        fetch(url, tmp_path / "a.zip")
    assert url in str(error.value)
    assert left(tmp_path) == ["a.zip.part"]
    assert (tmp_path / "a.zip.part").stat().st_size == 200_000
    fetch(url, tmp_path / "a.zip")
    assert server.requests[-1][1] == "bytes=200000-"
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


def test_a_killed_process_leaves_no_file_and_is_continued(server, tmp_path):
    url = server.add("a.zip", CONTENT)
    path = tmp_path / "a.zip"
    code = (
        "import os, sys, rebalance.data.download as d\n"
        "real = d._verify\n"
        "d._verify = lambda *a: os.kill(os.getpid(), 9)\n"
        "d.download(sys.argv[1], sys.argv[2])"
    )
    killed = subprocess.run([sys.executable, "-c", code, url, path], capture_output=True)
    assert killed.returncode == -9
    assert left(tmp_path) == [".a.zip.lock", "a.zip.part"]
    fetch(url, path)
    assert left(tmp_path) == ["a.zip"]
    assert path.read_bytes() == CONTENT
    assert len(server.requests) == 1, "all of it had arrived"


def test_a_server_without_ranges_starts_over(server, tmp_path):
    server.honours_range = False
    server.cuts = [100_000]
    fetch(server.add("a.zip", CONTENT), tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


def test_a_partial_file_longer_than_the_servers_starts_over(server, tmp_path):
    (tmp_path / "a.zip.part").write_bytes(bytes(len(CONTENT) + 10))
    fetch(server.add("a.zip", CONTENT), tmp_path / "a.zip", size=None)
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


def test_a_passing_server_fault_is_tried_again(server, tmp_path):
    server.statuses = [503, 429]
    fetch(server.add("a.zip", CONTENT), tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


def test_a_missing_file_fails_at_once_with_the_address(server, tmp_path):
    with pytest.raises(InputError, match="404 Not Found") as error:
        fetch(server.url("absent.zip"), tmp_path / "a.zip")
    assert server.url("absent.zip") in str(error.value)
    assert len(server.requests) == 1
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"md5": "0" * 32}, f"expected md5 {'0' * 32} .*got {MD5}"),
        ({"sha256": "0" * 64}, f"expected sha256 {'0' * 64} .*got {SHA256}"),
    ],
)
def test_a_wrong_checksum_leaves_nothing(server, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        fetch(server.add("a.zip", CONTENT), tmp_path / "a.zip", **options)
    assert left(tmp_path) == []


@pytest.mark.parametrize("announced", [True, False])
def test_a_file_of_another_size_is_refused(server, tmp_path, announced):
    server.announces_length = announced
    with pytest.raises(InputError, match=r"expected 512000 bytes.* 400000"):
        fetch(server.add("a.zip", CONTENT[:400_000]), tmp_path / "a.zip")
    assert left(tmp_path) == []


def test_without_a_checksum_the_sha256_is_told(server, tmp_path, capsys):
    fetch(server.add("a.zip", CONTENT), tmp_path / "a.zip", size=None, md5=None, sha256=None)
    assert SHA256 in capsys.readouterr().err


def test_a_disk_too_small_is_told_before_the_transfer(server, tmp_path):
    server.false_length = 10**15
    with pytest.raises(InputError, match=rf"{10**15} bytes are needed, \d+ are free"):
        fetch(server.add("a.zip", CONTENT), tmp_path / "a.zip", size=None)
    assert left(tmp_path) == []


def test_something_that_is_no_address_is_refused_at_once(tmp_path):
    with pytest.raises(InputError, match="not an address to download from"):
        download("not-a-url", tmp_path / "a.zip")


def test_the_command_downloads_and_tells_errors_in_one_line(server, tmp_path, capsys):
    url = server.add("a.zip", CONTENT)
    out = str(tmp_path / "a.zip")
    assert main(["data", "download", "--url", url, "--md5", MD5, "--out", out]) == 0
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    capsys.readouterr()
    assert main(["data", "download", "--url", server.url("no"), "--out", out + "2"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "404" in error
    assert main(["data", "download", "--source", "voc2007", "--out", out + "2"]) == 2
    assert "voc2007_test" in capsys.readouterr().err
    assert main(["data", "download", "--source", "resnet50", "--size", "3", "--out", out]) == 2


def test_known_sources_can_be_verified():
    for name, source in SOURCES.items():
        assert find_source(name) == source
        assert source.md5 is None or len(source.md5) == 32
        assert source.md5 or source.sha256, "each has a checksum"


def test_known_sources_agree_with_torchvision():
    from torchvision.datasets.voc import DATASET_YEAR_DICT
    from torchvision.models import (
        ResNet18_Weights,
        ResNet50_Weights,
        ResNet101_Weights,
        VGG16_Weights,
    )

    ours = {"2007": "voc2007_trainval", "2007-test": "voc2007_test", "2012": "voc2012_trainval"}
    for year, name in ours.items():
        theirs = DATASET_YEAR_DICT[year]
        assert SOURCES[name].md5 == theirs["md5"]
        assert SOURCES[name].url.endswith(theirs["filename"])
    for name, theirs in {
        "resnet18": ResNet18_Weights.IMAGENET1K_V1,
        "resnet50": ResNet50_Weights.IMAGENET1K_V1,
        "resnet101": ResNet101_Weights.IMAGENET1K_V1,
        "vgg16_features": VGG16_Weights.IMAGENET1K_FEATURES,
    }.items():
        assert SOURCES[name].url == theirs.url
        assert f"-{SOURCES[name].sha256}.pth" in theirs.url


def test_a_published_checksum_is_asked_for_and_decides(server, tmp_path):
    url = server.add("r.json", CONTENT)
    said = server.add("r.json.md5sum", f"{MD5}  r.json\n".encode())
    download(url, tmp_path / "r.json", md5_url=said)
    assert (tmp_path / "r.json").read_bytes() == CONTENT
    other = server.add("o.md5sum", f"{'0' * 32}\n".encode())
    with pytest.raises(InputError, match=rf"what arrived \(removed\): expected md5 {'0' * 32}"):
        download(url, tmp_path / "other.json", md5_url=other)
    assert left(tmp_path) == [".other.json.lock", "r.json"] or left(tmp_path) == ["r.json"]


@pytest.mark.parametrize("content", [b"", b"<html>no such file</html>", b"abc123  r.json"])
def test_what_is_no_checksum_is_refused_before_anything_is_downloaded(server, tmp_path, content):
    url, said = server.add("r.json", CONTENT), server.add("r.md5sum", content)
    with pytest.raises(InputError, match="must hold an md5 of 32 hexadecimal digits"):
        download(url, tmp_path / "r.json", md5_url=said)
    assert [path for path, _ in server.requests] == ["/r.md5sum"]


def test_a_checksum_that_is_not_there_is_one_sentence(server, tmp_path):
    with pytest.raises(InputError, match=r"r\.md5sum: the checksum cannot be had: 404"):
        download(server.url("r.json"), tmp_path / "r.json", md5_url=server.url("r.md5sum"))

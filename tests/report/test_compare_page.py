"""The page of rebalance compare: complete, honest about 0, without paths of this machine."""

import json
from html.parser import HTMLParser

import pytest
from rebalance.cli import main
from rebalance.report.compare import verdict


@pytest.fixture
def page(tmp_path, random_scene, capsys):
    """A made page; its class names and file names must be escaped."""
    gt, results = random_scene(3, num_images=12)
    gt["categories"][0]["name"] = "<b>class</b>"
    for name, content in (("gt", gt), ("a&b", results), ("c", results[::3])):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    files = [f"{tmp_path}/{name}.json" for name in ("a&b", "c", "a&b")]
    out = ["--out", f"{tmp_path}/o.json", "--html", f"{tmp_path}/o.html", "--resamples", "20"]
    assert main(["compare", "--gt", f"{tmp_path}/gt.json", "--dt", *files, *out]) == 0
    assert "c against a&b, in points" in capsys.readouterr().out
    return (tmp_path / "o.html").read_text(), tmp_path


class Tags(HTMLParser):
    """Every element is closed in the order it was opened; headings are collected."""

    def __init__(self):
        super().__init__()
        self.open, self.headings, self.pictures = [], [], 0

    def handle_starttag(self, tag, attributes):
        self.pictures += tag == "svg"
        if tag not in ("meta", "circle", "line"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("h1", "h2", "h3"):
            self.headings.append(data)


def test_page_is_well_formed_and_has_a_section_per_result(page):
    text, _ = page
    tags = Tags()
    tags.feed(text.replace("/>", ">"))
    assert tags.open == []
    assert tags.headings[0] == "c, a&b (2) against a&b"
    assert tags.headings.count("By class") == 2
    assert tags.pictures > 20


def test_page_names_no_folder_and_escapes_names(page):
    text, folder = page
    assert str(folder) not in text
    assert "&lt;b&gt;class&lt;/b&gt;" in text
    assert "<b>class" not in text
    assert "nan" not in text


@pytest.mark.parametrize(
    ("name", "low", "high", "expected"),
    [
        ("AP", 0.1, 0.2, "better"),
        ("AP", -0.2, -0.1, "worse"),
        ("oLRP_FP", 0.1, 0.2, "worse"),
        ("oLRP", -0.2, -0.1, "better"),
        ("AP", -0.1, 0.2, "open"),
        ("AP", 0.0, 0.0, "same"),
        ("AP", float("nan"), float("nan"), "open"),
    ],
)
def test_only_intervals_without_zero_are_called_better_or_worse(name, low, high, expected):
    assert verdict(name, {"low": low, "high": high}) == expected

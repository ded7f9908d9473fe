import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rebalance.cli import main
from rebalance.errors import InputError
from rebalance.report.index import index_html


class Page(HTMLParser):
    """Cards with their status, all links, and whether every element is closed."""

    VOID = frozenset({"meta", "img", "input", "path", "rect", "link"})

    def __init__(self, text):
        super().__init__()
        self.cards, self.links, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "article":
            self.cards.append(attributes)
        self.links += [attributes[key] for key in ("href", "src") if key in attributes]

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def target(name, status="made", **others):
    entry = {"name": name, "title": f"Title of {name}", "kind": "released_models"}
    return entry | {"status": status} | others


@pytest.fixture
def manifest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = Path("results/shapes/work_a/table 1")
    folder.mkdir(parents=True)
    for name in ("notebook.html", "table.png", "table.csv"):
        (folder / name).write_text(name)
    files = {
        "html": str(folder / "notebook.html"),
        "thumbnail": str(folder / "table.png"),
        "csv": str(folder / "table.csv"),
    }
    return {
        "scale": "shapes",
        "works": [
            {
                "key": "work_a",
                "title": "Boxes & <balance>",
                "authors": "A. Author",
                "targets": [
                    target("work_a_table_1", reason=None, **files),
                    target("work_a_table_2", "needs_gpu", reason="4 GPUs & a day"),
                    target("work_a_table_3", "not_built", reason="no masks here", csv="never.csv"),
                ],
            },
            {"key": "b", "title": "B", "targets": [target("b_figure_1", "waiting", reason="soon")]},
        ],
    }


def test_shows_every_target_with_its_status(manifest):
    page = Page(index_html(manifest, Path("results/shapes")))
    assert page.open == []
    statuses = [card["data-status"] for card in page.cards]
    assert statuses == ["made", "needs_gpu", "not_built", "waiting"]
    text = index_html(manifest, Path("results/shapes"))
    for expected in (
        "shapes scale",
        "Boxes &amp; &lt;balance&gt;",
        "A. Author",
        "1 of 3 made",
        "0 of 1 made",
        "<b>1</b> of the <b>4</b> tables and figures of the works",
        "4 GPUs &amp; a day",
        "no masks here",
        "released models",
        '<option value="needs_gpu">needs a GPU (1)</option>',
    ):
        assert expected in text


@pytest.mark.parametrize(
    ("departures", "said"),
    [
        (2, "2 differences noted"),
        (1, "1 difference noted"),
        (0, None),
        (None, None),
    ],
)
def test_a_card_counts_the_differences_from_the_work(manifest, departures, said):
    manifest["works"][0]["targets"][1]["departures"] = departures
    text = index_html(manifest, Path("results/shapes"))
    assert (f'<span class="chip">{said}</span>' in text) == (said is not None)
    assert ("noted</span>" in text) == (said is not None)


def test_shows_what_is_the_suites_own_without_counting_it(manifest):
    manifest["works"][1]["own"] = True
    text = index_html(manifest, Path("results/shapes"))
    assert len(Page(text).cards) == 4
    assert "<b>1</b> of the <b>3</b> tables and figures" in text
    assert "<b>0</b> of <b>1</b> pages of our own" in text


def test_companions_are_counted_with_what_is_our_own(manifest):
    manifest["works"][0]["targets"][1]["companion"] = True
    text = index_html(manifest, Path("results/shapes"))
    assert "<b>1</b> of the <b>3</b> tables and figures" in text
    assert "<b>0</b> of <b>1</b> pages of our own" in text


def claim(verdict, **others):
    entry = {"name": "a over b: AP", "gain": True, "printed": 0.6, "measured": -1.25}
    return entry | {"interval": [-2.0, -0.5], "verdict": verdict} | others


def test_the_scoreboard_lists_claims_with_interval_and_verdict(manifest):
    first, second, _ = manifest["works"][0]["targets"]
    first["claims"] = [claim("fails")]
    number = {"gain": False, "name": "b: AP", "printed": 35.9, "measured": None, "interval": None}
    second |= {"claims": [claim("not_measured", **number)], "detectors": ["PAA"]}
    text = index_html(manifest, Path("results/shapes"))
    assert Page(text).open == []
    assert "<b>2</b> claims: 1 do not hold, 1 not measured." in text
    for cells in (
        ["a over b: AP", "+0.60", "−1.25", "[−2.00, −0.50]", "does not hold"],
        ["b: AP", "35.9", "–", "–", "not measured"],
    ):
        row = next(r for r in re.findall("<tr data-claim.*?</tr>", text) if f">{cells[0]}<" in r)
        assert [re.sub("<.*?>", "", c) for c in re.findall("<t[hd].*?</t[hd]>", row)] == cells
    assert 'data-detector="PAA"' in text
    assert '<option value="claim-fails">does not hold (1)</option>' in text
    assert 'href="work_a/table%201/notebook.html">Open its page' in text


def test_links_are_relative_and_exist(manifest):
    links = Page(index_html(manifest, Path("results/shapes"))).links
    assert sorted(links) == [
        "work_a/table%201/notebook.html",
        "work_a/table%201/table.csv",
        "work_a/table%201/table.png",
    ]
    for link in links:
        assert (Path("results/shapes") / link.replace("%20", " ")).is_file()


def test_needs_nothing_from_elsewhere(manifest):
    text = index_html(manifest, Path("results/shapes"))
    assert not re.search(r"(src|href)=\"(https?:)?//", text)
    assert "@import" not in text
    assert "url(" not in text


def test_warns_unless_the_scale_is_the_papers(manifest):
    assert "Not comparable" in index_html(manifest, Path("results/shapes"))
    assert "Not comparable" not in index_html(manifest | {"scale": "paper"}, Path("results/paper"))


def test_command_writes_the_page(manifest, capsys):
    Path("manifest.json").write_text(json.dumps(manifest))
    out = Path("results/shapes/index.html")
    assert main(["index", "--manifest", "manifest.json", "--out", str(out)]) == 0
    assert out.read_text() == index_html(manifest, out.parent)


def test_command_shows_the_configured_targets(repository, tmp_path, monkeypatch):
    monkeypatch.chdir(repository)
    out = tmp_path / "index.html"
    assert main(["index", "--scale", "shapes", "--out", str(out)]) == 0
    assert "focal_eiou_table_2" in out.read_text()


def test_two_works_have_two_keys(manifest):
    manifest["works"].append(manifest["works"][0])
    with pytest.raises(InputError, match=r"works\[2\].key: 'work_a' is the key of another work"):
        index_html(manifest, Path("results/shapes"))


def test_no_works_is_a_page():
    page = Page(index_html({"scale": "paper", "works": []}, Path()))
    assert page.cards == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            lambda first: first.update(status="done"),
            r"targets\[0\].status: must be one of",
            id="unknown status",
        ),
        pytest.param(lambda first: first.pop("kind"), "missing key 'kind'", id="no kind"),
        pytest.param(lambda first: first.update(htm="x"), "unknown key 'htm'", id="typo"),
        pytest.param(lambda first: first.pop("html"), "is made and has no html", id="no page"),
        pytest.param(
            lambda first: first.update(csv="gone.csv"),
            "made, 'gone.csv' does not exist",
            id="no file",
        ),
        pytest.param(
            lambda first: first.update(claims=[claim("fine")]),
            r"claims\[0\].verdict: must be one of",
            id="verdict of a claim",
        ),
        pytest.param(
            lambda first: first.update(claims=[{"name": "x"}]),
            r"claims\[0\]: missing key",
            id="half a claim",
        ),
    ],
)
def test_a_wrong_manifest_is_refused(manifest, change, message):
    change(manifest["works"][0]["targets"][0])
    with pytest.raises(InputError, match=message):
        index_html(manifest, Path("results/shapes"))


def test_command_refuses_what_is_no_manifest(tmp_path, capsys):
    path = tmp_path / "manifest.json"
    out = tmp_path / "index.html"
    for content, message in {
        None: "no such manifest",
        "{": "not valid JSON",
        "[]": "manifest.json: must be a mapping, got []",
        '{"scale": 1, "works": []}': "manifest.json: scale: must be text, got 1",
        '{"scale": "s", "works": {"a": 1}}': "manifest.json: works: must be a list",
        '{"scale": "s", "works": [7]}': "manifest.json: works[0]: must be a mapping, got 7",
    }.items():
        if content is not None:
            path.write_text(content)
        assert main(["index", "--manifest", str(path), "--out", str(out)]) == 2
        assert message in capsys.readouterr().err
        assert not out.exists()

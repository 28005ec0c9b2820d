"""The web page."""

from __future__ import annotations

from html.parser import HTMLParser

from msgspec.structs import replace

from daedalus_supervisor import page
from support.observations import collector, healthy, reported, seen, writer

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;"
VOID = {"meta", "link", "img", "br", "input", "hr"}


class Document(HTMLParser):
    """The tags in order, with what is wrong with their nesting; the text; every address it would fetch."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.addresses: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action")]
        assert not [name for name, _ in attrs if name.startswith("on") or name == "style"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_well_formed_and_complete() -> None:
    """Every element is closed, and the figures are there without JavaScript."""
    document = Document(page.document(reported(healthy())))
    assert document.open == []
    for shown in ("1/1 collectors healthy", "1,234,567", "ccxt_coinbaseadvanced", "MD-0", "12.3 MB of 4,096 MB"):
        assert shown in document.text


def test_every_name_is_escaped() -> None:
    """Instances, exchanges and problems are whatever somebody sent: they are shown, and do nothing."""
    ill = replace(writer(instance=EVIL), ready=False, problems={EVIL: EVIL}, version=EVIL)
    report = reported(healthy(seen=seen(collector(instance=EVIL), collector(exchange="<b>"), ill)))
    plain = Document(page.document(reported(healthy())))
    document = Document(page.document(report))
    assert document.tags.count("script") == plain.tags.count("script") == 1
    assert "img" not in document.tags
    assert "b" not in [tag for tag in document.tags if document.tags.count("b") > plain.tags.count("b")]
    assert EVIL in document.text


def test_nothing_from_elsewhere() -> None:
    """The page loads nothing from any other place, and its policy forbids it."""
    html = page.document(reported(healthy()))
    assert all(address.startswith(("/", "data:")) for address in Document(html).addresses)
    assert "default-src 'none'" in html.replace("&#x27;", "'")


def test_problems_stand_first() -> None:
    """What is wrong is the first thing to read."""
    html = page.document(reported(healthy(seen=seen(collector(outbox=49_000), writer()))))
    assert html.index("outbox is 98 % full") < html.index("<h2>Flow</h2>")
    assert "🔴" in html


def test_upload_tile_only_with_s3() -> None:
    """With backend local there are no uploads to show."""
    report = reported(healthy())
    assert "segments wait" in page.document(report)
    assert "segments wait" not in page.document(replace(report, uploads=False))

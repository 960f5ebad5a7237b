"""The page of the HTML report, as a test reads it."""

import re
from html.parser import HTMLParser


class Outline(HTMLParser):
    """Checks that elements nest, and collects what a test asks for."""

    VOID = frozenset({"meta", "br"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == [], "elements that nothing closes"
        self.text = re.sub(r"\s+", " ", self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert tag == self.open.pop()

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


def table_of(page: str, caption: str) -> list[list[str]]:
    """The cells of a table by row, without the heads of columns."""
    (table,) = re.findall(rf"<caption>{re.escape(caption)}</caption>.*?</table>", page, re.DOTALL)
    table = re.sub(r'<span class="spoken">.*?</span>', "", table.replace("<small>", "\n"))
    return [
        [
            re.sub(r"<[^>]+>", "", cell).strip()
            for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)
        ]
        for row in table.split("</tr>")[1:-1]
    ]

"""HTML that is safe by construction: plain strings are escaped, only ``Html`` is taken as it is."""

import html
from collections.abc import Iterable, Sequence
from typing import Final

from worker.core.escaping import xml_text

_VOID: Final = frozenset({"meta", "br"})


class Html(str):
    """Markup."""

    __slots__ = ()


def el(tag: str, *children: str, **attributes: str | int) -> Html:
    """An element. ``class_`` is ``class``, ``aria_label`` is ``aria-label``."""
    names = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(xml_text(str(value)))}"'
        for name, value in attributes.items()
    )
    if tag in _VOID:
        return Html(f"<{tag}{names}>")
    return Html(f"<{tag}{names}>{join(children)}</{tag}>")


def join(children: Iterable[str]) -> Html:
    """The children one after another, plain strings escaped."""
    return Html(
        "".join(
            child if isinstance(child, Html) else html.escape(xml_text(child), quote=False)
            for child in children
        )
    )


def with_code(text: str) -> Html:
    """Text in which commands stand between backticks."""
    pieces = text.split("`")
    return join(el("code", piece) if index % 2 else piece for index, piece in enumerate(pieces))


def table(
    caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], *, text: int = 1
) -> Html:
    """A table; the first ``text`` columns hold text, the others numbers. Scrolls if it must."""
    kinds = ["text" if index < text else "number" for index in range(len(head))]

    def line(cells: Sequence[str]) -> Html:
        first = el("th", cells[0], scope="row", class_=kinds[0])
        rest = zip(cells[1:], kinds[1:], strict=True)
        return el("tr", first, *(el("td", cell, class_=kind) for cell, kind in rest))

    titles = (
        el("th", title, scope="col", class_=kind) for title, kind in zip(head, kinds, strict=True)
    )
    return el(
        "div",
        el(
            "table",
            el("caption", caption),
            el("thead", el("tr", *titles)),
            el("tbody", *(line(row) for row in rows)),
        ),
        class_="table",
        role="region",
        aria_label=caption,
        tabindex=0,
    )

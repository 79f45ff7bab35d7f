"""Reads a page as a browser's parser does, as far as tests need it."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = frozenset({"br", "circle", "input", "line", "link", "meta", "path", "rect"})


@dataclass
class Element:
    """An element with its attributes, and the text of it and its children."""

    name: str
    attributes: dict[str, str | None]
    text: str = ""
    inside: tuple[str, ...] = field(default=())
    """The names of the elements around it, from the outermost."""


class Page(HTMLParser):
    """All elements of a page, in their order."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self.feed(page.decode())
        self.close()
        assert self._open == [], "elements that nobody closed"

    def all(self, name: str, **attributes: str) -> list[Element]:
        """Return the elements of this name with these attributes; ``class_`` is ``class``."""
        wanted = {key.rstrip("_"): value for key, value in attributes.items()}.items()
        return [
            element
            for element in self.elements
            if element.name == name and wanted <= element.attributes.items()
        ]

    def one(self, name: str, **attributes: str) -> Element:
        found = self.all(name, **attributes)
        assert len(found) == 1, (name, attributes, found)
        return found[0]

    def has(self, name: str, **attributes: str) -> bool:
        return bool(self.all(name, **attributes))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs), inside=tuple(outer.name for outer in self._open))
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().name == tag

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data

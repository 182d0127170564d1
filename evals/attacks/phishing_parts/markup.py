"""A page as a small tree, read with the standard library's parser, as strict as a browser isn't."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"}
)


@dataclass
class Node:
    """One element with its attributes and what is in it."""

    tag: str
    attributes: dict[str, str]
    parent: "Node | None" = None
    children: list["Node | str"] = field(default_factory=list)

    def walk(self) -> Iterator["Node"]:
        """This element and all below it."""
        yield self
        for child in self.children:
            if isinstance(child, Node):
                yield from child.walk()

    def all(self, tag: str = "", **attributes: str) -> list["Node"]:
        """Elements below with this tag and these attributes; `klass` asks for one class."""
        klass = attributes.pop("klass", "")
        return [
            node
            for node in self.walk()
            if (not tag or node.tag == tag)
            and (not klass or klass in node.classes)
            and all(node.attributes.get(k) == v for k, v in attributes.items())
        ]

    @property
    def classes(self) -> frozenset[str]:
        """Its classes."""
        return frozenset(self.attributes.get("class", "").split())

    def text(self, skip: Callable[["Node"], bool] = lambda node: False) -> str:
        """All text in it, blanks folded; elements that *skip* names are passed over."""
        return " ".join(self._text(skip).split())

    def _text(self, skip: Callable[["Node"], bool]) -> str:
        parts = []
        for child in self.children:
            if isinstance(child, str):
                parts.append(child)
            elif not skip(child):
                parts.append(child._text(skip))
        return " ".join(parts) if self.tag in ("ul", "dl", "div", "form") else "".join(parts)

    def everything(self) -> str:
        """Text and attribute values, as they are."""
        own = [child for child in self.children if isinstance(child, str)]
        deeper = [child.everything() for child in self.children if isinstance(child, Node)]
        return "\n".join([*self.attributes.values(), *own, *deeper])


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Node("", {})
        self._open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, {name: value or "" for name, value in attrs}, self._open[-1])
        self._open[-1].children.append(node)
        if tag not in VOID:
            self._open.append(node)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, {name: value or "" for name, value in attrs}, self._open[-1])
        self._open[-1].children.append(node)

    def handle_endtag(self, tag: str) -> None:
        for depth in range(len(self._open) - 1, 0, -1):
            if self._open[depth].tag == tag:
                del self._open[depth:]
                return

    def handle_data(self, data: str) -> None:
        self._open[-1].children.append(data)


def read_page(text: str) -> Node:
    """The tree of an HTML document or fragment."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    return reader.root

"""The parts of a page: sections with notes, figures, tables and galleries."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from skvaball.experiments.report._figures import Image


class Cell(NamedTuple):
    """A cell of a table."""

    text: str
    columns: int = 1
    rows: int = 1
    #: Words stand to the left of their column, numbers to the right.
    word: bool = False


@dataclass
class Note:
    """A paragraph; a warning stands out."""

    text: str
    warning: bool = False
    kind: ClassVar[str] = "note"


@dataclass
class Legend:
    """How each strategy is drawn."""

    entries: list[tuple[Image, str]]
    kind: ClassVar[str] = "legend"


@dataclass
class Figure:
    """Panels side by side above one caption; so many in a row where there is room."""

    panels: list[Image]
    caption: str
    columns: int
    small: bool = False
    number: int = 0
    kind: ClassVar[str] = "figure"


@dataclass
class Table:
    """A table below its caption; the first cell of a row names the row."""

    caption: str
    head: list[list[Cell]]
    rows: list[list[str]]
    #: So many columns, from the left, hold words rather than numbers.
    words: int = 1
    number: int = 0
    kind: ClassVar[str] = "table"


class Picture(NamedTuple):
    """An image of a gallery, with what stands under it."""

    source: str
    label: str
    mistaken: bool
    terms: list[tuple[str, str]]


@dataclass
class Gallery:
    """Images of the pool, first to last."""

    pictures: list[Picture]
    caption: str
    number: int = 0
    kind: ClassVar[str] = "gallery"


@dataclass
class Facts:
    """Names and what they stand for."""

    entries: list[tuple[str, str]]
    kind: ClassVar[str] = "facts"


Block = Note | Legend | Figure | Table | Gallery | Facts


@dataclass
class Section:
    """A heading, what stands under it, and the sections inside."""

    title: str
    blocks: list[Block] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)
    anchor: str = ""

    def __bool__(self) -> bool:
        return bool(self.blocks or self.sections)


def number_page(sections: Sequence[Section]) -> None:
    """Give figures and tables their numbers, and sections their anchors."""
    figures, tables = 0, 0
    anchors: set[str] = set()
    for section, path in _walk(sections):
        anchor = "-".join(re.sub(r"[^a-z0-9]+", "-", t.lower()).strip("-") for t in path)
        # "+[1]" and "-[1]" are the same without their signs.
        numbered = itertools.chain([anchor], (f"{anchor}-{i}" for i in itertools.count(2)))
        section.anchor = next(name for name in numbered if name not in anchors)
        anchors.add(section.anchor)
        for block in section.blocks:
            if isinstance(block, Figure | Gallery):
                figures += 1
                block.number = figures
            elif isinstance(block, Table):
                tables += 1
                block.number = tables


def _walk(
    sections: Sequence[Section], path: tuple[str, ...] = ()
) -> Iterator[tuple[Section, tuple[str, ...]]]:
    for section in sections:
        here = (*path, section.title)
        yield section, here
        yield from _walk(section.sections, here)

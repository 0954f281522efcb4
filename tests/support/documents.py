"""What a reader copies out of the Markdown files: commands and TOML."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from support.program import repository

FOLDERS: Final = ("", "docs/**/", "plugins/**/", "benchmarks/", "reenact/assets/")
"""Where Markdown stands that shows commands."""

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
_INDENTED = re.compile(r"^ {4}\S.*(?:\n {4,}\S.*)*", re.M)
_INLINE = re.compile(r"`([^`]+)`")
_SHELL = ("sh", "bash", "console", "")


@dataclass(frozen=True)
class Command:
    """One command line of `reenact` in a document; `words` follow the program's name.

    `block` is the number of its block in the document; None in a sentence, where a command may be
    named without its arguments.
    """

    document: str
    words: tuple[str, ...]
    block: int | None = None

    def __str__(self) -> str:
        return f"{self.document}: reenact {shlex.join(self.words)}"


def documents() -> list[Path]:
    """Return the Markdown files, README first."""
    found = (path for folder in FOLDERS for path in sorted(repository().glob(f"{folder}*.md")))
    return list(dict.fromkeys(found))


def commands() -> list[Command]:
    """Return every command line of `reenact`, one in sentences once for each document."""
    found = []
    for path in documents():
        name = path.relative_to(repository()).as_posix()
        text = path.read_text(encoding="utf-8")
        blocks = [block for language, block in _FENCED.findall(text) if language in _SHELL]
        prose = _FENCED.sub("", text)
        blocks += _INDENTED.findall(prose)
        for number, block in enumerate(blocks):
            found += [Command(name, words, number) for words in _typed(block)]
        for span in _INLINE.findall(_INDENTED.sub("", prose)):
            line = re.sub(r"\s+", " ", span)
            if re.match(r"(reenact|torchrun) ", line) and "…" not in line:
                found += [Command(name, words) for words in _typed(line)]
    return list(dict.fromkeys(found))


def toml_blocks() -> list[tuple[str, str]]:
    """Return (document, text) of every fenced block of TOML."""
    return [
        (path.relative_to(repository()).as_posix(), block)
        for path in documents()
        for language, block in _FENCED.findall(path.read_text(encoding="utf-8"))
        if language == "toml"
    ]


def _typed(block: str) -> Iterator[tuple[str, ...]]:
    """Yield what follows the program's name in each command of a block."""
    for line in re.sub(r"\\\n", " ", block).splitlines():
        if not re.search(r"\breenact ", line):
            continue
        words: list[str] = []
        for word in [*shlex.split(line, comments=True), "&&"]:
            if word in ("&&", "|", ";"):
                if words and Path(words[0]).name in ("reenact", "torchrun"):
                    names = [Path(word).name for word in words]
                    if "reenact" in names:
                        yield tuple(words[names.index("reenact") + 1 :])
                words = []
            else:
                words.append(word)

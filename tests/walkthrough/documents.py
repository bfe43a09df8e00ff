"""Markdown documents as their readers use them: commands in fenced blocks, links, headings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "data" / "README.md", *ROOT.glob("tests/**/*.md")]
)


class Block(NamedTuple):
    """A fenced block of shell commands; `left_out` is why the walk-through does not run it, '' where it does."""

    commands: str
    left_out: str


def shell_blocks(document: Path) -> list[Block]:
    """Return the blocks marked `bash`, in order."""
    found = re.findall(
        r"(?:<!-- not run by the walk-through: (.*?) -->\n)?^```bash\n(.*?)^```$",
        document.read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    return [Block(commands, why) for why, commands in found]


def command_lines(document: Path) -> list[str]:
    """Return the commands of all `bash` blocks, without what is said of them."""
    lines = [line for block in shell_blocks(document) for line in block.commands.splitlines()]
    return [line.partition("  #")[0].strip() for line in lines if line.strip()]


def without_code(text: str) -> str:
    """Return a document's text without fenced blocks and code in lines."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))


def links(document: Path) -> list[str]:
    """Return where a document's links lead."""
    return re.findall(r"\]\(([^)\s]+)\)", without_code(document.read_text(encoding="utf-8")))


def anchors(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub names them."""
    text = re.sub(r"^```.*?^```$", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}

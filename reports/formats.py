"""Tables as text for a document. Whatever was stored stays text in each of them."""

from __future__ import annotations

from collections.abc import Callable

from reports.terminal import TerminalTable
from reports.text import one_line

_MARKDOWN = {
    **{c: f"\\{c}" for c in "\\`*_[]|~#!"},
    # A backslash would not keep these from being HTML, mathematics, an address or a mention.
    **{c: f"&#{ord(c)};" for c in "<>&$@:"},
}
_LATEX = {
    **{c: f"\\{c}" for c in "{}$&#_%"},
    "\\": "\\textbackslash{}",
    "^": "\\textasciicircum{}",
    "~": "\\textasciitilde{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "`": "\\textasciigrave{}",
    '"': "\\textquotedbl{}",
    "'": "\\textquotesingle{}",
    "–": "--",
    "≤": "$\\leq$",
    "±": "$\\pm$",
    "∞": "$\\infty$",
    "ε": "$\\varepsilon$",
}


def as_markdown(table: TerminalTable) -> str:
    """A GitHub-flavoured table, and its notes as a list."""
    heads = [_markdown(name) for name in table.columns]
    rules = ["---:" if right else "---" for right in table.right_aligned]
    rows = [heads, rules, *([_markdown(cell) for cell in row] for row in table.rows)]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    if table.notes:
        lines += ["", *(f"- {_markdown(note)}" for note in table.notes)]
    return "\n".join(lines) + "\n"


def as_latex(table: TerminalTable) -> str:
    """A tabular with the rules of the package booktabs; its notes are comments below it."""
    alignment = "".join("r" if right else "l" for right in table.right_aligned)
    lines = [
        f"\\begin{{tabular}}{{{alignment}}}",
        "\\toprule",
        _latex_row(table.columns),
        "\\midrule",
        *(_latex_row(row) for row in table.rows),
        "\\bottomrule",
        "\\end{tabular}",
        *(f"% {one_line(note)}" for note in table.notes),
    ]
    return "\n".join(lines) + "\n"


WRITERS: dict[str, Callable[[TerminalTable], str]] = {"markdown": as_markdown, "latex": as_latex}


def _latex_row(cells: list[str]) -> str:
    # Braces keep a cell that begins with "[" from being an option of the row end before it.
    return " & ".join(f"{{{_latex(cell)}}}" for cell in cells) + " \\\\"


def _markdown(text: str) -> str:
    return "".join(_MARKDOWN.get(c, c) for c in one_line(text))


def _latex(text: str) -> str:
    return "".join(_LATEX.get(c, c) for c in one_line(text))

"""The board for a paper: tables to be put in, with booktabs."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from vidbench import wording
from vidbench.files import write_atomic
from vidbench.leaderboard import Block, Board
from vidbench.report import LeaderboardView
from vidbench.results import MetricFacts
from vidbench_reports.leaderboard import words

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}",
    "-": "{-}",  # two would become a dash
    "[": "{[}",  # after \\ it would begin an optional argument
    "]": "{]}",
    "*": "{*}",  # so would this
    "–": "--",
}
_PACKAGES = "booktabs, textcomp, fontenc with T1 and, for names that are not ASCII, XeLaTeX or LuaLaTeX"


def escape(text: str) -> str:
    """Text from outside as LaTeX that shows as it is and does nothing."""
    return "".join(_SPECIAL.get(character, character) for character in wording.plain(text))


class LatexLeaderboard(LeaderboardView):
    """One table a block, to be put into a document."""

    name: ClassVar[str] = "latex"
    file_name: ClassVar[str] = "leaderboard.tex"
    summary: ClassVar[str] = "tables for a paper, with booktabs"

    def write(self, board: Board, path: Path, *, copy_clips: bool = False) -> None:
        """Write the ranking with intervals, ranks and coverage."""
        write_atomic(path, render(board).encode("utf-8", "replace"))


def render(board: Board) -> str:
    """The board as LaTeX."""
    parts = [f"% Made by vidbench leaderboard; needs the packages {_PACKAGES}."]
    if board.settings:
        parts.append("% The runs were not made alike: each setting has a table of its own.")
    parts += [_table(board, block) for block in board.blocks]
    return "\n".join(parts) + "\n"


def _table(board: Board, block: Block) -> str:
    judged = block.judging
    header = ["Rank", "Model", r"Mean rank $\downarrow$", *(_header(facts) for facts in judged)]
    lines = [
        r"\begin{table}",
        r"\centering",
        r"\begin{tabular}{rl" + "l" * (len(judged) + 1) + "}",
        r"\toprule",
        " & ".join(header) + r" \\",
        r"\midrule",
    ]
    ruled = False
    for model in block.summary.models:
        if words.kind(block, model) != "model" and not ruled:
            lines.append(r"\midrule")
            ruled = True
        lines.append(" & ".join(_row(block, model)) + r" \\")
    caption = [
        f"{board.title}.",
        *words.verdict(block),
        words.LEGEND,
        *(f"{i}: {of}: {note}." for i, (of, note) in enumerate(wording.notes(block.summary), 1)),
        block.summary.rule,
    ]
    told = escape(" ".join(caption)).replace("↑", r"$\uparrow$").replace("↓", r"$\downarrow$")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", rf"\caption{{{told}}}", r"\end{table}"])


def _row(block: Block, model: str) -> list[str]:
    name = escape(model)
    kind = words.kind(block, model)
    if kind != "model":
        name = rf"\textit{{{name}}}"
    elif block.place(model).pareto:
        name = rf"{name}$^\star$"
    numbers = {note: i for i, (_, note) in enumerate(wording.notes(block.summary), 1)}
    cells = [escape(words.place(block, model)), name, escape(words.mean_rank(block, model))]
    for facts in block.judging:
        score = block.summary.score(model, facts.name)
        if score is None or score.value is None:
            cells.append(r"\textit{unscored}")
            continue
        text = escape(words.value(block, facts, score))
        if wording.best(score, facts, block.summary):
            text = rf"\textbf{{{text}}}"
        if score.footnote is not None:
            text += rf"$^{{{numbers[score.footnote]}}}$"
        extra = [words.interval(block, facts, score)]
        if words.rank(facts, score):
            extra.append(f"rank {words.rank(facts, score)}")
        extra.append(wording.coverage(score))
        cells.append(rf"{text} {{\footnotesize {escape(' '.join(filter(None, extra)))}}}")
    return cells


def _header(facts: MetricFacts) -> str:
    arrow = {"↑": r" $\uparrow$", "↓": r" $\downarrow$"}.get(wording.arrow(facts), "")
    unit = "" if facts.unit == "1" else f" ({escape(facts.unit)})"
    return escape(facts.name) + unit + arrow

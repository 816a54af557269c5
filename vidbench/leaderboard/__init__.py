"""Several models, from one run or many, on one board.

    sources    run folders: found, named, held against each other
    board      what the board says: values, ranks, comparisons, coverage

Views of a board are plug-ins of the group `vidbench.leaderboards`.
"""

from vidbench.leaderboard.board import Block, Board, BoardClip, make_board
from vidbench.leaderboard.sources import MixedRunsError, Setting, Source, find_runs, group, load_sources

__all__ = [
    "Block",
    "Board",
    "BoardClip",
    "MixedRunsError",
    "Setting",
    "Source",
    "find_runs",
    "group",
    "load_sources",
    "make_board",
]

"""Stored results to a tidy DataFrame, a leaderboard, figures and a site of static pages.

Nothing here changes what is stored. Importing this package is cheap: the functions below load
pandas, matplotlib and the rest when they are called.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy import ndarray
    from pandas import DataFrame

    from reports.gate import Verdict
    from reports.records import Source
    from reports.terminal import TerminalTable

__all__ = [
    "FORMATS",
    "check",
    "compare",
    "comparison_table",
    "finding",
    "formatted",
    "formatted_comparison",
    "leaderboard",
    "load",
    "optimality",
    "outcomes",
    "plot_accuracy",
    "plot_examples",
    "plot_metatest",
    "plot_security",
    "plot_tradeoffs",
    "publish",
    "terminal_table",
    "write_figures",
    "write_robustbench",
    "write_verdicts",
]

FORMATS = ("table", "csv", "json", "markdown", "latex")


def load(out: Path | str) -> DataFrame:
    """All stored results as a tidy DataFrame, one row per (cell, suite, attack).

    Everything that is shown is made from it. `.attrs["columns"]` says what each column means,
    and `.attrs["left_out"]` what could not be read: a list of {"path", "reason"}. The columns of
    outcomes hold one character for each test example; `outcomes` makes arrays of them:

        frame = reports.load("bench-results")
        pgd = frame[frame.attack == "pgd"].set_index("cell_id").robust_outcomes
        right = np.stack(pgd.map(reports.outcomes))      # (cells, examples)

    Raises `StoreError` if `out` is not a results folder.
    """
    from reports.frame import load

    return load(out)


def outcomes(text: str) -> ndarray:
    """Outcomes as a column of `load` holds them, to an array (examples,) of bool."""
    from reports.frame import outcomes

    return outcomes(text)


def leaderboard(source: DataFrame | Path | str) -> DataFrame:
    """One row per (cell, suite), ranked on the worst case within each comparable group.

    `source` is a results folder or the frame that `load` gave. `.attrs["columns"]` says what each
    column means.
    """
    from reports.ranking import leaderboard, of_frame
    from reports.records import read

    if isinstance(source, str | Path):
        return leaderboard(read(source)).frame()
    return of_frame(source).frame()


def optimality(out: Path | str) -> DataFrame:
    """How near each attack comes to the best that is known of its cell, at equal queries.

    One row per (cell, attack) for each attack that is not alone under its threat;
    `.attrs["columns"]` says what each column means. The mean over cells is what AttackBench (Cina
    et al. 2024) calls global optimality:

        reports.optimality("bench-results").groupby("attack")["nearness"].mean()

    Raises `StoreError` if `out` is not a results folder.
    """
    from reports.shares import frame

    return frame(out)


def publish(out: Source, site: Path | str | None = None, *, downloads: bool = False) -> Path:
    """Writes the site of static pages; returns the path of its index.html, the leaderboard.

    It goes to the folder `site`, by default OUT/report, with leaderboard.csv and leaderboard.json;
    with `downloads` each model's weights and stored adversarial examples go there, too.
    Files whose content is the same are left alone, and files of an earlier publication that have no
    place any more are removed. The same results give the same bytes. Raises `StoreError` if `out`
    is not a results folder, or if `site` can't be written or holds something else.
    """
    from reports.site.publish import publish

    return publish(out, site, whole=downloads)


def formatted(out: Path | str, form: str) -> str:
    """The leaderboard as "csv", "json", "markdown" or "latex".

    CSV and JSON hold every number in full; the other two are what `terminal_table` shows.
    """
    from reports.exports import formatted
    from reports.ranking import leaderboard
    from reports.records import read

    return formatted(leaderboard(read(out)), form)


def compare(out: Path | str, a: str, b: str) -> DataFrame:
    """Two cells side by side: clean, each attack of a common suite, and the worst case.

    `a` and `b` are ids of cells that attacked the same test examples, or the beginnings of ids.
    `.attrs["columns"]` says what each column means, `.attrs["differs"]` how the configurations
    differ, path to both values.
    Raises `ConfigError` if they can't be compared.
    """
    from reports.comparison import compare

    return compare(out, a, b)


def comparison_table(compared: DataFrame) -> TerminalTable:
    """What `compare` gave as text cells for a terminal, with its verdict in the notes."""
    from reports.comparison import as_table

    return as_table(compared)


def formatted_comparison(compared: DataFrame, form: str) -> str:
    """What `compare` gave as "csv", "json", "markdown" or "latex"."""
    from reports.comparison import formatted

    return formatted(compared, form)


def finding(out: Source, cell_ids: Collection[str], suite: str) -> str:
    """What these cells show under a suite, in one sentence that is honest about ties.

    Raises `StoreError` if `out` is not a results folder.
    """
    from reports.sentence import finding

    return finding(out, cell_ids, suite)


def write_robustbench(out: Path | str, to: Path | str) -> list[Path]:
    """Writes each entry that has a worst case as RobustBench-style JSON below the folder `to`.

    Returns the paths: <data set>/<norm>/<cell>-<suite>.json. Raises `StoreError` as `write` does.
    """
    from reports.robustbench import write

    return write(out, to)


def check(
    out: Path | str,
    *,
    against: Path | str | None = None,
    defenses: Collection[str] = (),
    min_worst_case: float | None = None,
    min_clean: float | None = None,
    max_drop: float | None = None,
    allow_flags: bool = False,
) -> list[Verdict]:
    """Whether every defended model holds what is asked: a verdict a model, suite and rule.

    Args:
        out: a results folder.
        against: another one, which `max_drop` is measured from.
        defenses: those that are looked at; all but the undefended twin unless given.
        min_worst_case: least share that stays right under every attack, of all examples or of those
            that all attacks ran on; an upper bound holds none.
        min_clean: least clean accuracy, as a share.
        max_drop: how far a worst case may be below that of `against`, as a share.
        allow_flags: whether flagged trust checks are let pass.

    What can't be read of either folder has failed.

    Raises `StoreError` for what is no results folder, `ConfigError` where nothing is to be checked.
    """
    from reports.gate import Limits, of_folders

    limits = Limits(min_worst_case, min_clean, max_drop, allow_flags)
    return of_folders(out, against, limits, defenses)


def write_verdicts(verdicts: Sequence[Verdict], path: Path, form: str, *, out: Path) -> None:
    """Writes what `check` gave as "junit" (XML) or "sarif" (2.1.0, of failures) to a file.

    `out` is the results folder that they are of. Raises `StoreError` if it can't be written.
    """
    from reports.exports import write_files
    from reports.gate_formats import as_junit, as_sarif

    text = as_junit(verdicts) if form == "junit" else as_sarif(verdicts, out)
    write_files(out, path.parent, {path.name: text})


def plot_accuracy(out: Path | str, group: str | None = None) -> Figure:
    """Accuracy before any attack, under each and in the worst case, with intervals, a mark a row.

    Like all plots here a matplotlib figure that no pyplot knows, whatever MPLBACKEND says; a
    notebook shows it, and `savefig` writes it. Your style applies. The first rows are drawn.

    Args:
        group: "digits, cnn, L∞ ε = 0.15, quick", or the beginning of it; only where there are
            several groups of rows that are ranked together.

    Raises `ConfigError` unless it is one group that has such results.
    """
    from reports.plots import plot

    return plot("accuracy", out, group)


def plot_tradeoffs(out: Path | str, group: str | None = None) -> Figure:
    """The worst case against clean accuracy; see `plot_accuracy`."""
    from reports.plots import plot

    return plot("tradeoffs", out, group)


def plot_security(out: Path | str, group: str | None = None) -> Figure:
    """Security curves, robust accuracy over budgets; see `plot_accuracy`."""
    from reports.plots import plot

    return plot("security", out, group)


def plot_examples(
    out: Path | str, cell: str, attack: str | None = None, *, limit: int = 4
) -> Figure:
    """Stored adversarial examples of a cell: before, after, and what changed, magnified alike.

    Args:
        out: a results folder.
        cell: a cell's id, or the beginning of it.
        attack: its name in the suite; the strongest with pictures unless given.
        limit: how many are shown; an attack keeps eight at most.

    Raises `ConfigError` if there is no such cell or no picture.
    """
    from reports.gallery import plot

    return plot(out, cell, attack, limit=limit)


def plot_metatest(out: Path | str, group: str | None = None) -> Figure:
    """Accuracy under held-out attack families over steps of adaptation; see `plot_accuracy`."""
    from reports.plots import plot

    return plot("metatest", out, group)


def write_figures(out: Path | str, to: Path | str) -> list[Path]:
    """Writes these plots of every group to the folder `to`, each as PDF, PNG and SVG.

    Returns the paths: <plot>-<group>.pdf and so on. The same results give the same bytes, whatever
    matplotlib's style is. Raises `StoreError` if they can't be written.
    """
    from reports.plots import write

    return write(out, to)


def terminal_table(out: Source, cell_ids: Collection[str] | None = None) -> TerminalTable:
    """The leaderboard as text cells for a terminal, of all cells or only of those given."""
    from reports.terminal import terminal_table

    return terminal_table(out, cell_ids)

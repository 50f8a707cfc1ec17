"""A search on one screen that fits the terminal."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from tuner.runs.records import trial_name
from tuner.terminal.search_state import RungCount, SearchState
from tuner.text import configuration, duration, printable, size

_TICKS = "▁▂▃▄▅▆▇█"
_BAR = "━"
_INDENT = 5  # of continuation lines
_MARGIN = 2  # free lines: the cursor's, and the last permanent one


@dataclass(frozen=True)
class LiveView:
    """A search on one screen; lines that do not fit are omitted, the least important first.

    `resources` has the disk space and memory in use, in bytes, by name; None if unknown.
    """

    state: SearchState
    objective: str
    resources: Mapping[str, int | None]
    now: float

    def lines(self, width: int, height: int) -> Iterator[Text]:
        """The lines that fit."""
        lines = [(rank, line) for rank, line in self._ranked(width) if line is not None]
        room = max(1, height - _MARGIN)
        kept = sorted(range(len(lines)), key=lambda number: (lines[number][0], number))[:room]
        for number in sorted(kept):
            line = lines[number][1]
            line.truncate(width, overflow="ellipsis")
            line.no_wrap = True
            yield line

    def _ranked(self, width: int) -> Iterable[tuple[int, Text | None]]:
        """All lines with their ranks; the highest rank is omitted first."""
        yield 8, Text()
        yield 0, self._progress(width)
        yield 2, self._amounts()
        yield 7, Text()
        yield 6, Text("Trials done / planned, to which epoch", style="dim")
        for name, counts in self.state.brackets():
            running = any(count.running for count in counts)
            yield from _with_ranks(_bracket(name, counts, width), *((1, 3) if running else (5, 5)))
        if self.state.schedule.iterations > 1:
            number = f"{self.state.iteration + 1} of {self.state.schedule.iterations}"
            yield 6, Text(f"Hyperband iteration {number}", style="dim")
        yield 7, Text()
        yield from _with_ranks(self._best(width), 1, 3)
        yield 4, self._sparkline(width)
        yield from _with_ranks(self._running(width), 2, 6)
        yield 6, self._resources()

    def _progress(self, width: int) -> Text:
        left = self.state.left(self.now)
        about = "time left unknown" if left is None else f"about {duration(left)} left"
        share = self.state.share(self.now)
        words = f" {share:>4.0%}".replace("%", " %") + f", {about}"
        length = max(4, min(40, width - cell_len(words)))
        filled = round(length * share)
        return Text.assemble(
            (_BAR * filled, "green"), (_BAR * (length - filled), "dim"), (words, "bold")
        )

    def _amounts(self) -> Text:
        state, schedule = self.state, self.state.schedule
        trials, epochs = state.rates(self.now)
        return Text(
            f"{state.trials}/{schedule.total_trials} trials, {_rate(trials)} a minute; "
            f"{state.epochs}/{schedule.total_epochs} epochs, {_rate(epochs)} a minute"
        )

    def _best(self, width: int) -> Iterator[Text]:
        """The leading trial and, from the second line on, its configuration."""
        best = self.state.best
        if best is None or best.score is None:
            return
        where = f" {self.objective}, trial {trial_name(best.id)} at epoch {best.epochs}"
        score = Text.assemble("best ", (f"{best.score:.4f}", "bold green"), where)
        recipe = [f"the {printable(best.recipe)}"] if best.recipe else []
        yield from _wrapped([score.append("," if recipe else ""), *recipe], width)
        yield from _wrapped([" " * (_INDENT - 1), *_parts(best.hyperparameters)], width)

    def _sparkline(self, width: int) -> Text | None:
        improvements = self.state.improvements
        if len(improvements) < 2:
            return None
        first, last = improvements[0][1], improvements[-1][1]
        words = f" {first:.4f} to {last:.4f} in {duration(self.now - self.state.begun)}"
        length = max(4, min(40, width - 5 - cell_len(words)))
        ticks = sparkline(improvements, self.state.begun, self.now, length)
        return Text.assemble(" " * _INDENT, (ticks, "green"), words)

    def _running(self, width: int) -> Iterator[Text]:
        running = self.state.running
        if running is None:
            return
        name = trial_name(running.trial.id)
        where = f"now  trial {name}, epoch {running.epoch} of {running.end_epoch}:"
        for line in _wrapped([where, *_parts(running.trial.hyperparameters)], width):
            line.stylize("dim")
            yield line

    def _resources(self) -> Text | None:
        parts = [
            f"{name} {size(amount)}"
            for name, amount in self.resources.items()
            if amount is not None
        ]
        return Text(f"{' ' * _INDENT}{', '.join(parts)}", style="dim") if parts else None


def sparkline(
    improvements: Iterable[tuple[float, float]], begin: float, end: float, width: int
) -> str:
    """The leading score over time as block characters; spaces before the first score.

    Args:
        improvements: times and new leading scores.
        begin: time of the left end.
        end: time of the right end.
        width: in characters.
    """
    scores: list[float | None] = []
    changes = sorted(improvements)
    for column in range(width):
        moment = begin + (end - begin) * (column + 1) / width
        scores.append(next((score for at, score in reversed(changes) if at <= moment), None))
    known = [score for score in scores if score is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    steps = len(_TICKS) - 1
    return "".join(
        " " if score is None else _TICKS[round(steps * (score - low) / max(high - low, 1e-12))]
        for score in scores
    )


def _bracket(name: str, counts: Iterable[RungCount], width: int) -> Iterator[Text]:
    label = Text(f"{name if name.isalpha() else f'bracket {name}':<10}")
    return _wrapped([label, *map(_rung, counts)], width, len(label) + 1)


def _rung(count: RungCount) -> Text:
    full = count.done >= count.size
    style = "green" if full else "bold" if count.running or count.done else "dim"
    return Text(f"{f'{count.done}/{count.size} to {count.end_epoch}':<12}", style=style)


def _with_ranks(lines: Iterable[Text], first: int, others: int) -> Iterator[tuple[int, Text]]:
    """Lines with ranks: that of the first, and that of its continuations."""
    return zip(itertools.chain([first], itertools.repeat(others)), lines, strict=False)


def _parts(hyperparameters: Mapping[str, Any]) -> list[str]:
    """A configuration in parts that are not broken."""
    return configuration(hyperparameters).replace(", ", ",\n").split("\n")


def _wrapped(parts: Sequence[str | Text], width: int, indent: int = _INDENT) -> Iterator[Text]:
    """Parts separated by spaces, on as many lines as they need."""
    first, *others = parts
    line = Text.assemble(first)
    for part in others:
        longer = Text.assemble(line, " ", part)
        if line.plain.strip() and cell_len(longer.plain.rstrip()) > width:
            line.rstrip()
            yield line
            longer = Text.assemble(" " * indent, part)
        line = longer
    line.rstrip()
    yield line


def _rate(each_minute: float) -> str:
    return f"{each_minute:.1f}" if each_minute < 10 else f"{each_minute:.0f}"

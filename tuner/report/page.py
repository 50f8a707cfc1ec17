"""Contents to one HTML file that needs nothing else.

Everything is in the page: style, scripts, data, pictures. Its Content-Security-Policy allows these
very scripts and styles by their SHA-256 and nothing else, so that the page asks no network and a
class or file name that looks like HTML is text, whatever went wrong before.
"""

import base64
import hashlib
import math
import re
from datetime import datetime
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup, escape

from tuner.report import figures
from tuner.report.comparison import Comparison, curve_name
from tuner.report.contents import Absent, Contents
from tuner.report.run_data import Parameter, Story
from tuner.runs.records import trial_name
from tuner.text import counted, duration, number, percent

_ASSETS = resources.files("tuner.report") / "assets"
_COMMON = "val_accuracy"  # is recorded whatever the objective
_DIGITS = 5  # significant, of what is drawn


def render(contents: Contents, made: datetime) -> str:
    """The report of one run.

    Args:
        contents: what is shown.
        made: the time that the page names.
    """
    return page("report.html", {
        "contents": contents, "story": contents.story, "answer": contents.answer, "made": made,
        "data": chart_data(contents.story), "figures": figures,
    })  # fmt: skip


def render_comparison(comparison: Comparison, made: datetime) -> str:
    """The page that puts runs side by side.

    Args:
        comparison: what is shown.
        made: the time that the page names.
    """
    values = {"comparison": comparison, "made": made, "data": comparison_data(comparison)}
    return page("comparison.html", values)


def page(template: str, values: dict[str, Any]) -> str:
    """A page from a template, with its style, scripts and Content-Security-Policy.

    Args:
        template: name of a file in assets/.
        values: what it shows.
    """
    style, script, library = (
        _asset(name) for name in ("report.css", "report.js", "echarts.min.js")
    )
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; "
        f"script-src '{_digest(library)}' '{_digest(script)}'; base-uri 'none'; form-action 'none'"
    )
    return _environment().get_template(template).render(
        values, policy=policy, style=style, script=script, library=library
    )  # fmt: skip


def chart_data(story: Story) -> dict[str, Any]:
    """What the scripts draw from, as JSON can hold it."""
    trials = [
        {
            "id": trial.id,
            "name": f"trial {trial_name(trial.id)}" + (f", {trial.recipe}" if trial.recipe else ""),
            "recipe": trial.recipe,
            "epochs": trial.epochs,
            "score": _rounded(trial.score),
            "values": {name: _rounded(value) for name, value in trial.hyperparameters.items()},
            "curve": [_rounded(epoch[story.objective]) for epoch in story.curves.get(trial.id, ())],
            "training": _training(story, trial.id),
        }
        for trial in story.trials
    ]
    scores = [trial.score for trial in story.trials if trial.score is not None]
    reached = sorted({trial.epochs for trial in story.trials if trial.score is not None})
    heights = _heights(story)
    return {
        "objective": story.objective,
        "loss": story.is_loss,
        "compared": False,
        "winner": None if story.winner is None else story.winner.id,
        "trials": trials,
        "parameters": [_parameter(each, story) for each in varied(story)],
        "rungs": reached,
        "longest": max((len(curve) for curve in story.curves.values()), default=1),
        "ends": _ends(scores, story.is_loss),
        "heights": heights,
        "outside": _outside(trials, heights),
    }


def comparison_data(comparison: Comparison) -> dict[str, Any]:
    """The curves of the winners, as `chart_data` gives those of trials."""
    trials = []
    for place, side in enumerate(comparison.sides):
        winner = side.story.winner
        if winner is not None:
            curve = [_rounded(epoch[_COMMON]) for epoch in side.story.curves.get(winner.id, ())]
            accuracy = side.story.accuracy(winner)
            trials.append({
                "id": place, "name": curve_name(side), "recipe": winner.recipe,
                "epochs": winner.epochs, "score": _rounded(accuracy), "curve": curve,
                "values": {name: _rounded(value) for name, value in winner.hyperparameters.items()},
                "training": [],
            })  # fmt: skip
    known = [value for trial in trials for value in trial["curve"] if value is not None]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)  # of a few winners all is shown
    return {
        "objective": _COMMON, "loss": False, "winner": None, "compared": True, "trials": trials,
        "parameters": [], "rungs": [], "ends": _ends([], False),
        "heights": _axis(figures.round_ends(low, high, is_loss=False)),
        "longest": max((len(trial["curve"]) for trial in trials), default=1),
    }  # fmt: skip


def varied(story: Story) -> list[Parameter]:
    """The hyperparameters in which trials differ."""
    return [
        parameter
        for parameter in story.parameters
        if len({trial.hyperparameters.get(parameter.name) for trial in story.trials}) > 1
    ]


def _training(story: Story, trial: int) -> list[Any]:
    """The winner's metric on its training images, where the same is recorded of them."""
    name = story.objective.removeprefix("val_")
    if story.winner is None or trial != story.winner.id:
        return []
    return [_rounded(epoch[name]) for epoch in story.curves.get(trial, ()) if name in epoch]


def _parameter(parameter: Parameter, story: Story) -> dict[str, Any]:
    values = [trial.hyperparameters.get(parameter.name) for trial in story.trials]
    known = [value for value in parameter.values if value is not None]
    beyond = [value for value in dict.fromkeys(values) if value is not None]
    is_range = parameter.is_range and all(isinstance(value, (int, float)) for value in beyond)
    choices = [min(known + beyond), max(known + beyond)] if is_range else _choices(known, beyond)
    return {
        "name": parameter.name,
        "range": is_range,
        "log": parameter.is_log and is_range and min(choices) > 0,
        "choices": [_rounded(choice) for choice in choices],
        "unused": None in values,
    }


def _choices(known: list[Any], beyond: list[Any]) -> list[Any]:
    """The choices that were declared, in order, and what recipes take besides."""
    found = list(dict.fromkeys([*known, *beyond]))
    return sorted(found) if all(isinstance(each, (int, float)) for each in found) else found


def _outside(trials: list[dict[str, Any]], heights: dict[str, float]) -> list[int]:
    """Numbers of the trials whose curves leave the frame."""
    return [
        trial["id"]
        for trial in trials
        if any(
            value is None or not heights["min"] <= value <= heights["max"]
            for value in (*trial["curve"], *trial["training"])
        )
    ]


def _ends(scores: list[float], is_loss: bool) -> dict[str, float]:
    return _axis(figures.score_ends(scores, is_loss))


def _axis(ends: tuple[float, float]) -> dict[str, float]:
    low, high = ends
    return {"min": _rounded(low), "max": _rounded(high), "interval": figures.axis_step(low, high)}


def _heights(story: Story) -> dict[str, float]:
    """The ends of the learning curves' axis: of all but the worst fiftieth of the epochs."""
    values = [epoch[story.objective] for curve in story.curves.values() for epoch in curve]
    if story.winner is not None:
        values += [value for value in _training(story, story.winner.id) if value is not None]
    known = sorted(value for value in values if math.isfinite(value))
    rest = len(known) // 50
    return _ends(known[: len(known) - rest] if story.is_loss else known[rest:], story.is_loss)


def _rounded(value: Any) -> Any:
    """A float with a few digits; JSON has no other than finite ones."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tuner.report", "assets"), autoescape=True, finalize=_as_text,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "percent": _percent, "prose": _prose, "number": number, "duration": duration,
        "counted": counted,
        "trial_name": trial_name,
    }  # fmt: skip
    environment.tests["absent"] = lambda value: isinstance(value, Absent)
    return environment


def _as_text(value: Any) -> Any:
    """What is put into the page: control characters are shown, never meant."""
    return visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _percent(share: float) -> Markup:
    """As `percent`, but the sign is not torn off at the end of a line."""
    return Markup(percent(share).replace(" ", "\N{NO-BREAK SPACE}"))


def _prose(sentence: str) -> Markup:
    """A sentence in which no number is torn from its % sign."""
    escaped = str(escape(visible(sentence)))
    return Markup(re.sub(r"(?<=\d) %", "\N{NO-BREAK SPACE}%", escaped))


def visible(text: str) -> str:
    """The text with its control characters, line ends and undecodable bytes as escapes."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text("utf-8")


def _digest(text: str) -> str:
    """As a Content-Security-Policy names an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

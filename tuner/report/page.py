"""Contents to one HTML file that needs nothing else.

Style, script and pictures are in the page. Its Content-Security-Policy allows this very script and
style by their SHA-256 and nothing else, so that the page loads nothing from a network, and a class
or file name that looks like HTML cannot become code.
"""

import base64
import hashlib
import re
from dataclasses import asdict
from datetime import datetime
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup, escape

from tuner.report import charts
from tuner.report.comparison import Comparison
from tuner.report.contents import Contents
from tuner.report.run_data import Absent
from tuner.report.time_shares import time_shares
from tuner.runs.records import trial_name
from tuner.text import counted, duration, number, percent

_ASSETS = resources.files("tuner.report") / "assets"


def render(contents: Contents, made: datetime) -> str:
    """The report of one run; `made` is the time that the page shows."""
    data = contents.data
    curves, outside = charts.learning_curves(data)
    axes = charts.parallel_axes(data)
    return _page(
        "report.html",
        contents=contents, run=data, answer=contents.answer, made=made, charts=charts,
        curves=curves, outside=outside, axes=axes, data=[asdict(axis) for axis in axes],
        times=time_shares(data),
    )  # fmt: skip


def render_comparison(comparison: Comparison, made: datetime) -> str:
    """The page that compares runs; `made` is the time that the page shows."""
    curves = charts.compared_curves(comparison.curves)
    return _page("comparison.html", comparison=comparison, made=made, curves=curves, data=[])


def _page(template: str, **values: Any) -> str:
    style, script = ((_ASSETS / name).read_text("utf-8") for name in ("report.css", "report.js"))
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; "
        f"script-src '{_digest(script)}'; base-uri 'none'; form-action 'none'"
    )
    found = _environment().get_template(template)
    return found.render(values, policy=policy, style=style, script=script)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tuner.report", "assets"),
        autoescape=True,
        finalize=_as_text,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": lambda share: Markup(percent(share).replace(" ", "\N{NO-BREAK SPACE}")),
        "prose": _prose,
        "number": number,
        "duration": duration,
        "counted": counted,
        "trial_name": trial_name,
        "lines": lambda text: Markup("\n").join(map(visible, text.split("\n"))),
    }
    environment.tests["absent"] = lambda value: isinstance(value, Absent)
    return environment


def _as_text(value: Any) -> Any:
    """What goes into the page: control characters are shown, never meant."""
    return visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


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


def _digest(text: str) -> str:
    """As a Content-Security-Policy names an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

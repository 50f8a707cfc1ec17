"""The figure of docs/how-it-is-fast.md, from the recorded results.

    python benchmarks/figure.py

Reads results/search_speed_head.json and search_speed_stored.json, and writes
docs/how-it-is-fast.svg. What the frozen layers take of a plain epoch is what our one pass over the
same images took. Needs matplotlib, which `pip install -e '.[dev]'` brings.
"""

import json
from pathlib import Path
from typing import Any

from common import RESULTS

TARGET = Path(__file__).resolve().parents[1] / "docs" / "how-it-is-fast.svg"
GREY, BLUE, ORANGE, GREEN = "#8a8f98", "#3b6fb6", "#d9822b", "#3f9b6c"


def main() -> None:
    plain, ours = parts()
    draw(plain, ours)
    for title, share in (("keras_tuner.Hyperband", plain), ("tune", ours)):
        print(f"{title}: {sum(share.values()):,.0f} s")
        for name, seconds in share.items():
            print(f"  {seconds:9,.1f} s  {name}")
    print(f"Written to docs/{TARGET.name}.")


def parts() -> tuple[dict[str, float], dict[str, float]]:
    """Seconds of a head-only search by what they are spent on: the plain tuner's, and ours."""
    head, stored = _read("search_speed_head"), _read("search_speed_stored")
    run, again = (_median_run(document["ours"]) for document in (head, stored))
    once = run["seconds_before_first_trial"] - again["seconds_before_first_trial"]
    (kind,) = head["plain"]["kinds"]
    epochs = kind["epochs"] * kind["seconds an epoch"]
    plain = {
        "frozen layers, computed again in every epoch": kind["epochs"] * once,
        "the rest of fit": epochs - kind["epochs"] * once,
        "building, loading and saving whole networks": head["plain"]["seconds"] - epochs,
    }
    ours = {
        "frozen layers, computed once": once,
        "building and reading the backbone once": again["seconds_before_first_trial"],
        "training all trials from features": run["seconds"] - run["seconds_before_first_trial"],
    }
    return plain, ours


def draw(plain: dict[str, float], ours: dict[str, float]) -> None:
    """Both searches on one scale, and ours once more on its own."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = TARGET.name  # the same figure gives the same bytes
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 1, figsize=(8, 4.4), height_ratios=(3, 2))
    _stack(axes[0], 1, plain, (GREY, BLUE, ORANGE))
    _stack(axes[0], 0, ours, (GREEN, BLUE, ORANGE))
    axes[0].set_yticks((1, 0), ("keras_tuner\nHyperband", "tune"))
    axes[0].text(
        sum(ours.values()) * 1.0 + sum(plain.values()) * 0.01,
        0,
        f"{sum(ours.values()):.0f} s",
        va="center",
        fontsize=9,
    )
    axes[0].legend(*_labels(plain, (GREY, BLUE, ORANGE)), loc="lower right", fontsize=8)
    _stack(axes[1], 0, ours, (GREEN, BLUE, ORANGE))
    axes[1].set_yticks((0,), ("tune,\nenlarged",))
    axes[1].legend(*_labels(ours, (GREEN, BLUE, ORANGE)), loc="lower right", fontsize=8)
    axes[1].set_ylim(-2.4, 0.5)
    for axis in axes:
        axis.set_xlabel("seconds")
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    TARGET.parent.mkdir(exist_ok=True)
    figure.savefig(TARGET, metadata={"Date": None})


def _stack(axis: Any, row: int, share: dict[str, float], colours: tuple[str, ...]) -> None:
    left = 0.0
    for seconds, colour in zip(share.values(), colours, strict=True):
        axis.barh(row, seconds, left=left, color=colour, height=0.6)
        left += seconds


def _labels(share: dict[str, float], colours: tuple[str, ...]) -> tuple[list[Any], list[str]]:
    from matplotlib.patches import Patch

    handles = [Patch(color=colour) for colour in colours]
    return handles, [f"{name}: {seconds:,.0f} s" for name, seconds in share.items()]


def _median_run(runs: list[dict[str, Any]]) -> dict[str, Any]:
    return sorted(runs, key=lambda run: float(run["seconds"]))[len(runs) // 2]


def _read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text("utf-8"))
    return found


if __name__ == "__main__":
    main()

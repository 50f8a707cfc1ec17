"""The report in a browser: what a person sees, does with mouse and keyboard, and never meets."""

import dataclasses
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.browser import Watched, watched_page
from tests.support.repository import ROOT
from tests.support.small_search import small_search, tune
from tests.support.synthetic_run import HOSTILE_CLASS, many_contents
from tuner.report import page as report_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser

AXE = ROOT / "tests" / "support" / "axe" / "axe.min.js"
NARROW = {"width": 360, "height": 780}
CHARTS = "document.querySelectorAll('svg.plot').length"
LARGE = pytest.param("report", marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("report") / "a page.html"
    made = datetime(2026, 1, 2, tzinfo=UTC)
    file.write_text(report_page.render(many_contents(), made), "utf-8")
    return file


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = small_search().copy_of_runs(tmp_path_factory.mktemp("runs"))
    shutil.copytree(runs / "small", runs / "other")
    file = runs.parent / "both.html"
    result = tune("report", "small", "other", "--runs-dir", runs, "--out", file)
    assert result.exit_code == 0, result.output
    return file


@pytest.fixture(scope="module")
def shown(browser: "Browser", report: Path) -> Iterator[Watched]:
    """Drawn once for all tests that act on it."""
    with watched_page(browser) as watched:
        show(watched, report)
        yield watched


@pytest.fixture(scope="module")
def losses(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of trials of a single epoch, with losses whose curves end where the training's do."""
    found = many_contents()
    trials = [
        dataclasses.replace(trial, rungs=(dataclasses.replace(trial.rungs[0], end_epoch=1),))
        for trial in found.data.trials[-30:]
    ]
    curves = {
        trial.id: [epoch | {"loss": epoch["val_loss"]} for epoch in found.data.curves[trial.id][:1]]
        for trial in trials
    }
    story = dataclasses.replace(
        found.data,
        settings=dataclasses.replace(found.data.settings, objective="val_loss"),
        trials=tuple(trials),
        winner=trials[0],
        curves=curves,
    )
    file = tmp_path_factory.mktemp("losses") / "page.html"
    made = datetime(2026, 1, 2, tzinfo=UTC)
    file.write_text(report_page.render(dataclasses.replace(found, data=story), made), "utf-8")
    return file


@pytest.fixture
def opened(shown: Watched) -> Iterator[Watched]:
    """The page with all trials shown."""
    shown.page.locator("#clear").click()
    shown.page.evaluate("window.scrollTo(0, 0)")
    yield shown
    assert (shown.errors, shown.outside, shown.dialogs) == ([], [], [])


def show(watched: Watched, file: Path) -> None:
    watched.page.goto(file.as_uri())


def is_too_wide(watched: Watched) -> bool:
    root = "document.scrollingElement"
    return bool(watched.page.evaluate(f"{root}.scrollWidth > {root}.clientWidth"))


def test_two_hundred_trials_and_ten_thousand_images_stay_small(report: Path) -> None:
    assert report.stat().st_size < 8_000_000


def test_nothing_goes_wrong_and_names_are_text(opened: Watched) -> None:
    text = opened.page.inner_text("body")
    assert HOSTILE_CLASS in text
    assert "</script><script>alert(2)</script>" in text
    assert opened.page.evaluate(CHARTS) == 25


def test_a_hint_describes_the_trial_under_the_mouse(opened: Watched) -> None:
    winner = many_contents().data.winner
    assert winner is not None
    for mark in ("polyline.winner", "use.winner"):
        titles = opened.page.locator(f"svg.plot {mark} title").all_text_contents()
        text = next(title for title in titles if "learning_rate" in title)
        assert f"trial {winner.id:04d}, the winner" in text
        assert f"val_accuracy {winner.score:.4f} after 27 epochs" in text


def test_a_table_is_sorted_with_the_keyboard(opened: Watched) -> None:
    cells = "[...document.querySelectorAll('#trials tbody tr')].map(row => row.cells[{}].{})"
    head = opened.page.locator("#trials th", has_text="dropout")
    head.locator("button").focus()
    opened.page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    values = opened.page.evaluate(cells.format(9, "dataset.value"))
    assert len(values) == 197
    assert list(map(float, values)) == sorted(map(float, values))
    opened.page.keyboard.press("Space")
    assert head.get_attribute("aria-sort") == "descending"
    assert opened.page.evaluate(cells.format(9, "dataset.value")) == values[::-1]
    opened.page.locator("#trials th button").first.focus()
    opened.page.keyboard.press("Enter")
    names = opened.page.evaluate(cells.format(0, "textContent.trim()"))
    assert names == sorted(names)
    assert head.get_attribute("aria-sort") is None


def test_what_has_no_value_stays_at_the_end(opened: Watched) -> None:
    head = opened.page.locator("#trials th", has_text="head_width")
    cells = "[...document.querySelectorAll('#trials tbody tr')].map(r => r.cells[7].dataset.value)"
    for _ in range(2):
        head.locator("button").press("Enter")
        values = opened.page.evaluate(cells)
        assert "" in values
        assert values == [value for value in values if value] + [""] * values.count("")


def rows_shown(watched: Watched) -> list[str]:
    found: list[str] = watched.page.evaluate(
        "[...document.querySelectorAll('#trials tbody tr:not([hidden])')].map(r => r.dataset.trial)"
    )
    return found


def test_a_range_is_drawn_with_the_mouse(opened: Watched) -> None:
    axis = opened.page.locator("#parallel .brush").last
    axis.scroll_into_view_if_needed()
    box = axis.bounding_box()
    assert box is not None
    x, top, height = box["x"] + box["width"] / 2, box["y"], box["height"]
    opened.page.mouse.move(x, top + 1)
    opened.page.mouse.down()
    opened.page.mouse.move(x, top + 0.1 * height, steps=4)
    opened.page.mouse.move(x, top + 0.2 * height, steps=4)
    opened.page.mouse.up()
    chosen = rows_shown(opened)
    scores = {str(t.id): t.score or 0.0 for t in many_contents().data.trials}
    best, least = max(scores.values()), min(scores.values())
    limit = best - 0.2 * (best - least)
    assert 0 < len(chosen) < len(scores)
    assert min(scores[trial] for trial in chosen) == pytest.approx(limit, abs=0.02)
    assert f"{len(chosen)} of 197 trials chosen" in opened.page.inner_text("#chosen")
    faded = opened.page.locator("#parallel polyline.faded").count()
    assert faded == len(scores) - len(chosen)
    opened.page.mouse.click(x, top + 0.5 * height)
    assert len(rows_shown(opened)) == 197


def test_a_range_is_chosen_with_the_keyboard(opened: Watched) -> None:
    axis = opened.page.locator("#axis")
    axis.focus()
    axis.select_option(label="epochs")
    opened.page.keyboard.press("Tab")
    assert opened.page.evaluate("document.activeElement.id") == "from"
    opened.page.keyboard.press("End")
    longest = {str(t.id) for t in many_contents().data.trials if t.epochs == 27}
    assert set(rows_shown(opened)) == longest
    assert f"{len(longest)} of 197 trials chosen" in opened.page.inner_text("#chosen")
    opened.page.keyboard.press("Tab")
    opened.page.keyboard.press("Tab")
    assert opened.page.evaluate("document.activeElement.id") == "clear"
    opened.page.keyboard.press("Enter")
    assert len(rows_shown(opened)) == 197


def test_everything_that_acts_can_be_reached_with_the_keyboard(opened: Watched) -> None:
    unreachable = opened.page.evaluate(
        """() => [...document.querySelectorAll('a, button, input, select, summary, .scroll')]
        .filter(each => each.tabIndex < 0).map(each => each.outerHTML.slice(0, 80))"""
    )
    assert unreachable == []


@pytest.mark.parametrize("which", [LARGE, "comparison"])
def test_a_telephone_does_not_scroll_sideways(
    browser: "Browser", which: str, request: pytest.FixtureRequest
) -> None:
    with watched_page(browser, viewport=NARROW) as watched:
        show(watched, request.getfixturevalue(which))
        assert not is_too_wide(watched)
        assert watched.errors == []


@pytest.mark.slow
def test_dark_is_dark_and_follows_a_change(browser: "Browser", report: Path) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    with watched_page(browser, color_scheme="dark") as watched:
        show(watched, report)
        curves = watched.page.locator("svg.curves")
        dark, drawn = watched.page.evaluate(ground), curves.screenshot()
        watched.page.emulate_media(color_scheme="light")
        light = watched.page.evaluate(ground)
        assert curves.screenshot() != drawn
        assert watched.errors == []
    assert brightness(dark) < 100 < 600 < brightness(light)


def brightness(colour: str) -> int:
    return sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(",")))


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 700])
def test_print_is_light_and_fits_the_sheet(browser: "Browser", report: Path, width: int) -> None:
    """Whatever the window: a print from a telephone has the layout of the sheet."""
    with watched_page(
        browser, color_scheme="dark", viewport={"width": width, "height": 900}
    ) as watched:
        show(watched, report)
        watched.page.emulate_media(media="print")
        watched.page.set_viewport_size({"width": 700, "height": 1000})
        ground = watched.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert brightness(ground) > 600
        assert not watched.page.locator("nav.parts").is_visible()
        assert not is_too_wide(watched)
        ends = watched.page.evaluate(
            "[...document.querySelectorAll('svg.plot')].map(e => e.getBoundingClientRect().right)"
        )
        assert len(ends) == 25
        assert max(ends) < 700
        assert len(watched.page.pdf(format="A4")) > 10_000
        assert watched.errors == []


def texts(watched: Watched, chart: str) -> list[str]:
    return watched.page.locator(f"{chart} text").all_text_contents()


def test_the_axis_of_epochs_has_a_mark_for_each_rung(opened: Watched) -> None:
    shown = texts(opened, "#parallel")
    place = shown.index("27")
    assert shown[place - 3 : place + 1] == ["1", "3", "9", "27"]


def test_a_chart_of_one_epoch_and_of_losses_is_labelled(browser: "Browser", losses: Path) -> None:
    with watched_page(browser) as watched:
        show(watched, losses)
        curves = texts(watched, "svg.curves")
        assert watched.errors == []
        assert "val_loss" in texts(watched, "#parallel")
        keys = watched.page.locator("#learning .key").inner_text()
        assert watched.page.locator("svg.curves use").count() == 31
    assert "1" in curves
    assert {"0", "2", "0.5", "1.5"}.isdisjoint(curves[-1:])
    assert "the winner" in keys


def test_without_scripts_the_answer_and_the_tables_are_there(
    browser: "Browser", report: Path
) -> None:
    with watched_page(browser, java_script_enabled=False) as watched:
        watched.page.goto(report.as_uri())
        assert "The winner is trial" in watched.page.inner_text("section.answer")
        assert watched.page.locator("#trials tbody tr").count() == 197


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("which", [LARGE, "comparison"])
def test_axe_finds_nothing_serious(
    browser: "Browser", which: str, scheme: str, request: pytest.FixtureRequest
) -> None:
    with watched_page(browser, color_scheme=scheme) as watched:
        show(watched, request.getfixturevalue(which))
        watched.page.evaluate(AXE.read_text("utf-8"))
        found: dict[str, Any] = watched.page.evaluate("axe.run()")
    assert found["passes"]
    serious = [
        (each["id"], each["help"], [node["html"][:160] for node in each["nodes"][:3]])
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
    ]
    assert serious == []

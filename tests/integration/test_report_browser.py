"""The report in a browser: what a person sees, does with mouse and keyboard, and never meets."""

import dataclasses
import json
import shutil
import time
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
CHARTS = "document.querySelectorAll('.chart').length"
LARGE = pytest.param("report", marks=pytest.mark.slow)
DRAWN = "document.querySelectorAll('.chart canvas').length"
# Of each chart: right end of the canvas and of its place, width that was drawn and that is seen.
CANVASES = """[...document.querySelectorAll('.chart canvas')].map(each => [
    each.getBoundingClientRect().right, each.closest('.chart').getBoundingClientRect().right,
    parseFloat(each.style.width), each.getBoundingClientRect().width])"""
A4_PIXELS = 210 / 25.4 * 96


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
        for trial in found.story.trials[-30:]
    ]
    curves = {
        trial.id: [
            epoch | {"loss": epoch["val_loss"]} for epoch in found.story.curves[trial.id][:1]
        ]
        for trial in trials
    }
    story = dataclasses.replace(
        found.story,
        settings=dataclasses.replace(found.story.settings, objective="val_loss"),
        trials=tuple(trials),
        winner=trials[0],
        curves=curves,
    )
    file = tmp_path_factory.mktemp("losses") / "page.html"
    made = datetime(2026, 1, 2, tzinfo=UTC)
    file.write_text(report_page.render(dataclasses.replace(found, story=story), made), "utf-8")
    return file


@pytest.fixture
def opened(shown: Watched) -> Iterator[Watched]:
    """The page with all trials shown."""
    shown.page.locator("#clear").click()
    shown.page.evaluate("window.scrollTo(0, 0)")
    yield shown
    assert (shown.errors, shown.outside, shown.dialogs) == ([], [], [])


def show(watched: Watched, file: Path) -> None:
    """Opens a page and scrolls through it, until every chart is drawn."""
    watched.page.goto(file.as_uri())
    for element in watched.page.query_selector_all(".chart"):
        element.scroll_into_view_if_needed()
    wait(watched, f"{DRAWN} === {CHARTS}")
    watched.page.evaluate("window.scrollTo(0, 0)")


def wait(watched: Watched, condition: str) -> None:
    """Playwright's own waiting evaluates text in the page, which the page's policy forbids."""
    deadline = time.monotonic() + 30
    while not watched.page.evaluate(condition):
        assert time.monotonic() < deadline, f"never came true: {condition}"
        watched.page.wait_for_timeout(20)


def is_too_wide(watched: Watched) -> bool:
    root = "document.scrollingElement"
    return bool(watched.page.evaluate(f"{root}.scrollWidth > {root}.clientWidth"))


def test_two_hundred_trials_and_ten_thousand_images_stay_small(report: Path) -> None:
    assert report.stat().st_size < 8_000_000


def test_nothing_goes_wrong_and_names_are_text(opened: Watched) -> None:
    text = opened.page.inner_text("body")
    assert HOSTILE_CLASS in text
    assert "</script><script>alert(2)</script>" in text
    assert opened.page.evaluate(CHARTS) == 8


def test_a_hint_tells_of_the_trial_under_the_mouse(opened: Watched) -> None:
    opened.page.evaluate(
        """echarts.getInstanceByDom(document.getElementById('curves'))
        .dispatchAction({type: 'showTip', seriesIndex: 0, dataIndex: 2})"""
    )
    winner = many_contents().story.winner
    assert winner is not None
    text = opened.page.locator("#curves .hint").inner_text()
    assert f"trial {winner.id:04d}, the winner" in text
    assert f"val_accuracy {winner.score:.4f} after 27 epochs" in text
    assert "learning_rate" in text


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
    chart = opened.page.locator("#parallel canvas")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    assert box is not None
    axis, top, height = box["x"] + box["width"] - 60, box["y"] + 44, box["height"] - 70
    opened.page.mouse.move(axis, top + 1)
    opened.page.mouse.down()
    opened.page.mouse.move(axis, top + 0.1 * height, steps=4)
    opened.page.mouse.move(axis, top + 0.2 * height, steps=4)
    opened.page.mouse.up()
    opened.page.wait_for_function(
        "document.getElementById('chosen').textContent.includes('chosen')"
    )
    chosen = rows_shown(opened)
    scores = {str(t.id): t.score or 0.0 for t in many_contents().story.trials}
    best, least = max(scores.values()), min(scores.values())
    limit = best - 0.2 * (best - least)
    assert 0 < len(chosen) < len(scores)
    assert min(scores[trial] for trial in chosen) == pytest.approx(limit, abs=0.02)
    assert f"{len(chosen)} of 197 trials chosen" in opened.page.inner_text("#chosen")


def test_a_range_is_chosen_with_the_keyboard(opened: Watched) -> None:
    axis = opened.page.locator("#axis")
    axis.focus()
    axis.select_option(label="epochs")
    opened.page.keyboard.press("Tab")
    assert opened.page.evaluate("document.activeElement.id") == "from"
    opened.page.keyboard.press("End")
    longest = {str(t.id) for t in many_contents().story.trials if t.epochs == 27}
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
        dark = watched.page.evaluate(ground)
        drawn = watched.page.locator("#curves canvas").screenshot()
        watched.page.emulate_media(color_scheme="light")
        light = watched.page.evaluate(ground)
        assert watched.page.locator("#curves canvas").screenshot() != drawn
        assert watched.errors == []
    assert brightness(dark) < 100 < 600 < brightness(light)


def brightness(colour: str) -> int:
    return sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(",")))


@pytest.mark.slow
def test_print_is_light_and_fits_the_sheet(browser: "Browser", report: Path) -> None:
    sheet = {"width": 700, "height": 1000}
    with watched_page(browser, color_scheme="dark", viewport=sheet) as watched:
        watched.page.goto(report.as_uri())
        watched.page.emulate_media(media="print")
        wait(watched, f"{DRAWN} === {CHARTS}")
        ground = watched.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert brightness(ground) > 600
        assert not watched.page.locator("nav.parts").is_visible()
        assert not is_too_wide(watched)
        assert len(watched.page.pdf(format="A4")) > 10_000
        assert watched.errors == []


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 1280])
def test_a_chart_is_drawn_for_the_sheet_it_is_printed_on(
    browser: "Browser", report: Path, width: int
) -> None:
    with watched_page(browser, viewport={"width": width, "height": 900}) as watched:
        show(watched, report)
        before = watched.page.evaluate(CANVASES)
        # The page hears of the print medium when it has the printed layout, this listener after it.
        watched.page.evaluate(
            f"""() => matchMedia('print').addEventListener('change', ({{matches}}) => {{
                if (matches) window.printed = {CANVASES};
            }})"""
        )
        watched.page.pdf(format="A4")
        printed = watched.page.evaluate("window.printed")
        assert len(printed) == len(before) == 8
        for right, place, drawn, seen in printed:
            assert right <= place + 0.5
            assert seen == pytest.approx(drawn, abs=1)  # and is not made smaller, text and all
        assert max(place for _, place, _, _ in printed) < A4_PIXELS
        wait(
            watched, f"JSON.stringify({CANVASES}) === '{json.dumps(before, separators=(',', ':'))}'"
        )
        assert watched.errors == []


def texts(watched: Watched, chart: str) -> dict[str, tuple[float, float]]:
    """The texts of a chart, with the places of their upper left corners."""
    found: dict[str, tuple[float, float]] = watched.page.evaluate(
        """chart => Object.fromEntries(
            echarts.getInstanceByDom(document.querySelector(chart)).getZr().storage
            .getDisplayList(true).filter(each => each.style.text && !each.ignore).map(each => {
                const place = each.getBoundingRect().clone();
                if (each.transform) place.applyTransform(each.transform);
                return [each.style.text, [place.x, place.y]];
            }))""",
        chart,
    )
    return found


def test_the_axis_of_epochs_has_a_mark_for_each_rung(opened: Watched) -> None:
    shown = texts(opened, "#parallel")
    across = shown["epochs"][0] + 10
    marks = [text for text, (x, y) in shown.items() if across < x < across + 40 and y > 30]
    assert sorted(marks, key=int) == ["1", "3", "9", "27"]


def test_a_chart_of_one_epoch_and_of_losses_is_labelled(browser: "Browser", losses: Path) -> None:
    with watched_page(browser) as watched:
        show(watched, losses)
        curves, parallel = texts(watched, "#curves"), texts(watched, "#parallel")
        assert watched.errors == []
    assert {"1", "epoch", "winner", "training"} <= curves.keys()
    assert {"0", "2", "0.5", "1.5"}.isdisjoint(curves)
    assert abs(curves["winner"][1] - curves["training"][1]) > 10
    names = [*(each.name for each in report_page.varied(many_contents().story)), "epochs"]
    assert parallel["val_loss"][1] == pytest.approx(parallel[names[1]][1], abs=1)


def test_a_chart_that_was_never_seen_is_printed_whole(browser: "Browser", report: Path) -> None:
    """The lines of a chart that is new are cut off at the frame that it was first drawn in."""
    with watched_page(browser, viewport=NARROW) as watched:
        watched.page.goto(report.as_uri())
        frame = watched.page.evaluate(
            """() => {
                dispatchEvent(new Event('beforeprint'));
                const chart = echarts.getInstanceByDom(document.getElementById('parallel'));
                const paths = chart.getZr().storage.getDisplayList(true)
                    .flatMap(each => each.__clipPaths ?? []);
                return Math.min(680, ...paths.map(path => path.shape.width));
            }"""
        )
    assert frame > 500


def test_a_print_of_a_dark_screen_is_drawn_in_light_colours(opened: Watched) -> None:
    """As in Firefox, where a page hears that it will be printed and not of the print medium."""
    accent = "getComputedStyle(document.documentElement).getPropertyValue('--accent')"
    light = opened.page.evaluate(accent)
    opened.page.emulate_media(color_scheme="dark")
    assert opened.page.evaluate(accent) != light
    opened.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert opened.page.evaluate(accent) == light
    assert {drawn for _, _, drawn, _ in opened.page.evaluate(CANVASES)} == {680, 212}
    opened.page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert opened.page.evaluate(accent) != light
    opened.page.emulate_media(color_scheme="light")


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

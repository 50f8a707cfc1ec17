"""The page: names that are text, its policy, its words."""

import dataclasses
import re
from pathlib import Path

import pytest

from tests.support.report_page import NOW, Outline, gathered
from tests.support.synthetic_run import (
    CLASSES,
    HOSTILE_CLASS,
    HOSTILE_FILE,
    PREPARED,
    synthetic_run,
)
from tuner.report import charts, page
from tuner.report.contents import Contents
from tuner.report.image_sections import Doubts
from tuner.report.time_shares import time_shares
from tuner.report.validation import Validation
from tuner.runs.notes import Notes


def test_the_answer_comes_first_with_its_interval_and_baselines(html: str) -> None:
    text = " ".join(" ".join(Outline(html).text).split())
    answer = text[text.index("The answer") : text.index("Hyperband with factor")]
    assert re.search(r"classifies \d+ of 1432 validation images correctly, \d", answer)
    assert "95 % interval" in answer
    assert "more than plain head" in answer
    assert "always the most frequent class" in answer


def test_hostile_names_are_text_everywhere(html: str) -> None:
    outline = Outline(html)
    assert [tag for tag, _ in outline.tags if tag == "script"] == ["script"] * 2
    assert all(
        attributes["src"] and attributes["src"].startswith("data:image/jpeg;base64,")
        for tag, attributes in outline.tags
        if tag == "img"
    )
    for _, attributes in outline.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
    for markup in (*set(CLASSES) - {"plain"}, "line <b>"):
        assert markup not in html
    text = "".join(outline.text)
    assert HOSTILE_CLASS in text
    assert "</script><script>alert(2)</script>" in text
    shown = HOSTILE_FILE.replace("\n", "\\n").replace("\u202e", "\\u202e")
    assert f"-{shown}" in text
    assert "\u202e" not in html
    alts = [attributes.get("alt") or "" for tag, attributes in outline.tags if tag == "img"]
    assert any(shown in alt for alt in alts)


def test_a_name_that_is_no_text_is_shown(contents: Contents) -> None:
    assert isinstance(contents.validation, Validation)
    image = dataclasses.replace(contents.validation.worst[0], path="a\udcff\x00.png")
    validation = dataclasses.replace(contents.validation, worst=(image,))
    shown = page.render(dataclasses.replace(contents, validation=validation), NOW)
    assert "a\\udcff\\x00.png" in shown
    shown.encode("utf-8")


def test_the_policy_names_every_script_and_style(html: str) -> None:
    import base64
    import hashlib

    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', html)
    assert "default-src &#39;none&#39;" in policy
    assert "unsafe" not in policy
    inline = re.findall(r"<style>(.*?)</style>|<script>(.*?)</script>", html, re.DOTALL)
    assert len(inline) == 2
    for style, script in inline:
        digest = base64.b64encode(hashlib.sha256((style or script).encode()).digest()).decode()
        assert f"sha256-{digest}" in policy


@pytest.mark.parametrize(
    "word",
    ["A bracket is", "A rung is", "A recipe is", "Precision: ", "F1: ", "calibration error, the"],
)
def test_a_word_is_explained_where_it_first_stands(html: str, word: str) -> None:
    text = " ".join("".join(Outline(html).text).split())
    term = word.removeprefix("A ").split()[0].rstrip(":").casefold()
    assert word in text
    before = text[text.index("The answer") : text.index(word)].casefold()
    assert not re.search(rf"\b{term}s?\b", before) or term == "calibration"


def test_what_may_still_be_promoted_is_not_said_to_have_ended(tmp_path: Path) -> None:
    run = synthetic_run(tmp_path, trials=9, images=140)
    run.journal.set_notes(Notes(finished_iterations=0))
    found = gathered(run, tmp_path / "cache")
    assert found.data.state == "interrupted"
    text = page.render(found, NOW)
    assert "went no further" not in text
    assert (
        text.count(", no further so far</title>") == len(charts.brackets(found.data)[0].points) > 0
    )
    assert "</svg>no further so far</li>" in text
    assert "was not promoted, or not yet." in text
    run.journal.set_notes(Notes(finished_iterations=run.settings.iterations))
    text = page.render(gathered(run, tmp_path / "cache"), NOW)
    assert "so far" not in text
    assert "went no further</title>" in text
    assert "was not promoted." in text


def test_what_went_before_the_training_has_its_bars(contents: Contents, html: str) -> None:
    shown = {share.name: share.seconds for share in time_shares(contents.data)["All of it"]}
    assert shown == PREPARED | {"training": pytest.approx(contents.data.seconds)}
    text = "".join(Outline(html).text)
    assert all(name in text for name in PREPARED)
    assert "images were read and decoded and frozen features computed: 1m22s" in text


def test_the_versions_are_those_of_the_search(contents: Contents) -> None:
    data = dataclasses.replace(contents.data, versions={"keras": "3.0.1", "numpy": "2.9"})
    versions = {"keras": "3.0.1", "numpy": "2.8"}
    shown = page.render(dataclasses.replace(contents, data=data, versions=versions), NOW)
    text = " ".join("".join(Outline(shown).text).split())
    assert "keras3.0.1numpy2.9 (this page: 2.8)" in text


def test_with_a_time_budget_the_same_trials_are_not_promised(contents: Contents) -> None:
    promise = "give the same trials and scores:"
    assert promise in page.render(contents, NOW)
    settings = dataclasses.replace(contents.data.settings, time_budget_seconds=60.0)
    data = dataclasses.replace(contents.data, settings=settings)
    limited = page.render(dataclasses.replace(contents, data=data), NOW)
    assert promise not in limited
    assert "depends on how fast the machine is" in limited


def test_the_key_of_the_confusion_matrix_is_not_in_its_scrolling_box(html: str) -> None:
    tags = Outline(html).tags
    assert "caption" not in {tag for tag, _ in tags}
    (key,) = [place for place, (_, each) in enumerate(tags) if each.get("id") == "matrix-key"]
    box, table = tags[key + 1 : key + 3]
    assert (tags[key][0], box[1]["class"], table[1]["class"]) == ("p", "scroll", "matrix")
    assert {each["aria-describedby"] for _, each in (box, table)} == {"matrix-key"}


def test_no_doubtful_label_is_no_list_of_none(contents: Contents) -> None:
    none = dataclasses.replace(contents, doubts=Doubts((), 0, 23))
    text = " ".join("".join(Outline(page.render(none, NOW)).text).split())
    assert "frozen backbone's features: none of 23 images. tune diagnose" in text
    assert "0 most doubtful" not in text


def test_what_is_to_be_typed_or_found_is_shown_as_it_is(contents: Contents) -> None:
    assert isinstance(contents.validation, Validation)
    image = dataclasses.replace(contents.validation.worst[0], path="at 5 % light.png")
    changed = dataclasses.replace(
        contents, command="tune search '/photos/at 5 % light'",
        validation=dataclasses.replace(contents.validation, worst=(image,)),
    )  # fmt: skip
    text = "".join(Outline(page.render(changed, NOW)).text)
    assert "tune search '/photos/at 5 % light'" in text
    assert "at 5 % light.png" in text
    assert re.search(
        r"classifies \d+ of \d+ validation images correctly, [\d.]+\u00a0% \(95\u00a0%", text
    )


def test_a_missing_picture_leaves_a_sentence(contents: Contents) -> None:
    assert isinstance(contents.validation, Validation)
    gone = dataclasses.replace(contents.validation.worst[0], picture=None, problem="It is gone.")
    validation = dataclasses.replace(contents.validation, worst=(gone,))
    assert "It is gone." in page.render(dataclasses.replace(contents, validation=validation), NOW)

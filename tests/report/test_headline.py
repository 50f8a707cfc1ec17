"""The answer first."""

import dataclasses
import re

from tests.support.report_page import NOW
from tuner.report import page
from tuner.report.contents import Contents
from tuner.report.headline import answer_of
from tuner.report.run_data import read_run_data
from tuner.runs.run import Run


def test_what_best_measured_is_shown(synthetic: Run, contents: Contents) -> None:
    assert contents.answer.winner is not None
    winner = contents.answer.winner
    measured = {"test_correct": 30, "test_images": 40, "opponents": [], "left_out": []}
    measured |= {"epochs": winner.epochs, "details": {"mistakes": []}}
    synthetic.journal.set_evaluation(winner.id, measured)
    data = read_run_data(synthetic)
    synthetic.journal.set_evaluation(winner.id, {"epochs": 0})
    found = answer_of(data)
    assert found.test is not None
    assert found.test.share == 0.75
    assert "not yet" not in " ".join(found.sentences)
    shown = page.render(dataclasses.replace(contents, data=data, answer=found), NOW)
    numbers = re.findall(r'<div class="figure( main)?"><b>([^<]+)</b>', shown)
    assert numbers[0] == (" main", "75.0\u00a0%")
    assert all(not main for main, _ in numbers[1:])
    assert answer_of(read_run_data(synthetic)).test is None

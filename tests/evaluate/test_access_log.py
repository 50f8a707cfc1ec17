"""Looks at the test images: noted in the run, and in a list that outlives runs."""

from pathlib import Path

from tuner.data.dataset import Dataset, ImageFile
from tuner.evaluate.access_log import (
    AccessRecord,
    access_now,
    access_rows,
    access_sentence,
    all_accesses,
    fingerprint_of_test,
    list_access,
    log_access,
)
from tuner.runs.journal import Journal
from tuner.runs.records import RungRecord
from tuner.runs.run import Run
from tuner.settings import SearchSettings


def dataset(*contents: str, prefix: str = "") -> Dataset:
    files = [ImageFile(f"{prefix}{n}.png", "a", "test", sha) for n, sha in enumerate(contents)]
    train = ImageFile(f"{prefix}x.png", "a", "train", f"{prefix}00")
    return Dataset(Path(), ("a",), (*files, train))


def new_run(runs: Path, name: str) -> Run:
    (runs / name).mkdir(parents=True)
    run = Run(runs / name, SearchSettings())
    Journal.create(runs / name / "journal.db").close()
    return run


def test_the_fingerprint_is_that_of_the_test_images_alone() -> None:
    one = fingerprint_of_test(dataset("aa", "bb"))
    assert fingerprint_of_test(dataset("bb", "aa", prefix="renamed/")) == one
    assert fingerprint_of_test(dataset("aa", "cc")) != one


def test_accesses_of_all_runs_on_the_same_images(tmp_path: Path) -> None:
    first, second = new_run(tmp_path, "first"), new_run(tmp_path, "second")
    images, others = dataset("aa", "bb"), dataset("cc")
    assert all_accesses(first, images) == []
    first.journal.begin_trial({}, slot=(0, 0))
    first.journal.finish_rung(0, RungRecord(0, 1, 0.5, 1.0), [{}], completed=True)
    access = access_now(first, 0, images)
    assert (access.run, access.trial, access.trials) == ("first", "0000", 1)
    list_access(first, access)
    first.journal.log_evaluation(0, access.__dict__, {})
    assert all_accesses(first, images) == [access]  # logged twice, and one access
    assert all_accesses(second, images) == [access]
    assert all_accesses(second, others) == []
    earlier = AccessRecord("second", "0004", "2020-01-02T03:04:05+00:00", 9, access.test, ("aa",))
    list_access(second, earlier)
    assert all_accesses(first, images) == [earlier, access]


def test_an_access_to_nearly_the_same_images_is_counted(tmp_path: Path) -> None:
    first, second = new_run(tmp_path, "first"), new_run(tmp_path, "second")
    first.journal.begin_trial({}, slot=(0, 0))
    grown, other = dataset("aa", "bb", "cc"), dataset("dd")
    log_access(first, 0, access_now(first, 0, dataset("aa", "bb")), {})
    assert len(first.journal.evaluation_log()) == 1
    (row,) = access_rows(second, grown)
    assert (row["run"], row["shared"], row["of"]) == ("first", 2, 3)
    assert "images" not in row
    assert access_rows(second, other) == []
    second.journal.begin_trial({}, slot=(0, 0))
    log_access(second, 0, access_now(second, 0, grown), {})
    rows = access_rows(second, grown)
    assert "1 of these times shared 2 of the 3 images." in access_sentence(rows)


def test_a_line_that_was_cut_is_passed_over(tmp_path: Path) -> None:
    run, images = new_run(tmp_path, "first"), dataset("aa")
    list_access(run, AccessRecord("first", "0001", "2020", 3, "", ("aa",)))
    with (tmp_path / ".looks.jsonl").open("a") as file:
        file.write('{"run": "fir\n[]\n{"run": "first"}\n')
    assert len(all_accesses(run, images)) == 1

"""Looks at the test images: noted in the run, and in a list that outlives runs."""

from pathlib import Path

from tuner.dataset import Dataset, ImageFile
from tuner.journal import Journal, RungRecord
from tuner.looks import Look, all_looks, fingerprint_of_test, list_look, look_now
from tuner.run import Run
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


def test_looks_of_all_runs_on_the_same_images(tmp_path: Path) -> None:
    first, second = new_run(tmp_path, "first"), new_run(tmp_path, "second")
    images, others = dataset("aa", "bb"), dataset("cc")
    assert all_looks(first, images) == []
    first.journal.begin_trial({}, slot=(0, 0))
    first.journal.finish_rung(0, RungRecord(0, 1, 0.5, 1.0), [{}], completed=True)
    look = look_now(first, 0, images)
    assert (look.run, look.trial, look.trials) == ("first", "0000", 1)
    list_look(first, look)
    first.journal.add_look(0, look.__dict__, {})
    assert all_looks(first, images) == [look]  # noted twice, and one look
    assert all_looks(second, images) == [look]
    assert all_looks(second, others) == []
    earlier = Look("second", "0004", "2020-01-02T03:04:05+00:00", 9, look.test)
    list_look(second, earlier)
    assert all_looks(first, images) == [earlier, look]


def test_a_line_that_was_cut_is_passed_over(tmp_path: Path) -> None:
    run, images = new_run(tmp_path, "first"), dataset("aa")
    list_look(run, Look("first", "0001", "2020", 3, fingerprint_of_test(images)))
    with (tmp_path / ".looks.jsonl").open("a") as file:
        file.write('{"run": "fir\n[]\n{"run": "first"}\n')
    assert len(all_looks(run, images)) == 1

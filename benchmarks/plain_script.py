"""The plain tuner's whole script, as the baseline of the default command.

Run by `search_speed.py --case default`: python plain_script.py PLAN.json RESULT.json

It does what a script with Keras Tuner does: imports, `image_dataset_from_directory`, cached and
prefetched, and keras_tuner.Hyperband. The plan says which rungs it is to train; it measures a few
of each kind, or trains them all, and reports what they took. The process is timed from outside.
"""

import contextlib
import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf
from plain import Costs, PlainTuner, Rung, as_json, describe


def main(plan_file: str, result_file: str) -> None:
    plan = json.loads(Path(plan_file).read_text())
    size = plan["space"]["image_size"]
    with contextlib.redirect_stdout(sys.stderr):
        training, validation = (
            keras.utils.image_dataset_from_directory(
                Path(plan["data"]) / split,
                image_size=(size, size),
                batch_size=plan["batch_size"],
                shuffle=split == "train",
                seed=0,
            )
            .cache()
            .prefetch(tf.data.AUTOTUNE)
            for split in ("train", "val")
        )
        tuner = PlainTuner(
            plan["pinned"],
            plan["space"],
            plan["max_epochs"],
            Path(plan["folder"]),
            {"x": training, "validation_data": validation},
        )
        rungs = [Rung(**rung) for rung in plan["rungs"]]
        if plan["full"]:
            timings = tuner.train_all(rungs)
        else:
            timings = tuner.measure(rungs, plan["samples"], plan["epochs"])
    begun = time.perf_counter()
    costs = Costs.of(timings)
    measured = sum(timing.seconds for timing in timings)
    tuner.check_pins()
    result = {
        "seconds_in_rungs": measured,
        "schedule_seconds": measured if plan["full"] else costs.total(rungs),
        "promotion_extra_seconds": costs.promotion_extra,
        "kinds": [] if plan["full"] else describe(costs, rungs),
        "timings": as_json(timings),
        "seconds_of_checks": time.perf_counter() - begun,
    }
    Path(result_file).write_text(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])

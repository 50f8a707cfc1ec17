"""Finds a head for ResNet50 from Python, and saves the model for plain Keras: winner.keras.

python examples/from_python.py            # scikit-learn's handwritten digits, offline
python examples/from_python.py photos --weights imagenet --image-size 224 --max-epochs 10
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import keras

import tuner
from search_spaces.resnet50 import ResNet50Space


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Find a head for ResNet50, and save the model.")
    parser.add_argument("photos", nargs="?", type=Path, help="a folder for each class")
    parser.add_argument("--weights", default="none")
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--max-epochs", type=int, default=3)
    asked = parser.parse_args(arguments)
    with tuner.Cache(Path(".demo-cache")) as cache:
        search_and_save(asked, cache)


def search_and_save(asked: argparse.Namespace, cache: tuner.Cache) -> None:
    photos, image_size = asked.photos, asked.image_size
    # Copies of a picture never stand on two sides of the split.
    found = tuner.load_dataset(photos) if photos else tuner.digits_dataset(cache.folder)
    train, validation, test = (
        (tuner.prepare_images(found.of(split), found.root, image_size, cache), found.labels(split))
        for split in ("train", "validation", "test")
    )
    search = tuner.HyperbandTuner(
        ResNet50Space(len(found.classes), image_size, asked.weights),
        max_epochs=asked.max_epochs,
        fixed={"unfreeze_blocks": "0"},  # the head alone; without this line, the backbone too
        project_name="from-python",
        overwrite=True,
        cache=cache,
    )
    search.search(*train, validation_data=validation)

    print("The winner:", search.get_best_hyperparameters()[0].values)
    winner = search.get_best_models()[0]
    findings = tuner.check_model(winner, train[0][:8])
    print("Faults:", *[each.sentence for each in findings] or ["none"])

    tuner.export_model(winner, image_size).save("winner.keras")
    exported = keras.models.load_model("winner.keras")  # plain Keras: nothing of ours is needed
    named = exported.predict(test[0], verbose=0).argmax(axis=1)
    print(f"It names {(named == test[1]).sum()} of {len(named)} test images rightly.")


if __name__ == "__main__":
    main()

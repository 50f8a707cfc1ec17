"""The tuner: joins the oracle's schedule, the training loop and the journal."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import keras
import keras_tuner
import numpy as np
from keras_tuner.engine import trial as kt_trial

from search_spaces.backbone import PretrainedBackbone
from search_spaces.resnet50 import UNFREEZE_BLOCKS, ResNet50Space, can_be_cut
from tuner.atomic import read_arrays, write_arrays
from tuner.cache import Cache, default_cache_dir
from tuner.errors import RunError, TuneError
from tuner.journal import Journal, RungRecord, TrialRecord
from tuner.oracle import JournalOracle, declared_space, pin
from tuner.ranking import trial_name
from tuner.schedule import Schedule
from tuner.settings import SearchSettings
from tuner.sources import FromFeatures, FromImages, Images, Source, build_seeded
from tuner.training import EpochMetrics, Rows, Trainer, restore_weights

# Trials that fail in a row, after which the fault is not in the configurations.
_FAILURES = 5


class SearchObserver:
    """Is told what a search does; every method does nothing unless it is overridden."""

    def counting(self, what: str, done: int, count: int) -> None:
        """`done` of `count` images have been through what is being done."""

    def note(self, text: str) -> None:
        """Something that the user should know."""

    def search_begins(self, schedule: Schedule, omitted_recipes: tuple[str, ...]) -> None:
        """The search is about to begin its first trial."""

    def rung_begins(self, trial: TrialRecord, end_epoch: int) -> None:
        """A trial is about to be trained up to `end_epoch`."""

    def epoch_ends(self, trial: TrialRecord, epoch: int, metrics: EpochMetrics) -> None:
        """Epoch number `epoch`, counted from 1, is done."""

    def rung_ends(self, trial: TrialRecord, best: TrialRecord | None) -> None:
        """A trial finished its rung, or failed; `best` leads the search now."""

    def search_ends(self, trials: list[TrialRecord]) -> None:
        """The search is complete."""


class HyperbandTuner(keras_tuner.Tuner):
    """Hyperband whose trials are trained by `Trainer` and kept in a journal.

    Args:
        hypermodel: a search space; any keras_tuner.HyperModel whose `build` gives a compiled
            classifier with sparse labels.
        objective: "val_accuracy" or "val_loss".
        max_epochs: epochs of a trial that is never stopped.
        factor: each rung keeps about one trial in `factor`.
        hyperband_iterations: how often Hyperband is run.
        seed: seed of configurations, initial weights, dropout and the order of the images.
        batch_size: images of a training step.
        fixed: pinned hyperparameters by name, as text.
        directory: folder of the runs.
        project_name: name of this run's folder in it.
        overwrite: whether a run of that name is replaced.
        observer: is told what happens.
        keep: how many of the best trials keep their weights; recipes keep theirs besides.
        cache: keeps features; None for the user's cache folder.
        journal: an empty journal in the run's folder; None makes folder and journal.
        backbone: the space's backbone, if it has been built already.

    Raises:
        RunError: a run of that name exists.
        SettingsError: a value is out of range, or a pinned name or value is not in the space.

    Example:
        >>> tuner = HyperbandTuner(ResNet50Space(num_classes=5), max_epochs=10)
        >>> tuner.search(x, y, validation_data=(x_val, y_val))
        >>> model = tuner.get_best_models()[0]
    """

    def __init__(
        self,
        hypermodel: keras_tuner.HyperModel,
        objective: str = "val_accuracy",
        max_epochs: int = 30,
        factor: int = 3,
        hyperband_iterations: int = 1,
        seed: int = 0,
        batch_size: int = 32,
        fixed: dict[str, str] | None = None,
        directory: str | Path = "runs",
        project_name: str = "search",
        overwrite: bool = False,
        observer: SearchObserver | None = None,
        keep: int = 1,
        cache: Cache | None = None,
        journal: Journal | None = None,
        backbone: PretrainedBackbone | None = None,
    ) -> None:
        SearchSettings(  # checks them
            objective=objective,
            max_epochs=max_epochs,
            factor=factor,
            iterations=hyperband_iterations,
            seed=seed,
            batch_size=batch_size,
        )
        self._folder = Path(directory) / project_name
        self._seed = seed
        self._batch_size = batch_size
        self._observer = observer or SearchObserver()
        self._backbone = backbone
        self._keep = keep
        self._cache = cache
        self._source: Source | None = None
        hyperparameters = declared_space(hypermodel)
        pinned = pin(hyperparameters, fixed or {})
        oracle = JournalOracle(
            journal or _new_journal(self._folder, overwrite),
            hyperparameters,
            objective=objective,
            max_epochs=max_epochs,
            factor=factor,
            iterations=hyperband_iterations,
            seed=seed,
            pinned=pinned,
            recipes=hypermodel.recipes() if isinstance(hypermodel, ResNet50Space) else None,
        )
        super().__init__(oracle, hypermodel, directory=str(directory), project_name=project_name)

    def search(
        self,
        x: np.ndarray | Sequence[np.ndarray],
        y: np.ndarray,
        validation_data: tuple[np.ndarray, np.ndarray],
    ) -> None:
        """Runs the whole search.

        Args:
            x: training images, RGB values 0 to 255, shape (n, image_size, image_size, 3); or
                several views of them, of which epoch e trains on number e mod their count.
            y: their class numbers, shape (n,).
            validation_data: images and class numbers that decide the score.
        """
        views: list[np.ndarray] = [x] if isinstance(x, np.ndarray) else list(x)
        validation = Rows(validation_data[0], np.asarray(validation_data[1]))
        with self._cache or Cache(default_cache_dir()) as cache:
            self._source = self._make_source(Images(views, np.asarray(y), validation), cache)
            self.on_search_begin()
            failures = 0
            while True:
                trial = self.oracle.create_trial(self.tuner_id)
                if trial.status != kt_trial.TrialStatus.RUNNING:
                    break
                self.on_trial_begin(trial)
                self._try_trial(trial)
                self.on_trial_end(trial)
                failed = trial.status == kt_trial.TrialStatus.FAILED
                failures = failures + 1 if failed else 0
                if failures == _FAILURES:
                    raise TuneError(
                        f"{failures} trials in a row failed, the last one because: {trial.message}."
                    )
            self.on_search_end()

    def run_trial(self, trial: kt_trial.Trial) -> dict[str, float]:
        """Trains one trial through one rung.

        Args:
            trial: as the oracle handed it out, in a search.

        Returns:
            The metrics of the rung's last epoch.

        Raises:
            keras_tuner.errors.FailedTrialError: the loss became NaN or infinite.
        """
        assert self._source is not None
        begun = time.monotonic()
        start, end = (trial.hyperparameters[f"tuner/{n}"] for n in ("initial_epoch", "epochs"))
        record = self._record(trial)
        self._observer.rung_begins(record, end)
        trainer = self._trainer(record)
        rows = self._source.rows(record.hyperparameters)
        epochs = []
        for epoch in range(start, end):
            metrics = trainer.run_epoch(rows.training(epoch), rows.validation)
            if not metrics.finite():
                raise keras_tuner.errors.FailedTrialError(
                    f"the loss became NaN or infinite in epoch {epoch + 1}"
                )
            epochs.append(asdict(metrics))
            self._observer.epoch_ends(record, epoch + 1, metrics)
            self.on_epoch_end(trial, trainer.model, epoch, logs=epochs[-1])
        path = state_file(self._folder, record.id)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_arrays(path, trainer.state(final=end == self.oracle.max_epochs))
        score = epochs[-1][self.oracle.objective.name]
        rung = RungRecord(start, end, score, time.monotonic() - begun)
        self.oracle.finish_rung(trial, rung, epochs)
        return epochs[-1]

    def load_model(self, trial: kt_trial.Trial) -> keras.Model:
        """The whole network of a trial, compiled, with the weights that gave its score."""
        path = state_file(self._folder, int(trial.trial_id))
        if not path.exists():
            raise RunError(
                f"the weights of trial {trial.trial_id} were not kept. Search with a larger keep."
            )
        model = build_seeded(
            self.hypermodel, trial.hyperparameters, self._seed, int(trial.trial_id)
        )
        restore_weights(model, read_arrays(path))
        return model

    def on_search_begin(self) -> None:
        """Tells the observer."""
        self._observer.search_begins(self.oracle.schedule, self.oracle.omitted_recipes)

    def on_trial_end(self, trial: kt_trial.Trial) -> None:
        """Tells the oracle and the observer that a trial's rung has ended."""
        self.oracle.end_trial(trial)
        self._drop_states()
        self._observer.rung_ends(self._record(trial), self.oracle.winner())

    def on_search_end(self) -> None:
        """Tells the observer."""
        self._observer.search_ends(self.oracle.records())

    def save(self) -> None:
        """Does nothing: the journal is written with every change."""

    def reload(self) -> None:
        """Does nothing: the journal is read whenever it is asked."""

    def _populate_initial_space(self) -> None:
        """Does nothing: the space is declared without building a network."""

    def _make_source(self, images: Images, cache: Cache) -> Source:
        space, oracle = self.hypermodel, self.oracle
        if not can_be_cut(space):
            self._observer.note(
                f"{type(space).__name__} builds its networks itself, so that what is frozen in "
                "them is not known: every epoch computes the whole network."
            )
            return FromImages(
                space, oracle.get_space(), images, batch_size=self._batch_size, seed=self._seed
            )
        return FromFeatures(
            space,
            self._backbone or PretrainedBackbone(space.build_backbone()),
            images,
            cache,
            oracle.expected_epochs("unfreeze_blocks", UNFREEZE_BLOCKS),
            batch_size=self._batch_size,
            seed=self._seed,
            on_progress=self._observer.counting,
        )

    def _try_trial(self, trial: kt_trial.Trial) -> None:
        try:
            self.run_trial(trial)
            trial.status = kt_trial.TrialStatus.COMPLETED
        except (keras_tuner.errors.FatalError, TuneError, OSError):
            raise  # no fault of the configuration: a full disk, say
        except Exception as error:  # a trial may fail in any way; the search goes on
            trial.status = kt_trial.TrialStatus.FAILED
            trial.message = str(error) or type(error).__name__

    def _drop_states(self) -> None:
        """Deletes the weights that nothing can need any more."""
        needed = {trial_name(number) for number in self.oracle.needed_states(self._keep)}
        for folder in (self._folder / "trials").glob("*"):
            if folder.name not in needed:
                shutil.rmtree(folder)

    def _record(self, trial: kt_trial.Trial) -> TrialRecord:
        return self.oracle.records()[int(trial.trial_id)]

    def _trainer(self, record: TrialRecord) -> Trainer:
        """The trial's trainer, at the epoch where its last rung ended."""
        assert self._source is not None
        trainer = self._source.trainer(record.hyperparameters, record.id)
        self.oracle.note_parameters(record.id, trainer.parameters)
        if record.rungs:
            trainer.restore(read_arrays(state_file(self._folder, record.id)))
        return trainer


def state_file(folder: Path, trial: int) -> Path:
    """Where a run's folder holds everything that trial number `trial` has trained."""
    return folder / "trials" / trial_name(trial) / "state.npz"


def _new_journal(folder: Path, overwrite: bool) -> Journal:
    """An empty journal in a new folder, or in that of a run that is to be replaced."""
    path = folder / "journal.db"
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        if not path.exists():
            raise RunError(f"{folder} exists and is not a run. Choose another project_name.")
        if not overwrite:
            raise RunError(
                f"the run {folder} exists. Choose another project_name, or pass overwrite=True."
            )
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return Journal.create(path)

"""The tuner: trains what the oracle hands out, and keeps results in the journal."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
import tensorflow as tf
from keras_tuner.engine import trial as kt_trial

from search_spaces.backbone import PretrainedBackbone
from tuner.errors import SettingsError, TuneError
from tuner.hyperband import time_budget
from tuner.hyperband.pinning import declared_space, pin
from tuner.hyperband.time_budget import TimeBudget
from tuner.hyperband.time_left import TimeEstimator
from tuner.interrupt import StopRequest
from tuner.observer import (
    EpochEnds,
    Observers,
    RungBegins,
    RungEnds,
    SearchBegins,
    SearchEnds,
    SearchObserver,
    TimeLeft,
)
from tuner.runs.checkpoint import keep_checkpoints, read_checkpoint, remove_leftovers, state_file
from tuner.runs.journal import Journal
from tuner.runs.lock import sole_writer
from tuner.runs.notes import Notes
from tuner.runs.provenance import check_same_search, note_search
from tuner.runs.ranking import may_be_simplest, near_best
from tuner.runs.records import RungRecord, TrialRecord, trial_name
from tuner.runs.run import open_journal
from tuner.runs.timings import FEATURES, noted
from tuner.search import components
from tuner.search.rung import RungTrainer, TimeIsUp, saved_epoch
from tuner.settings import SearchSettings
from tuner.storage.cache import Cache, default_cache_dir
from tuner.tensorboard.writer import FOLDER, SummaryWriter
from tuner.text import duration
from tuner.training.sources import Images, Source, build_seeded
from tuner.training.state import restore_weights
from tuner.training.trainer import EpochMetrics, Trainer

# Trials that fail in a row, after which the fault is not in the configurations.
_FAILURES = 5
_OUT_OF_MEMORY = (tf.errors.ResourceExhaustedError, MemoryError)


class HyperbandTuner(keras_tuner.Tuner):
    """Hyperband whose trials are trained by `Trainer` and kept in a journal.

    Args:
        hypermodel: a search space; any keras_tuner.HyperModel whose `build` returns a compiled
            classifier with sparse labels.
        settings: of the search; None for the defaults.
        directory: folder of the runs.
        project_name: name of this run's folder in it.
        overwrite: replace a run of that name.
        resume: resume a run of that name; begin it if there is none. More `iterations` than the
            run was begun with are added to it.
        keep: number of best trials that keep their weights. Recipes keep theirs too, and so do
            simpler trials that are as good as the best; see `ranking.near_best`.
        observer: receives the events of the search.
        cache: stores features; None for the user's cache folder.
        journal: of the run; None to create or open the one in its folder.
        backbone: of the search space, if it was built already.
        stop: checked after every epoch.
        begun: start of the time budget, in seconds of `time.monotonic`; None for now.
        **changes: single settings, by the names in `components.TRAINING_SETTINGS`; see
            `SearchSettings`.

    Attributes:
        summaries: writes the run's TensorBoard folder, and measures the time that this takes.

    Raises:
        RunError: a run of that name exists, or was begun with other settings.
        SettingsError: a value is out of range, or a pinned name or value is not in the space.
        TypeError: a setting has no effect here, such as `image_size`.

    Example:
        >>> tuner = HyperbandTuner(ResNet50Space(num_classes=5), max_epochs=10)
        >>> tuner.search(x, y, validation_data=(x_val, y_val))
        >>> model = tuner.get_best_models()[0]
    """

    def __init__(
        self,
        hypermodel: keras_tuner.HyperModel,
        settings: SearchSettings | None = None,
        *,
        directory: str | Path = "runs",
        project_name: str = "search",
        overwrite: bool = False,
        resume: bool = False,
        keep: int = 1,
        observer: SearchObserver | None = None,
        cache: Cache | None = None,
        journal: Journal | None = None,
        backbone: PretrainedBackbone | None = None,
        stop: StopRequest | None = None,
        begun: float | None = None,
        **changes: Any,
    ) -> None:
        self._settings = components.changed_settings(settings or SearchSettings(), changes)
        self._folder = Path(directory) / project_name
        self._keep = keep
        self._cache = cache
        self._backbone = backbone
        self._extra = False
        self._stop = stop or StopRequest()
        self._budget = TimeBudget(self._settings.time_budget_seconds, begun)
        declared = declared_space(hypermodel)
        pinned = pin(declared, self._settings.fixed)
        self._journal = journal or open_journal(self._folder, overwrite, resume)
        observer = observer or SearchObserver()
        self.summaries = SummaryWriter(self._folder / FOLDER, self._journal, observer.note)
        self._observer = Observers(observer, self.summaries)
        oracle = components.make_oracle(self._settings, hypermodel, declared, self._journal)
        super().__init__(oracle, hypermodel, directory=str(directory), project_name=project_name)
        self._notes = Notes(
            settings=asdict(self._settings), pinned=pinned, space=declared.get_config()["space"]
        )
        check_same_search(project_name, self._journal, self._notes)

    def search(
        self,
        x: np.ndarray | Sequence[np.ndarray] | tf.data.Dataset,
        y: np.ndarray | None = None,
        validation_data: tuple[np.ndarray, np.ndarray] | tf.data.Dataset | None = None,
        **elsewhere: Any,
    ) -> None:
        """Run the whole search, or what is left of it.

        Images are whole RGB values 0 to 255; see `arrays.labelled_images` for other formats.

        Args:
            x: training images, shape (n, image_size, image_size, 3); or several views of them, of
                which epoch e trains on number e mod their count; or a tf.data.Dataset of images
                and labels, which is read once.
            y: class numbers, shape (n,); None if `x` is a Dataset.
            validation_data: (images, class numbers) that trials are scored on, or a Dataset.

        Raises:
            DataError: images or labels have another format.
            RunError: another process searches in this run, or it has other images or weights.
            TuneError: five trials in a row failed, or the disk is full.
            TypeError: an argument of Keras Tuner's that is set elsewhere.
        """
        components.refuse("search", elsewhere)
        images = components.make_images(self._settings, self.hypermodel, x, y, validation_data)
        with (
            components.keras_settings_of(self.hypermodel),
            sole_writer(self._folder),
            time_budget.charged(self._budget, self._journal),
            self._cache or Cache(default_cache_dir()) as cache,
        ):
            self.oracle.ongoing_trials.clear()
            self._validation_labels = images.validation.y
            self._source = self._begin(images, cache)
            self._note_progress()
            self._drop_states()
            remove_leftovers(self._folder)
            self.on_search_begin()
            self._run_trials()
            self._note_progress()
            if self._budget.limited and not (self._extra or self.oracle.complete):
                self._observer.note(time_budget.out_of_time(self.oracle, self._time.work_seconds()))
            self.on_search_end()

    def run_trial(self, trial: kt_trial.Trial) -> dict[str, float]:
        """Train a trial through one rung, from its last checkpoint; part of `search`.

        Returns:
            The metrics of the rung's last epoch.

        Raises:
            keras_tuner.errors.FailedTrialError: the loss became NaN or infinite.
            StoppedError: the search was stopped; the last epoch is saved.
        """
        record, end = self._record(trial), trial.hyperparameters["tuner/epochs"]
        reached = saved_epoch(self._folder, record)
        self._observer.on_event(RungBegins(record, end, reached))
        self._time.begin_rung(record, reached)
        self._observer.on_event(TimeLeft(self._time.seconds()))

        def on_epoch(trainer: Trainer, metrics: EpochMetrics) -> None:
            self._observer.on_event(EpochEnds(record, trainer.epoch, metrics))
            if self._time.end_epoch(trainer.epoch):
                self._observer.on_event(TimeLeft(self._time.seconds()))
            self.on_epoch_end(trial, trainer.model, trainer.epoch - 1, logs=asdict(metrics))

        rungs = RungTrainer(
            self._source,
            self._folder,
            max_epochs=self.oracle.max_epochs,
            stop=self._stop,
            budget=self._budget,
            on_note=self._observer.note,
        )
        result = rungs.run(record, end, on_epoch)
        last = dict(result.epochs[-1])
        rung = RungRecord(record.epochs, end, last[self.oracle.objective.name], result.seconds)
        if record.parameters is None:
            self._journal.set_parameters(record.id, result.parameters)
        self.oracle.finish_rung(trial, rung, result.epochs, result.outcomes)
        self._time.finish_rung(end, result.seconds)
        time_budget.note_spent(self._budget, self._journal)
        return last

    def load_model(self, trial: kt_trial.Trial) -> keras.Model:
        """The whole network of a trial, compiled, with the weights that were scored."""
        number = int(trial.trial_id)
        found = read_checkpoint(state_file(self._folder, number))
        model = build_seeded(self.hypermodel, trial.hyperparameters, self._settings.seed, number)
        restore_weights(model, dict(found.state))
        return model

    def on_search_begin(self) -> None:
        """Send `SearchBegins`."""
        oracle, done = self.oracle, tuple(self.oracle.records())
        self._observer.on_event(
            SearchBegins(
                oracle.schedule,
                oracle.omitted_recipes,
                done,
                sum(saved_epoch(self._folder, trial) for trial in done),
                self._time.seconds(),
                oracle.winner(),
            )
        )

    def on_trial_end(self, trial: kt_trial.Trial) -> None:
        """End a trial's rung in the oracle; send `RungEnds`."""
        self.oracle.end_trial(trial)
        self._time.drop_rung()
        self._drop_states()
        self._observer.on_event(RungEnds(self._record(trial), self.oracle.winner()))

    def on_search_end(self) -> None:
        """Send `SearchEnds`."""
        self._observer.on_event(SearchEnds(tuple(self.oracle.records())))

    def save(self) -> None:
        """Do nothing: the journal is written with every change."""

    def reload(self) -> None:
        """Do nothing: the journal is read when it is needed."""

    def _populate_initial_space(self) -> None:
        """Do nothing: the space is declared without building a network."""

    def _begin(self, images: Images, cache: Cache) -> Source:
        """The source of trainers; checks the run's fingerprint, and plans for the time budget."""
        with noted(self._journal, FEATURES):
            source = components.make_source(
                self._settings,
                self.oracle,
                self.hypermodel,
                self._backbone,
                images,
                cache,
                on_progress=self._count,
                on_note=self._observer.note,
            )
        note = note_search(self._journal, replace(self._notes, fingerprint=source.fingerprint))
        if note:
            self._observer.note(note)
        self._time = TimeEstimator(self.oracle, source.epoch_seconds, self._budget)
        time_budget.follow_plan(
            self.oracle,
            self._budget,
            self._journal,
            seconds_of=self._time.schedule_seconds,
            on_note=self._observer.note,
        )
        return source

    def _count(self, what: str, done: int, count: int) -> None:
        self._observer.count(what, done, count)
        self._stop.check()
        if self._budget.left() <= 0:
            raise SettingsError(
                f"the time budget was used up by {done} of {count} {what}. They are kept: resume "
                "the run with a larger budget."
            )

    def _run_trials(self) -> None:
        """Train what the oracle hands out until it is complete, or the time budget is used up."""
        failures: list[str] = []
        while True:
            self._stop.check()
            self.oracle.closing = time_budget.must_close(self.oracle, self._budget)
            if self._budget.left() <= 0:
                break
            trial = self.oracle.create_trial(self.tuner_id)
            if trial.status != kt_trial.TrialStatus.RUNNING:
                if not time_budget.use_rest(self.oracle, self._budget):
                    break
                self._begin_extra()
                continue
            self.on_trial_begin(trial)
            try:
                self._try_trial(trial)
            except TimeIsUp:
                break
            self.on_trial_end(trial)
            failed = trial.status == kt_trial.TrialStatus.FAILED
            failures = [*failures, str(trial.message)] if failed else []
            if len(failures) == _FAILURES:
                (reason, _), *_ = Counter(failures).most_common(1)
                raise TuneError(f"{_FAILURES} trials in a row failed, most with: {reason}.")

    def _begin_extra(self) -> None:
        """Go on beyond the plan, which is complete whatever becomes of the rest."""
        self._extra = True
        self._note_progress()
        left = duration(self._budget.left())
        self._observer.note(f"The plan is complete with {left} left: more trials are searched.")
        self.on_search_begin()

    def _try_trial(self, trial: kt_trial.Trial) -> None:
        """Train a rung; a trial that runs out of memory is retried once with half the batch."""
        try:
            self._run_or_halve(trial)
            trial.status = kt_trial.TrialStatus.COMPLETED
        except (keras_tuner.errors.FatalError, TuneError, OSError, TimeIsUp):
            raise  # the configuration is not to blame: a full disk, for example
        except Exception as error:  # a trial may fail in any way; the search continues
            trial.status = kt_trial.TrialStatus.FAILED
            trial.message = str(error) or type(error).__name__

    def _run_or_halve(self, trial: kt_trial.Trial) -> None:
        try:
            self.run_trial(trial)
            return
        except _OUT_OF_MEMORY:
            record = self._record(trial)
            half = self._settings.batch_size // 2
            if record.batch_size or not half:
                raise
        self._source.forget()
        self._journal.set_batch_size(record.id, half)
        self._observer.note(
            f"Trial {trial_name(record.id)} ran out of memory: it continues with {half} "
            f"images per step instead of {self._settings.batch_size}."
        )
        self.run_trial(trial)

    def _note_progress(self) -> None:
        done = self._extra or self.oracle.complete
        iterations = self._settings.iterations if done else 0
        recipes = list(self.oracle.schedule.recipes)
        self._journal.set_notes(Notes(finished_iterations=iterations, recipes=recipes))

    def _drop_states(self) -> None:
        """Delete checkpoints that are not needed any more."""
        near = near_best(self._journal, self._validation_labels, self.oracle.objective.name)
        simple = may_be_simplest(near[0] if near else ())
        needed = map(trial_name, self.oracle.needed_checkpoints(self._keep) | simple)
        keep_checkpoints(self._folder, set(needed))

    def _record(self, trial: kt_trial.Trial) -> TrialRecord:
        return self.oracle.record(int(trial.trial_id))

"""Everything that this package raises on purpose.

    TuneError                 the program could not do its work            exit code 1
    └── InputError            what the user gave is wrong                  exit code 2
        ├── SettingsError     an option or a hyperparameter
        ├── DataError         the images or their folder
        ├── WeightsError      the pretrained weights
        ├── RunError          a run that is missing, taken or unfinished
        └── ExportError       an export folder or a file in it

Every message is one plain sentence, or two: what is wrong, and what to do about it.
"""


class TuneError(Exception):
    """The program could not do its work."""


class InputError(TuneError):
    """What the user gave is wrong; the message says what to do."""


class SettingsError(InputError):
    """An option or a hyperparameter has a value that cannot be used."""


class DataError(InputError):
    """The images, or the folder that should hold them, cannot be used."""


class WeightsError(InputError):
    """The pretrained weights are missing, damaged or of another network."""


class RunError(InputError):
    """A run is missing, taken, or has nothing to show yet."""


class ExportError(InputError):
    """An export folder, or a file in it, cannot be used."""

"""Warnings and errors of the library."""


class NothingLearnedWarning(UserWarning):
    """A model that a strategy trains has learned next to nothing: its scores mean little."""


class SavedFileError(ValueError):
    """A file is no saved learner, is damaged, or asks for code that is not trusted."""

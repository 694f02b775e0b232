"""Warnings of the library."""


class NothingLearnedWarning(UserWarning):
    """A model that a strategy trains has learned next to nothing: its scores mean little."""

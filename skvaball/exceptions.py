"""Warnings of the library."""


class NothingLearnedWarning(UserWarning):
    """The autoencoder of VaB-AL cannot tell the classes apart: its scores mean little."""

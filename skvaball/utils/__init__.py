"""Utilities: labels and rows of any kind, seeds, and views of fitted classifiers."""

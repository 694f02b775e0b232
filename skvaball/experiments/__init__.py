"""Comparisons of strategies on labeled data."""

from skvaball.experiments.comparison import (
    Split,
    area_under_curve,
    compare_strategies,
    curve_areas,
)

__all__ = ["Split", "area_under_curve", "compare_strategies", "curve_areas"]

"""Experiments: protocols, paired runs that resume, a store of results, and their report."""

from skvaball.utils.extras import needs_extra

with needs_extra("skvaball.experiments", "experiments"):
    from skvaball.experiments.data import Split, make_split
    from skvaball.experiments.protocol import Protocol, load_protocol, shipped_protocols
    from skvaball.experiments.runner import run_protocol
    from skvaball.experiments.statistics import area_under_curve, curve_areas
    from skvaball.experiments.store import ResultStore, RunKey
    from skvaball.experiments.strategies import find_strategies

__all__ = [
    "Protocol",
    "ResultStore",
    "RunKey",
    "Split",
    "area_under_curve",
    "curve_areas",
    "find_strategies",
    "load_protocol",
    "make_split",
    "run_protocol",
    "shipped_protocols",
]

"""Query strategies behind one interface."""

from skvaball.selectors._entropy import EntropySelector
from skvaball.selectors._margin import MarginSelector
from skvaball.selectors._random import RandomSelector
from skvaball.selectors.base import QuerySelector

__all__ = ["EntropySelector", "MarginSelector", "QuerySelector", "RandomSelector"]

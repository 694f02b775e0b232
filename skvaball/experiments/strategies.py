"""The strategies of experiments, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from skvaball.experiments.data import balanced_positions
from skvaball.experiments.protocol import Protocol, StrategySection
from skvaball.learner import ActiveLearner
from skvaball.plots._styles import FULL
from skvaball.selectors import (
    BADGESelector,
    BASESelector,
    ClassBalancedSelector,
    CoreSetSelector,
    DIRECTSelector,
    EnsembleSelector,
    EntropySelector,
    GALAXYSelector,
    LearningLossSelector,
    LeastConfidenceSelector,
    MarginSelector,
    MCDropoutSelector,
    QuerySelector,
    RandomSelector,
    VAALSelector,
)
from skvaball.simulation import ActiveLearningSimulator
from skvaball.utils.random import derive_seed, draw_seed
from skvaball.vab import VaBQuerySelector

#: Parameters of selectors that results do not depend on, or that the runner sets.
RUNTIME_PARAMS = frozenset(
    [
        "classes",
        "device",
        "estimator",
        "memory",
        "missing_label",
        "n_jobs",
        "random_state",
        "verbose",
    ]
)
#: Makes the selector of a strategy from its parameters.
SELECTORS: dict[str, Callable[..., QuerySelector]] = {
    "random": RandomSelector,
    "entropy": EntropySelector,
    "margin": MarginSelector,
    "least-confidence": LeastConfidenceSelector,
    "core-set": CoreSetSelector,
    "badge": BADGESelector,
    "bald": MCDropoutSelector,
    "ensemble": EnsembleSelector,
    "vaal": VAALSelector,
    "learning-loss": LearningLossSelector,
    "class-balanced": ClassBalancedSelector,
    "base": BASESelector,
    "galaxy": GALAXYSelector,
    "direct": DIRECTSelector,
    "vab": VaBQuerySelector,
    "vab-paper": VaBQuerySelector.from_paper,
}
#: A strategy that knows the true labels and balances the classes: the ceiling.
ORACLE = "oracle"
#: Strategies that read labels inside a batch ask for them in so many parts.
QUERIES_PER_BATCH = {"galaxy": 20, "direct": 20}
#: Strategies that need another network than the others; the paper's MC-dropout has 0.25.
NETWORK_PARAMS: dict[str, dict[str, Any]] = {"bald": {"dropout": 0.25}}


class Strategy(NamedTuple):
    """A strategy as it is run.

    Attributes
    ----------
    name : str
        What it is called in results.
    selector : str
        Out of :data:`SELECTORS`, or "oracle" or "full".
    params : dict
        Parameters of the selector that are not its defaults.
    query_size : int or None
        Rows per query inside a batch; None: the batch is one query.
    network : dict
        Arguments of the network that differ from the protocol's.
    """

    name: str
    selector: str
    params: dict[str, Any]
    query_size: int | None
    network: dict[str, Any]

    def rounds_after_start(self, protocol: Protocol) -> int:
        """Rounds that buy labels; a pool that is labeled whole has none to buy."""
        return 0 if self.selector == FULL else protocol.rounds.n

    @property
    def config(self) -> dict[str, Any]:
        """Its settings, for the record, and under "defaults" those that it leaves as they are."""
        params = make_selector(self).get_params(deep=False)
        defaults = {
            name: value if _fits_json(value) else repr(value)
            for name, value in params.items()
            if name not in RUNTIME_PARAMS and name not in self.params
        }
        config = {"selector": self.selector, **self.params, "defaults": defaults}
        if self.query_size is not None:
            config["query_size"] = self.query_size
        if self.network:
            config["network"] = self.network
        return config


def find_strategies(protocol: Protocol, names: Iterable[str]) -> list[Strategy]:
    """Look up strategies in a protocol and among those that every protocol has.

    Parameters
    ----------
    protocol : Protocol
    names : iterable of str

    Returns
    -------
    list of Strategy

    Raises
    ------
    ValueError
        If there is no such strategy, or it does not take its parameters.

    Examples
    --------
    >>> from skvaball.experiments import find_strategies, load_protocol
    >>> [strategy.name for strategy in find_strategies(load_protocol("digits"), ["vab", "oracle"])]
    ['vab', 'oracle']
    """
    return [_find(protocol, name) for name in names]


def _find(protocol: Protocol, name: str) -> Strategy:
    known = {*SELECTORS, ORACLE, FULL}
    own = protocol.strategies.get(name)
    selector = name if own is None else own.selector
    if selector not in known:
        # A strategy of the protocol's own is made of one that is not.
        names = {*known, *protocol.strategies} if own is None else known
        raise ValueError(
            f"There is no strategy {selector!r}. Expected one of: {', '.join(sorted(names))}."
        )
    if name != selector and {name, selector} & {ORACLE, FULL}:
        # Reports know these two by name: neither is a strategy to be compared with others.
        raise ValueError(
            f"The strategy {name!r} is made of {selector!r}. Expected no strategy of a protocol's "
            f"own that is named, or made of, {ORACLE!r} or {FULL!r}."
        )
    own = own or StrategySection(selector=selector)
    query_size = own.query_size
    if query_size is None and selector in QUERIES_PER_BATCH:
        query_size = max(1, protocol.rounds.batch // QUERIES_PER_BATCH[selector])
    network = {**NETWORK_PARAMS.get(selector, {}), **own.network}
    strategy = Strategy(name, selector, own.params, query_size, network)
    try:
        make_selector(strategy)._validate_params()
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"The strategy {name!r} has parameters that do not fit: {error}"
        ) from error
    return strategy


def _fits_json(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_fits_json(item) for item in value)
    return value is None or isinstance(value, str | bool | int | float)


def make_selector(strategy: Strategy) -> QuerySelector:
    """The selector of a strategy; that of the oracle is never asked."""
    if strategy.selector in (ORACLE, FULL):
        return RandomSelector()
    return SELECTORS[strategy.selector](**strategy.params)


class BalancedOracleSimulator(ActiveLearningSimulator):
    """Reference that knows the true labels: it fills up the class with the fewest labels.

    Inside a class rows are drawn at random. What a strategy could gain by the balance of
    the classes alone is the distance to it; no strategy may look at the labels so.
    """

    def _choose(
        self, learner: ActiveLearner, X: Any, labels: np.ndarray, pool: np.ndarray, n: int
    ) -> np.ndarray:
        seed = derive_seed(draw_seed(self.random_state), "oracle", len(learner.y_labeled_))
        return balanced_positions(learner.y_labeled_, labels[pool], n, seed)

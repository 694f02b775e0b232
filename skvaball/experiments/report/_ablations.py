"""Strategies that differ in one parameter, and protocols that differ in the batch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from skvaball.experiments.report._results import Results, Setting
from skvaball.experiments.statistics import area_under_curve
from skvaball.plots._bands import without_full

if TYPE_CHECKING:
    import pandas as pd

#: The terms of the score that an ablation may leave out: they make a table, not a curve.
TERMS = ("use_difficulty", "use_prior")


class Sweep(NamedTuple):
    """Strategies that are alike but for one parameter."""

    parameter: str
    #: The parameter of each strategy.
    values: dict[str, Any]


def all_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a strategy, with the defaults that its record leaves out.

    Parameters
    ----------
    config : mapping
        "selector", the parameters that are not its defaults, and "defaults": those of the
        version that ran it. A record without them is taken to have today's.

    Returns
    -------
    dict
        All parameters, and "class": two presets of one class compare.
    """
    from skvaball.experiments.strategies import SELECTORS  # here: it loads torch

    name = config["selector"]
    given = {key: value for key, value in config.items() if key not in ("selector", "defaults")}
    given = {**config.get("defaults", {}), **given}
    if name not in SELECTORS:
        return {"class": name, **given}
    selector = SELECTORS[name]()
    return {"class": type(selector).__name__, **selector.get_params(deep=False), **given}


def strategy_settings(runs: pd.DataFrame, protocol: str) -> dict[str, dict[str, Any]]:
    """All settings of each strategy of a protocol."""
    first = runs[runs["protocol"] == protocol].drop_duplicates("strategy")
    return {
        str(strategy): all_settings(config)
        for strategy, config in zip(first["strategy"], first["config"], strict=True)
    }


def find_sweeps(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, list[Sweep]]:
    """Groups of strategies that differ in exactly one parameter.

    Parameters
    ----------
    settings : mapping of str to mapping
        All settings of each strategy.

    Returns
    -------
    dict of str to list of Sweep
        By parameter, the groups with at least two values of it. Of strategies with equal
        settings the first counts.
    """
    parameters = dict.fromkeys(key for values in settings.values() for key in values)
    sweeps: dict[str, list[Sweep]] = {}
    for parameter in parameters:
        if parameter in ("class", *TERMS):
            continue
        groups: dict[str, dict[str, str]] = {}
        for strategy, values in settings.items():
            if parameter not in values:
                continue
            rest = {key: value for key, value in values.items() if key != parameter}
            groups.setdefault(_key(rest), {}).setdefault(_key(values[parameter]), strategy)
        found = [
            Sweep(parameter, {name: settings[name][parameter] for name in group.values()})
            for group in groups.values()
            if len(group) > 1
        ]
        if found:
            sweeps[parameter] = found
    return sweeps


def find_term_groups(settings: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """Groups of strategies in the joint form that differ in the terms of the score only."""
    groups: dict[str, list[str]] = {}
    for strategy, values in settings.items():
        if values.get("posterior") == "joint" and all(term in values for term in TERMS):
            rest = {key: value for key, value in values.items() if key not in TERMS}
            groups.setdefault(_key(rest), []).append(strategy)
    return [group for group in groups.values() if len(group) > 1]


def data_set_key(protocol: Mapping[str, Any]) -> str:
    """What makes the data of a protocol: equal keys, equal data."""
    return _key({key: protocol.get(key) for key in ("data", "variant")})


def batch_families(results: Results) -> list[list[str]]:
    """Protocols that differ in the labels per round, but not in data, network or training."""
    families: dict[str, list[str]] = {}
    for name in results.protocol_names():
        protocol = results.protocols.get(name, {})
        if "batch" in protocol.get("rounds", {}):
            same = {key: protocol.get(key) for key in ("network", "training")}
            families.setdefault(data_set_key(protocol) + _key(same), []).append(name)
    return [
        family
        for family in families.values()
        if len({results.protocols[name]["rounds"]["batch"] for name in family}) > 1
    ]


def batch_table(
    results: Results, family: list[str], balance: str
) -> tuple[pd.DataFrame, tuple[int, int]]:
    """Area and final value of each batch size, over the budget that all of them have.

    Parameters
    ----------
    results : Results
        Where the rounds are.
    family : list of str
        Protocols that differ in the batch.
    balance : str
        The training.

    Returns
    -------
    (table, budget) : DataFrame and (int, int)
        Rows with strategy, seed, batch, area and final, of strategies with at least two
        batches; the first and last number of labels they are taken between, values in
        between the rounds by linear interpolation.
    """
    import pandas as pd

    curves = {
        name: without_full(rounds)
        for name in family
        if len(rounds := results.complete_of(Setting(name, balance)))
    }
    curves = {name: rounds for name, rounds in curves.items() if len(rounds)}
    low = max((int(rounds["n_labeled"].min()) for rounds in curves.values()), default=0)
    high = min((int(rounds["n_labeled"].max()) for rounds in curves.values()), default=0)
    rows = []
    for name, rounds in curves.items():
        batch = results.protocols[name]["rounds"]["batch"]
        for (strategy, seed), curve in rounds.groupby(["strategy", "seed"], sort=False):
            n = curve["n_labeled"].to_numpy(dtype=float)
            if low < high and n.min() <= low and n.max() >= high:
                inside = np.array([low, *n[(n > low) & (n < high)], high])
                values = np.interp(inside, n, curve[results.metric].to_numpy())
                rows.append((strategy, seed, batch, area_under_curve(inside, values), values[-1]))
    table = pd.DataFrame(rows, columns=["strategy", "seed", "batch", "area", "final"])
    table = table.drop_duplicates(["strategy", "seed", "batch"])
    several = table.groupby("strategy")["batch"].transform("nunique") > 1
    return table[several], (low, high)


def _key(values: Any) -> str:
    return json.dumps(_with_floats(values), sort_keys=True, default=str)


def _with_floats(values: Any) -> Any:
    """1 and 1.0 are one setting; True is another."""
    if isinstance(values, Mapping):
        return {key: _with_floats(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [_with_floats(value) for value in values]
    return float(values) if isinstance(values, int) and not isinstance(values, bool) else values

"""Runs of a protocol: every strategy on every seed, resumable, with one row per round stored."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from filelock import FileLock, Timeout
from imblearn.metrics import geometric_mean_score
from joblib import Parallel, delayed, parallel_config
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, recall_score
from threadpoolctl import threadpool_limits

from skvaball.exceptions import NothingLearnedWarning
from skvaball.experiments.data import Split, count_rows, fingerprint, make_split
from skvaball.experiments.environment import describe_environment, watched_memory
from skvaball.experiments.protocol import BALANCES, Balance, Protocol
from skvaball.experiments.store import FINGERPRINT, ResultStore, RunKey
from skvaball.experiments.strategies import (
    ORACLE,
    BalancedOracleSimulator,
    Strategy,
    find_strategies,
    make_selector,
)
from skvaball.learner import ActiveLearner
from skvaball.networks import MLP, DeepClassifier, ResNet18, ResNet34, SmallResNet
from skvaball.plots._styles import FULL
from skvaball.simulation import ActiveLearningSimulator
from skvaball.utils.classifiers import ClassifierView
from skvaball.vab import VaBQuerySelector

NETWORKS: dict[str, type[torch.nn.Module]] = {
    "mlp": MLP,
    "small-resnet": SmallResNet,
    "resnet18": ResNet18,
    "resnet34": ResNet34,
}

#: Filters of warnings, numbers of threads and the memory belong to the process: of two runs
#: that its threads did at once, one would be told what the other met.
_PROCESS = threading.Lock()

#: What the store has with each run, not with the protocol.
_NOT_STORED: Any = {"name": True, "strategies": True, "training": {"balance"}}


class RunSettings(NamedTuple):
    """What the runs of one call have in common.

    Attributes
    ----------
    store : str
        Path of the store.
    folder : str or None
        Where the data set is.
    device : str
        Where networks are trained.
    threads : int
        Threads of a run; results depend on it in the last digits.
    content : dict
        What the store has of the protocol.
    """

    store: str
    folder: str | None
    device: str
    threads: int
    content: dict[str, Any]


def run_protocol(
    protocol: Protocol,
    strategies: Sequence[str],
    seeds: Iterable[int],
    store: ResultStore,
    *,
    balances: Sequence[Balance] | None = None,
    folder: str | Path | None = None,
    n_jobs: int | None = None,
    device: str = "cpu",
    threads: int = 1,
) -> Iterator[RunKey]:
    """Run strategies of a protocol on paired seeds, and store every round as it ends.

    For one seed the data, the start and the initialization of the network are the same
    for all strategies. Rounds that the store has are not run again: after an
    interruption the same call goes on, and ends with the results of an undisturbed one.

    Parameters
    ----------
    protocol : Protocol
    strategies : sequence of str
        Names; see :func:`~skvaball.experiments.find_strategies`. "oracle" balances the
        true classes, "full" has the labels of the whole pool.
    seeds : iterable of int
    store : ResultStore
        Several processes may share one: each run is done by one of them.
    balances : sequence of str or None, default=None
        Trainings to compare: "none", "sampling", "logit_adjustment". None: that of the
        protocol.
    folder : str, Path or None, default=None
        Where the data set is.
    n_jobs : int or None, default=None
        Runs at a time, through joblib: inside a ``joblib.parallel_config`` they go to a
        Dask or Ray cluster whose workers share the file system. A run stays on its worker,
        and the threads of one process take turns: give workers one thread each.
    device : str, default="cpu"
        Where networks are trained.
    threads : int, default=1
        Threads of one run.

    Yields
    ------
    RunKey
        Each run, when it is complete.

    Raises
    ------
    ValueError
        If a strategy or balance is unknown, there is nothing to run, the data have too few
        rows or other classes than the rare ones that are named, a strategy, its
        ``query_size`` or the arguments of a network do not fit, or the store has results
        of other settings under the same name.
    FileNotFoundError
        If there are no data in ``folder``.

    Examples
    --------
    >>> import tempfile
    >>> from skvaball.experiments import ResultStore, load_protocol, run_protocol
    >>> store = ResultStore(tempfile.mkdtemp() + "/results.db")
    >>> for key in run_protocol(load_protocol("digits"), ["random"], [0], store):
    ...     print(key.strategy, key.seed)
    random 0
    >>> store.rounds()["n_labeled"].tolist()[:3]
    [20, 40, 60]
    """
    unknown = [name for name in balances or [] if name not in BALANCES]
    if unknown:
        raise ValueError(
            f"The balances {unknown} are unknown. Expected some of: {', '.join(BALANCES)}."
        )
    chosen = {strategy.name: strategy for strategy in find_strategies(protocol, strategies)}
    # Absolute: the workers of a cluster have folders of their own.
    where = None if folder is None else str(Path(folder).resolve())
    keys = [
        RunKey(protocol.name, balance, name, int(seed))
        for seed in seeds
        for balance in balances or [protocol.training.balance]
        for name in chosen
    ]
    if not keys:
        raise ValueError("There is nothing to run: name at least one strategy and one seed.")
    content = _enter(protocol, chosen, keys, store, where)
    settings = RunSettings(str(store.path.resolve()), where, device, threads, content)
    # In the second pass those that another process was busy with are waited for.
    for wait in (False, True):
        tasks = [delayed(_run)(protocol, key, chosen[key.strategy], settings, wait) for key in keys]
        busy = []
        for key, complete in Parallel(n_jobs=n_jobs, return_as="generator_unordered")(tasks):
            if complete:
                yield key
            else:
                busy.append(key)
        keys = busy
        if not keys:
            return


def _enter(
    protocol: Protocol,
    strategies: dict[str, Strategy],
    keys: list[RunKey],
    store: ResultStore,
    folder: str | None,
) -> dict[str, Any]:
    """Enter protocol and runs; what does not fit is found before anything is run.

    Returns what was entered of the protocol.
    """
    # Of seed 0, whichever are run: the store must have the same protocol for all of them.
    # And data that do not depend on the seed are in the cache before the workers ask.
    split = make_split(protocol, 0, folder)
    _check_fit(protocol, strategies, split)
    if any(strategy.selector != FULL for strategy in strategies.values()):
        seeds = dict.fromkeys(key.seed for key in keys)
        for seed, n_rows in count_rows(protocol, seeds, folder).items():
            _check_rows(protocol, seed, n_rows)
    counts = np.bincount(split.y_train, minlength=len(split.class_names))
    content = {
        **protocol.model_dump(mode="json", exclude=_NOT_STORED),
        "class_names": split.class_names,
        "rare": split.rare,
        "pool_shares": (counts / counts.sum()).round(4).tolist(),
        FINGERPRINT: fingerprint(protocol, folder),
    }
    store.add_protocol(protocol.name, content)
    for key in keys:
        strategy = strategies[key.strategy]
        store.add_run(key, strategy.rounds_after_start(protocol) + 1, strategy.config)
    return content


def _check_fit(protocol: Protocol, strategies: dict[str, Strategy], split: Split) -> None:
    """Raise for what would fail in the course of a run."""
    for name, strategy in strategies.items():
        if strategy.query_size is not None and strategy.query_size > protocol.rounds.batch:
            raise ValueError(
                f"The strategy {name!r} has query_size = {strategy.query_size}, but the protocol "
                f"{protocol.name} buys {protocol.rounds.batch} labels in a round. Expected no "
                "more than that."
            )
    kind = NETWORKS[protocol.network.kind]
    for strategy in strategies.values():
        params = {**protocol.network.params, **strategy.network}
        try:
            with torch.device("meta"):  # nothing is allocated, and no random number drawn
                kind(split.X_train.shape[1], len(split.class_names), **params)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(
                f"The network {protocol.network.kind} does not take {params}: {error}"
            ) from error


def _check_rows(protocol: Protocol, seed: int, n_rows: int) -> None:
    """Raise if the data of a seed do not have all the rows that a run buys.

    With a smaller last batch where a seed has fewer rows, the curves of seeds would end at
    different numbers of labels, and could not be compared.
    """
    start, batch, n = protocol.rounds.start, protocol.rounds.batch, protocol.rounds.n
    if start + batch * n > n_rows:
        raise ValueError(
            f"The protocol {protocol.name} starts with {start} labels and buys {n} batches of "
            f"{batch}, {start + batch * n} in all, but its data have {n_rows} rows for seed {seed}."
        )


def _run(
    protocol: Protocol, key: RunKey, strategy: Strategy, settings: RunSettings, wait: bool
) -> tuple[RunKey, bool]:
    """Do what is left of one run, unless another process is at it."""
    # It is there, unless this worker does not share the file system, or it was taken away.
    store = ResultStore(settings.store, must_exist=True)
    locks = Path(f"{settings.store}.locks")
    locks.mkdir(exist_ok=True)
    lock = FileLock(locks / ("-".join(map(str, key)).replace("/", "_") + ".lock"))
    try:
        # The lock is one of the operating system: it ends with the process, however that ends.
        with _PROCESS, lock.acquire(timeout=-1 if wait else 0), _threads(settings.threads):
            _play(protocol, key, strategy, settings, store)
    except Timeout:
        return key, False
    return key, True


@contextmanager
def _threads(n: int) -> Iterator[None]:
    """Let numpy, torch and joblib use so many threads, of this process only."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        # Without this configuration parts of a run would go to the cluster that has the run,
        # and while it waited for them, its worker would begin another one.
        with threadpool_limits(n), parallel_config(backend="threading", n_jobs=1):
            yield
    finally:
        torch.set_num_threads(before)


def _play(
    protocol: Protocol,
    key: RunKey,
    strategy: Strategy,
    settings: RunSettings,
    store: ResultStore,
) -> None:
    history = store.history(key)
    if len(history) > strategy.rounds_after_start(protocol):
        return
    split = make_split(protocol, key.seed, settings.folder)
    simulator = _make_simulator(protocol, key, strategy, settings, len(split.y_train))
    rounds = simulator.iter_rounds(split.X_train, split.y_train, earlier=history)
    while True:
        with watched_memory() as memory, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", NothingLearnedWarning)
            entry = next(rounds, None)
        if entry is None:
            return
        warned = any(issubclass(w.category, NothingLearnedWarning) for w in caught)
        _show_again(caught)
        entry = {
            **entry,
            **_scores(simulator.learner_, split),
            "rare_share": _rare_share(entry["class_counts"], split.rare),
            "peak_memory": memory.peak,
            "nothing_learned": warned,
            **_agreements(simulator.learner_, entry["round"]),
        }
        gallery = _gallery(simulator.learner_, split, entry, protocol.metrics.gallery)
        # Once more: another process may have entered other settings in the meantime.
        store.add_protocol(protocol.name, settings.content)
        store.add_run(key, strategy.rounds_after_start(protocol) + 1, strategy.config)
        store.add_round(key, entry, describe_environment(), gallery)


def _show_again(caught: list[warnings.WarningMessage]) -> None:
    """Pass on the warnings that were caught only to be looked through."""
    for warning in caught:
        if not issubclass(warning.category, NothingLearnedWarning):
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )


def make_classifier(
    protocol: Protocol,
    balance: str,
    *,
    network: dict[str, Any] | None = None,
    device: str = "cpu",
) -> DeepClassifier:
    """The unfitted classifier of a protocol.

    Parameters
    ----------
    protocol : Protocol
    balance : {"none", "sampling", "logit_adjustment"}
        How its training answers to imbalanced labels.
    network : dict or None, default=None
        Arguments of the network that differ from the protocol's.
    device : str, default="cpu"

    Returns
    -------
    DeepClassifier
    """
    training = protocol.training.model_dump(exclude={"balance", "augment"})
    augment = protocol.training.augment
    return DeepClassifier(
        NETWORKS[protocol.network.kind],
        module_params={**protocol.network.params, **(network or {})} or None,
        balance=balance,
        augment=None if augment == "none" else augment,
        device=device,
        **training,
    )


def _make_simulator(
    protocol: Protocol, key: RunKey, strategy: Strategy, settings: RunSettings, n_rows: int
) -> ActiveLearningSimulator:
    classifier = make_classifier(
        protocol, key.balance, network=strategy.network, device=settings.device
    )
    selector = make_selector(strategy)
    if "device" in selector.get_params(deep=False):
        selector.set_params(device=settings.device)
    kind = BalancedOracleSimulator if strategy.selector == ORACLE else ActiveLearningSimulator
    return kind(
        ActiveLearner(classifier, selector),
        batch_size=protocol.rounds.batch,
        n_rounds=strategy.rounds_after_start(protocol),
        n_initial=n_rows if strategy.selector == FULL else protocol.rounds.start,
        query_size=strategy.query_size,
        keep_learners=False,
        random_state=key.seed,
    )


def _scores(learner: ActiveLearner, split: Split) -> dict[str, Any]:
    predicted = learner.predict(split.X_test)
    labels = np.arange(len(split.class_names))
    return {
        "accuracy": accuracy_score(split.y_test, predicted),
        "balanced_accuracy": balanced_accuracy_score(split.y_test, predicted),
        "macro_f1": f1_score(split.y_test, predicted, average="macro"),
        "geometric_mean": geometric_mean_score(split.y_test, predicted),
        "recalls": recall_score(
            split.y_test, predicted, labels=labels, average=None, zero_division=np.nan
        ),
    }


def _rare_share(class_counts: np.ndarray, rare: list[int]) -> float:
    return float(class_counts[rare].sum() / class_counts.sum()) if rare else np.nan


def _agreements(learner: ActiveLearner, round_: int) -> dict[str, float]:
    """How well the autoencoder of the round's query agreed with the classifier."""
    selector = getattr(learner, "selector_", None) if round_ > 0 else None
    names = ("vae_agreement", "likelihood_agreement")
    return {name: getattr(selector, f"{name}_", np.nan) for name in names}


def _gallery(
    learner: ActiveLearner, split: Split, entry: dict[str, Any], n: int
) -> list[dict[str, Any]]:
    """The first rows of a query of VaB-AL, with the three terms of their score."""
    selector = getattr(learner, "selector_", None)
    if n == 0 or entry["round"] == 0 or not isinstance(selector, VaBQuerySelector):
        return []
    rows = entry["queried"][:n]
    X = split.X_train[rows]
    # The classifier that the query was made with; the learner's has been refitted since.
    codes = ClassifierView(selector.estimator_, selector.classes_).predict_codes(X)
    likelihoods, scores = selector.class_log_likelihood(X), selector.score_samples(X)
    return [
        {
            "rank": rank,
            "png": _png(split.images[row]),
            "true_label": split.class_names[split.y_train[row]],
            "predicted_label": split.class_names[selector.classes_[code]],
            "likelihood": float(likelihoods[rank, code]),
            "difficulty": float(selector.difficulty_[code]),
            "prior": float(selector.prior_[code]),
            "score": float(scores[rank]),
        }
        for rank, (row, code) in enumerate(zip(rows, codes, strict=True))
    ]


def _png(image: np.ndarray) -> bytes:
    from PIL import Image  # here: only galleries need it

    pixels = image[0] if len(image) == 1 else np.moveaxis(image, 0, -1)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png")
    return buffer.getvalue()

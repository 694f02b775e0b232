"""Time and memory of one query, side by side with scikit-activeml and modAL.

A batch of 500 from a pool of 50,000 rows of 512 features (float32), a mixture of 10
Gaussians of which one has half of the rows. The spread is the same in all directions, so
that no structure helps a search for neighbors. 1,000 rows are labeled, and a logistic
regression is fitted on them, which is right for 8 rows in 10.

What is measured is one call: fit_select here, which is all that a learner asks of a
selector, query of scikit-activeml, with the classifier fitted before, and the sampling
functions of modAL. "probabilities" in the column "rows" says that the rows are the
probabilities themselves and the classifier hands them on, so that time and memory are
those once probabilities are known; with "features" predictions are part of the call.

Each figure comes from a process of its own. Memory is the peak of the resident memory
during the first call above that before it, when rows, labels and classifier were there.
Calls of less than 5 seconds are repeated, and the median is given. "same picks" is the part
of the rows that the other libraries, too, have chosen.

    python benchmarks/bench_selectors.py [--threads 2] [--all] [--json PATH]

Needs Linux. What is not installed is left out; for all columns:

    pip install scikit-activeml
    pip install --no-deps modAL-python
"""

import argparse
import gc
import importlib
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import BaggingClassifier
from sklearn.linear_model import LogisticRegression

from skvaball import ActiveLearner, VaBQuerySelector
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
    RandomSelector,
    SkactivemlSelector,
    StochasticBatchSelector,
    VAALSelector,
)

OURS, SKACTIVEML, MODAL = "skvaball", "scikit-activeml", "modAL"
#: What to import of the others, and the command that installs them.
PEERS = {
    SKACTIVEML: ("skactiveml.pool", "pip install scikit-activeml"),
    MODAL: ("modAL.uncertainty", "pip install --no-deps modAL-python"),
}
#: Calls that take longer are not repeated.
QUICK = 5.0
#: How far apart the means of the classes are: the classifier is right for 8 rows in 10.
SEPARATION = 0.15
#: Rows asked for at once where labels are read inside of a batch.
SMALL_QUERY = 20
MIB = 2**20


class Sizes(NamedTuple):
    """How large the problem is."""

    n: int  # rows of the pool
    d: int  # features
    batch: int
    labeled: int
    classes: int


class HandsOn(ClassifierMixin, BaseEstimator):
    """A classifier whose input is its output: the probabilities are known already."""

    def fit(self, X, y):
        """Learn which classes there are."""
        self.n_features_in_ = X.shape[1]
        self.classes_ = np.arange(X.shape[1])
        return self

    def predict_proba(self, X):
        """The rows themselves."""
        return np.asarray(X)

    def predict(self, X):
        """The most probable class."""
        return np.asarray(X).argmax(axis=1)


class Data(NamedTuple):
    """What a query is given."""

    labeled: np.ndarray
    labels: np.ndarray
    pool: np.ndarray
    pool_labels: np.ndarray  # for queries that are told labels inside of a batch
    classifier: Any  # fitted
    batch: int
    classes: np.ndarray


def make_data(sizes: Sizes, rows: str) -> Data:
    """Draw the mixture, and fit the classifier; the same for the same sizes."""
    rng = np.random.default_rng(0)
    shares = np.r_[sizes.classes - 1, np.ones(sizes.classes - 1)]
    total = sizes.labeled + sizes.n
    y = rng.choice(sizes.classes, total, p=shares / shares.sum())
    y[: sizes.classes] = np.arange(sizes.classes)  # none without a label
    means = (SEPARATION * rng.standard_normal((sizes.classes, sizes.d))).astype(np.float32)
    X = rng.standard_normal((total, sizes.d), dtype=np.float32)
    X += means[y]
    classifier: Any = LogisticRegression(C=0.01, max_iter=200)
    classifier.fit(X[: sizes.labeled], y[: sizes.labeled])
    if rows == "probabilities":
        X = classifier.predict_proba(X).astype(np.float64)
        classifier = HandsOn().fit(X, y)
    labeled, pool = X[: sizes.labeled].copy(), X[sizes.labeled :].copy()
    labels, pool_labels = y[: sizes.labeled], y[sizes.labeled :]
    classes = np.arange(sizes.classes)
    return Data(labeled, labels, pool, pool_labels, classifier, sizes.batch, classes)


# -- one call of each library ------------------------------------------------------------

Call = Callable[[], np.ndarray]


def select(make: Callable[[Any], Any]) -> Callable[[Data], Call]:
    """A query of this library; ``make`` makes the selector for a classifier."""

    def prepare(data: Data) -> Call:
        selector = make(data.classifier)
        return lambda: selector.fit_select(data.labeled, data.labels, data.pool, data.batch)[0]

    return prepare


def teach_between(make: Callable[[], Any]) -> Callable[[Data], Call]:
    """A batch by small queries of a learner, with the labels told in between."""

    def prepare(data: Data) -> Call:
        learner = ActiveLearner(data.classifier, make(), classes=data.classes, random_state=0)

        def call() -> np.ndarray:
            learner.fit(data.labeled, data.labels)
            left, picks = np.arange(len(data.pool)), []
            for start in range(0, data.batch, SMALL_QUERY):
                pool = data.pool[left]
                found = learner.query(pool, min(SMALL_QUERY, data.batch - start))
                picks.append(left[found])
                learner.teach(pool[found], data.pool_labels[picks[-1]], refit=False)
                left = np.delete(left, found)
            return np.concatenate(picks)

        return call

    return prepare


def skactiveml(name: str, clf: str | None = "clf", **params: Any) -> Callable[[Data], Call]:
    """A query of scikit-activeml; ``clf`` is the argument for the classifier, if any."""

    def prepare(data: Data) -> Call:
        pool = importlib.import_module("skactiveml.pool")
        wrap = importlib.import_module("skactiveml.classifier").SklearnClassifier
        strategy = getattr(pool, name)(random_state=0, **params)
        X = np.concatenate([data.labeled, data.pool])
        y = np.concatenate([data.labels, np.full(len(data.pool), np.nan)])
        arguments: dict[str, Any] = {}
        if clf == "clf":
            arguments = {"clf": wrap(data.classifier, classes=data.classes), "fit_clf": False}
        elif clf == "ensemble":
            members = BaggingClassifier(LogisticRegression(C=0.01, max_iter=200), 5, random_state=0)
            arguments = {"ensemble": wrap(members, classes=data.classes)}
        n_labeled = len(data.labeled)
        return lambda: (
            np.asarray(strategy.query(X, y, batch_size=data.batch, **arguments)) - n_labeled
        )

    return prepare


def modal(name: str) -> Callable[[Data], Call]:
    """A query of modAL."""

    def prepare(data: Data) -> Call:
        sample = getattr(importlib.import_module("modAL.uncertainty"), name)
        return lambda: np.asarray(sample(data.classifier, data.pool, n_instances=data.batch)[0])

    return prepare


class Case(NamedTuple):
    """A strategy, and how each library is asked for it."""

    rows: str
    calls: dict[str, Callable[[Data], Call]]
    compare: bool = False  # whether all libraries should make the same choice
    identical: bool = False  # whether it is an error if scikit-activeml's picks are others
    only_all: bool = False
    largest: tuple[int, int, int] | None = None  # n, batch and labeled, of which no more


def uncertainty(make: Callable[[Any], Any], method: str, function: str) -> Case:
    """A strategy that all three libraries have."""
    calls = {
        OURS: select(make),
        SKACTIVEML: skactiveml("UncertaintySampling", method=method),
        MODAL: modal(function),
    }
    return Case("probabilities", calls, compare=True)


CORE_SET = {OURS: select(CoreSetSelector), SKACTIVEML: skactiveml("CoreSet", None)}
CASES = {
    "random": Case(
        "features",
        {
            OURS: select(lambda _: RandomSelector(random_state=0)),
            SKACTIVEML: skactiveml("RandomSampling", None),
        },
    ),
    "least confidence": uncertainty(
        LeastConfidenceSelector, "least_confident", "uncertainty_sampling"
    ),
    "margin": uncertainty(MarginSelector, "margin_sampling", "margin_sampling"),
    "entropy": uncertainty(EntropySelector, "entropy", "entropy_sampling"),
    "margin by SkactivemlSelector": Case(
        "probabilities",
        {
            OURS: select(lambda clf: SkactivemlSelector("UncertaintySampling", clf)),
            SKACTIVEML: skactiveml("UncertaintySampling"),
        },
        compare=True,
    ),
    "power batch of entropy": Case(
        "probabilities",
        {OURS: select(lambda clf: StochasticBatchSelector(EntropySelector(clf), random_state=0))},
    ),
    "class-balanced": Case(
        "probabilities", {OURS: select(lambda clf: ClassBalancedSelector(estimator=clf))}
    ),
    "class-balanced, greedy": Case(
        "probabilities",
        {OURS: select(lambda clf: ClassBalancedSelector(estimator=clf, solver="greedy"))},
    ),
    "BASE": Case("features", {OURS: select(BASESelector)}),
    "GALAXY": Case(
        "probabilities", {OURS: select(lambda clf: GALAXYSelector(clf, random_state=0))}
    ),
    f"GALAXY, queries of {SMALL_QUERY}": Case(
        "probabilities", {OURS: teach_between(GALAXYSelector)}
    ),
    "DIRECT": Case(
        "probabilities", {OURS: select(lambda clf: DIRECTSelector(clf, random_state=0))}
    ),
    f"DIRECT, queries of {SMALL_QUERY}": Case(
        "probabilities", {OURS: teach_between(DIRECTSelector)}
    ),
    "BADGE": Case(
        "features",
        {
            OURS: select(lambda clf: BADGESelector(clf, random_state=0)),
            SKACTIVEML: skactiveml("Badge"),
        },
    ),
    "core-set": Case("features", CORE_SET, compare=True, identical=True),
    "core-set, 100 of 20,000, 100 labeled": Case(
        "features", CORE_SET, compare=True, identical=True, largest=(20_000, 100, 100)
    ),
    "core-set, 100 of 20,000, 1,000 labeled": Case(
        "features", CORE_SET, compare=True, identical=True, largest=(20_000, 100, 1_000)
    ),
    "ensemble": Case(
        "features",
        {
            OURS: select(lambda clf: EnsembleSelector(clf, bootstrap=True, random_state=0)),
            SKACTIVEML: skactiveml("QueryByCommittee", "ensemble", method="KL_divergence"),
        },
        only_all=True,
    ),
    "learning loss": Case(
        "features",
        {OURS: select(lambda clf: LearningLossSelector(clf, random_state=0))},
        only_all=True,
    ),
    "VAAL": Case("features", {OURS: select(lambda _: VAALSelector(random_state=0))}, only_all=True),
    "VaB-AL": Case(
        "features",
        {OURS: select(lambda clf: VaBQuerySelector(clf, random_state=0))},
        only_all=True,
    ),
}

#: What the library should reach at the default sizes: strategy, words, and whether it does.
WANTED: list[tuple[str, str, Callable[[dict[str, Any]], bool]]] = [
    ("margin", "below 0.1 s", lambda found: _ours(found, "seconds") < 0.1),
    ("entropy", "below 0.1 s", lambda found: _ours(found, "seconds") < 0.1),
    ("GALAXY", "below 2 s", lambda found: _ours(found, "seconds") < 2),
    ("DIRECT", "below 2 s", lambda found: _ours(found, "seconds") < 2),
    ("BADGE", "below 30 s", lambda found: _ours(found, "seconds") < 30),
    ("core-set", "below 500 MB", lambda found: _ours(found, "memory_mib") * MIB < 500e6),
    *(
        (name, "at least 3 times faster than scikit-activeml", lambda found: _ratio(found) >= 3)
        for name in CASES
        if name.startswith("core-set")
    ),
]


def _ours(found: dict[str, Any], what: str) -> float:
    """A number of skvaball; infinite if there is none, because it failed."""
    return float(found[OURS].get(what, float("inf")))


def _ratio(found: dict[str, Any]) -> float:
    """How many times faster than scikit-activeml: infinite if that ran into the limit.

    NaN, which reaches nothing, if one of the two failed.
    """
    ours, theirs = found[OURS], found[SKACTIVEML]
    if "seconds" not in ours:
        return float("nan")
    if "seconds" not in theirs:
        return float("inf") if theirs["reason"].startswith(">") else float("nan")
    return theirs["seconds"] / ours["seconds"]


# -- measuring, in a process of its own --------------------------------------------------


def measure(name: str, library: str, sizes: Sizes, repeats: int, limit: int) -> dict[str, Any]:
    """Time and memory of a call; the process is ended by an alarm at the limit."""
    case = CASES[name]
    call = case.calls[library](make_data(sizes, case.rows))
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before = _memory("VmRSS")
    seconds, cpu_seconds = [], []
    while not seconds or (len(seconds) < repeats and max(seconds) < QUICK):
        # Without a handler, the signal ends the process also inside of compiled code.
        signal.alarm(limit)
        start, cpu_start = time.perf_counter(), time.process_time()
        picks = call()
        seconds.append(time.perf_counter() - start)
        cpu_seconds.append(time.process_time() - cpu_start)
        signal.alarm(0)
        if len(seconds) == 1:
            peak = _memory("VmHWM")
    return {
        "seconds": statistics.median(seconds),
        "runs": seconds,
        "cpu_seconds": statistics.median(cpu_seconds),  # of all threads
        "memory_mib": max(0.0, (peak - before) / MIB),
        "picks": picks.tolist(),
    }


def _memory(field: str) -> int:
    """Bytes of memory of this process, as Linux counts them."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def run(name: str, library: str, sizes: Sizes, args: argparse.Namespace) -> dict[str, Any]:
    """Measure in a new process with a fixed number of threads."""
    job = json.dumps([name, library, sizes, args.repeats, args.limit])
    threads = {f"{kind}_NUM_THREADS": str(args.threads) for kind in ("OMP", "OPENBLAS", "MKL")}
    done = subprocess.run(
        [sys.executable, __file__, "--job", job],
        env=os.environ | threads,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == -signal.SIGALRM:
        return {"reason": f"> {args.limit} s"}
    if done.returncode == -signal.SIGKILL:
        return {"reason": "out of memory"}
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        return {"reason": done.stderr.strip().splitlines()[-1]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


# -- the table ---------------------------------------------------------------------------


def importable() -> list[str]:
    """The libraries to compare with; says what is missing and how to install it."""
    libraries = [OURS]
    for library, (module, command) in PEERS.items():
        try:
            importlib.import_module(module)
        except ImportError as error:
            print(f"{library} is left out, it cannot be imported: {error}\nInstall it: {command}\n")
        else:
            libraries.append(library)
    return libraries


def table_row(name: str, found: dict[str, dict[str, Any]]) -> list[str]:
    """A line of the table."""
    cells = [name, CASES[name].rows]
    for library in (OURS, SKACTIVEML, MODAL):
        result = found.get(library)
        if result is None:
            cells += ["", ""]
        elif "reason" in result:
            cells += [result["reason"], ""]
        else:
            cells += [f"{result['seconds']:.3g}", f"{result['memory_mib']:.0f}"]
    ours = found[OURS]
    peers = [found[library] for library in PEERS if library in found]
    compared = [peer for peer in peers if "picks" in peer and "picks" in ours]
    cells.append(", ".join(f"{peer['seconds'] / ours['seconds']:.2g}" for peer in compared))
    shared = [len({*p["picks"]} & {*ours["picks"]}) / len(p["picks"]) for p in compared]
    cells.append(f"{min(shared):.1%}" if CASES[name].compare and shared else "")
    return cells


HEADER = ["strategy", "rows"]
HEADER += [f"{library} {what}" for library in (OURS, SKACTIVEML, MODAL) for what in ("s", "MiB")]
HEADER += ["others / ours", "same picks"]


def cpu() -> str:
    """Name of the processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def versions(libraries: list[str]) -> dict[str, str]:
    """Versions of what was measured."""
    packages = ["skvaball", "numpy", "scipy", "scikit-learn", "torch"]
    packages += [{MODAL: "modAL-python"}.get(name, name) for name in libraries if name != OURS]
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=50_000, help="rows of the pool")
    parser.add_argument("--d", type=int, default=512, help="features")
    parser.add_argument("--batch", type=int, default=500, help="rows to choose")
    parser.add_argument("--labeled", type=int, default=1_000, help="labeled rows")
    parser.add_argument("--classes", type=int, default=10, help="classes")
    parser.add_argument("--threads", type=int, default=2, help="threads of each process")
    parser.add_argument("--repeats", type=int, default=3, help="calls, if they are quick")
    parser.add_argument("--limit", type=int, default=120, help="seconds after which to give up")
    parser.add_argument("--only", nargs="+", choices=CASES, help="these strategies alone")
    parser.add_argument("--all", action="store_true", help="those that train networks, too")
    parser.add_argument("--json", type=Path, help="a file to write the results to")
    parser.add_argument("--job", help=argparse.SUPPRESS)  # for the processes started here
    return parser.parse_args()


def main() -> None:
    """Print the table, what was wanted, and whether it was reached."""
    args = parse()
    if args.job:
        name, library, sizes, repeats, limit = json.loads(args.job)
        print(json.dumps(measure(name, library, Sizes(*sizes), repeats, limit)))
        return
    sizes = Sizes(args.n, args.d, args.batch, args.labeled, args.classes)
    names = args.only or [name for name, case in CASES.items() if args.all or not case.only_all]
    print(__doc__.split("    python")[0].strip(), end="\n\n")
    libraries = importable()
    about = {
        "date": date.today().isoformat(),
        "command": " ".join(["python", "benchmarks/bench_selectors.py", *sys.argv[1:]]),
        "machine": f"{cpu()}, {os.cpu_count()} cores, {args.threads} threads used",
        "load before": round(os.getloadavg()[0], 2),  # what else the machine was busy with
        "versions": versions(libraries),
        "sizes": sizes._asdict(),
    }
    for key, value in about.items():
        print(f"{key}: {value}")
    print("\n| " + " | ".join(HEADER) + " |\n" + "|---" * len(HEADER) + "|")
    results: dict[str, dict[str, Any]] = {}
    for name in names:
        case = CASES[name]
        own = sizes
        if case.largest is not None:
            n, batch, labeled = case.largest
            own = sizes._replace(
                n=min(n, sizes.n),
                batch=min(batch, sizes.batch),
                labeled=min(labeled, sizes.labeled),
            )
        results[name] = {lib: run(name, lib, own, args) for lib in case.calls if lib in libraries}
        print("| " + " | ".join(table_row(name, results[name])) + " |", flush=True)
    reached = report_wanted(results) if sizes == Sizes(50_000, 512, 500, 1_000, 10) else {}
    differ = [
        name
        for name, found in results.items()
        if CASES[name].identical
        and all("picks" in found.get(library, {}) for library in (OURS, SKACTIVEML))
        and found[OURS]["picks"] != found[SKACTIVEML]["picks"]
    ]
    if args.json:
        for result in (result for found in results.values() for result in found.values()):
            result.pop("picks", None)
        args.json.write_text(json.dumps(about | {"results": results, "wanted": reached}, indent=1))
    if differ:
        sys.exit(f"The picks are not those of scikit-activeml: {', '.join(differ)}.")


def report_wanted(results: dict[str, dict[str, Any]]) -> dict[str, bool]:
    """Say which of the wanted figures were reached."""
    reached = {}
    print()
    for name, words, test in WANTED:
        found = results.get(name)
        if found is None:
            continue
        if "scikit-activeml" in words and SKACTIVEML not in found:
            continue
        reached[f"{name}: {words}"] = bool(test(found))
        print(f"wanted: {name} {words}: {'reached' if test(found) else 'MISSED'}")
    return reached


if __name__ == "__main__":
    main()

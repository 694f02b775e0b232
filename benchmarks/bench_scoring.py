"""Speed and memory of VaB-AL's score: every figure against a reference in the same run.

    python benchmarks/bench_scoring.py [--threads 2] [--only exact ...] [--json PATH]
        [--cifar10 FOLDER] [--neu FOLDER] [--largest 1000000] [--device cuda]

exact        decoding under each mask against the literal loop: 64 rows at a time, each class
             masked, decoded and compared with its target; and its floating-point rate against
             that of torch for products of the same batch with 128 x 128 matrices.
elimination  the top 500 of a query with elimination against all 100 draws for every row, on
             digits and, where their folders are given, on features of CIFAR-10 and NEU.
training     the autoencoder's training against a bare torch loop over the same tensors.
query        fit and query of 500 from 50,000 rows of 512 features, stage by stage.
memory       the same from memmaps of 10,000 rows up to the largest: time, and anonymous
             memory above that at the start (pages of the file are the system's cache).
scaling      the time of scores over rows, classes and draws.
precision    scores by float32, tf32 and bfloat16 on a device (--device): time, share of the rate
             of torch's own products there, memory, and the picks in common with float32. On
             a GPU for 50,000 rows, else for 1,000.

Times are medians of repeated calls, of the two sides in turn. Memory needs Linux.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from datetime import date
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from skvaball.exceptions import NothingLearnedWarning
from skvaball.networks import DeepClassifier
from skvaball.vab import VaBQuerySelector
from skvaball.vab.autoencoder import ClassMaskedELBO, ClassMaskedVAE
from skvaball.vab.likelihood import (
    VECTORS_PER_CHUNK,
    VECTORS_PER_CHUNK_GPU,
    MaskedDecoder,
    draw_noise,
    tf32_products,
)

#: Rows that the literal loop has in hand: the batch size of the training.
LITERAL_ROWS = 64
TAPS = [64, 128, 256, 512]
BLOCK = 10
WIDTH = 128
MIB = 2**20


def seconds(function: Callable[[], Any]) -> float:
    """Time of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def in_turn(first: Callable[[], Any], second: Callable[[], Any], repeats: int) -> tuple[Any, Any]:
    """Median times of two functions, called in turn, after one call of each."""
    first(), second()
    times = [(seconds(first), seconds(second)) for _ in range(repeats)]
    return statistics.median(t[0] for t in times), statistics.median(t[1] for t in times)


# The exact savings


def literal_errors(
    vae: ClassMaskedVAE,
    target: torch.Tensor,
    mean: torch.Tensor,
    log_variance: torch.Tensor,
    noise: torch.Tensor,
) -> torch.Tensor:
    """Eq. 9 as it stands: mask, decode and compare, for every row, class and draw."""
    errors = target.new_empty(len(target), vae.n_classes)
    std = (0.5 * log_variance).exp()
    for start in range(0, len(target), LITERAL_ROWS):
        rows = slice(start, start + LITERAL_ROWS)
        z = mean[rows, None] + std[rows, None] * noise
        for k in range(vae.n_classes):
            masked = z * (vae.block_of_latent != k)
            difference = vae.decoder(masked) - target[rows, None]
            errors[rows, k] = difference.square().sum(2).mean(1)
    return errors


def product_rate(repeats: int, device: str = "cpu", dtype: torch.dtype = torch.float32) -> float:
    """Floating-point operations per second of torch for the products of the hot path."""
    on_cpu = device == "cpu"
    n, products_ = (VECTORS_PER_CHUNK, 200) if on_cpu else (VECTORS_PER_CHUNK_GPU, 20)
    a, b = (torch.randn(m, WIDTH, device=device).to(dtype) for m in (n, WIDTH))
    out = torch.empty_like(a)

    def products() -> None:
        for _ in range(products_):
            torch.mm(a, b, out=out)
        if not on_cpu:
            torch.cuda.synchronize()

    products()
    time_ = statistics.median(seconds(products) for _ in range(repeats))
    return products_ * 2 * n * WIDTH * WIDTH / time_


def operations(n: int, classes: int, draws: int) -> float:
    """Floating-point operations of the masked decoding of n rows.

    Two hidden layers, three quarters of the triangle, and the first layer of each block and
    of the whole.
    """
    per_mask = 2.75 * WIDTH**2 + BLOCK * WIDTH
    return 2 * n * draws * (classes * per_mask + BLOCK * classes * WIDTH)


@torch.inference_mode()
def exact(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Time of the literal loop over that of the package, for 10 and 100 classes."""
    rows = []
    for classes, n in ((10, 1280), (100, 128)):
        torch.manual_seed(0)
        vae = ClassMaskedVAE(TAPS, [BLOCK] * classes).eval()
        encoded = vae.encode(torch.randn(n, sum(TAPS)))
        noise = torch.from_numpy(draw_noise(100, BLOCK * classes, 0).astype(np.float32))
        ours = MaskedDecoder(vae, noise).squared_errors
        literal_time, our_time = in_turn(
            lambda vae=vae, encoded=encoded, noise=noise: literal_errors(vae, *encoded, noise),
            lambda ours=ours, encoded=encoded: ours(*encoded),
            args.repeats,
        )
        literal = literal_errors(vae, *encoded, noise)
        difference = float(((ours(*encoded) - literal) / literal).abs().max())
        flops = operations(n, classes, 100) / our_time
        rate = product_rate(args.repeats)
        rows.append(
            {
                "classes": classes,
                "rows": n,
                "draws": 100,
                "literal_s": literal_time,
                "ours_s": our_time,
                "ratio": literal_time / our_time,
                "relative_difference": difference,
                "gflops": flops / 1e9,
                "share_of_product_rate": flops / rate,
            }
        )
    return rows


# Elimination


def elimination_data(args: argparse.Namespace) -> list[tuple[str, Any, np.ndarray, np.ndarray]]:
    """Name, fitted classifier, labeled and unlabeled rows (features, labels) of each data set."""
    from skvaball.experiments.data import make_split
    from skvaball.experiments.protocol import load_protocol
    from skvaball.experiments.runner import make_classifier

    X, y = load_digits(return_X_y=True)
    data = [("digits", DeepClassifier(random_state=0), X.astype(np.float32), y, 100)]
    for name, folder in (("cifar10-dominant-1", args.cifar10), ("neu", args.neu)):
        if folder is not None:
            protocol = load_protocol(f"{name}-features")
            split = make_split(protocol, 0, folder)
            clf = make_classifier(protocol, "none").set_params(random_state=0)
            data.append((name, clf, split.X_train, split.y_train, 1000))
    prepared = []
    for name, clf, X, y, n_labeled in data:
        order = np.random.default_rng(0).permutation(len(y))
        labeled, pool = order[:n_labeled], order[n_labeled:]
        prepared.append((name, clf.fit(X[labeled], y[labeled]), (X[labeled], y[labeled]), X[pool]))
    return prepared


def elimination(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Picks kept and time saved by elimination, with 3 autoencoders each."""
    rows = []
    for name, clf, labeled, pool in elimination_data(args):
        for seed in range(3):
            found = {}
            for confidence in (None, 0.99):
                selector = VaBQuerySelector(
                    clf, batch="top", n_draws=100, confidence=confidence, random_state=seed
                ).fit_pool(*labeled, pool)
                positions = selector.select(pool, 500)
                times = [
                    seconds(lambda s=selector, rows=pool: s.select(rows, 500)) for _ in range(3)
                ]
                found[confidence] = positions, statistics.median(times), selector
            (exact_picks, exact_time, _), (picks, time_, fast) = found.values()
            rows.append(
                {
                    "data": name,
                    "seed": seed,
                    "pool": len(pool),
                    "all_draws_s": exact_time,
                    "elimination_s": time_,
                    "ratio": exact_time / time_,
                    "same_picks": len(np.intersect1d(exact_picks, picks)) / 500,
                    "rows_with_all_draws": float(np.mean(fast.draws_used_ == 100)),
                }
            )
    return rows


# Training and the whole query


def gaussians(n: int, d: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """A mixture in which one class has half of the rows."""
    rng = np.random.default_rng(0)
    shares = np.r_[classes - 1, np.ones(classes - 1)] / (2 * classes - 2)
    y = rng.choice(classes, n, p=shares)
    y[:classes] = np.arange(classes)
    means = (0.15 * rng.standard_normal((classes, d))).astype(np.float32)
    X = rng.standard_normal((n, d), dtype=np.float32)
    X += means[y]
    return X, y


def training(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Time of the autoencoder's training over that of a bare loop."""
    X, y = gaussians(8000, 512, 10)
    clf = LogisticRegression(C=0.01, max_iter=200).fit(X[:1000], y[:1000])
    labels = torch.from_numpy(clf.predict(X))
    standardized = torch.from_numpy((X - X.mean(0)) / X.std(0))
    epochs = 4

    def bare() -> None:
        torch.manual_seed(0)
        vae, loss = ClassMaskedVAE([512], [BLOCK] * 10), ClassMaskedELBO(0.1)
        optimizer = torch.optim.Adam(vae.parameters(), lr=1e-3, fused=True)
        for _ in range(epochs):
            for rows in torch.randperm(len(X)).split(64):
                optimizer.zero_grad()
                value = loss(vae(standardized[rows], labels[rows]), labels[rows])
                value.backward()
                optimizer.step()

    selector = VaBQuerySelector(clf, max_epochs=epochs, batch_size=64, lr=1e-3, random_state=0)
    times: list[float] = []

    def ours() -> None:
        selector.fit_pool(X[:1000], y[:1000], X)
        times.append(selector.timings_["autoencoder"])

    bare_time, _ = in_turn(bare, ours, args.repeats)
    our_time = statistics.median(times[1:])
    steps = epochs * len(X) / 64
    return [
        {
            "ratio": our_time / bare_time,
            "bare_ms_per_step": 1e3 * bare_time / steps,
            "ours_ms_per_step": 1e3 * our_time / steps,
        }
    ]


def query(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Fit and query of 500 from 50,000 rows: the stages, and all together."""
    X, y = gaussians(51_000, 512, 10)
    clf = LogisticRegression(C=0.01, max_iter=200).fit(X[:1000], y[:1000])
    rows = []
    for batch in ("diverse", "rebalance", "top"):
        selector = VaBQuerySelector(clf, batch=batch, random_state=0)
        total = seconds(lambda s=selector: s.fit_select(X[:1000], y[:1000], X[1000:], 500))
        rows.append({"batch": batch, "total_s": total, **selector.timings_})
    return rows


# Memory


class AnonymousMemory:
    """Peak of the anonymous memory of this process above that at the start, in a block."""

    def __enter__(self) -> "AnonymousMemory":
        self.start, self.peak = self.now(), 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.005):
            self.peak = max(self.peak, self.now() - self.start)

    @staticmethod
    def now() -> int:
        """Bytes at the moment."""
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("RssAnon"):
                return 1024 * int(line.split()[1])
        raise OSError("This kernel does not tell anonymous memory.")


def memmap_query(n: int, threads: int) -> dict[str, Any]:
    """One query of 500 from a memmap of n rows of 512 features."""
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        pool = np.memmap(Path(folder) / "pool", np.float32, "w+", shape=(n, 512))
        for start in range(0, n, 10_000):
            # The same rows again and again, each time with noise of their own.
            part, _ = gaussians(min(10_000, n - start), 512, 10)
            rng = np.random.default_rng(start)
            pool[start : start + len(part)] = part + rng.standard_normal(part.shape, np.float32) / 4
        pool.flush()
        pool = np.memmap(Path(folder) / "pool", np.float32, "r", shape=(n, 512))
        X, y = gaussians(1000, 512, 10)
        clf = LogisticRegression(C=0.01, max_iter=200).fit(X, y)
        # What the first call loads stays loaded: it is not the pool's.
        VaBQuerySelector(clf, max_epochs=1).fit_select(X, y, X, 10)
        selector = VaBQuerySelector(clf, random_state=0)
        with AnonymousMemory() as memory:
            total = seconds(lambda: selector.fit_select(X, y, pool, 500))
    return {"rows": n, "total_s": total, "peak_mib": memory.peak / MIB, **selector.timings_}


def memory(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Time and memory over the size of the pool, each in a process of its own."""
    rows = []
    n = 10_000
    while n <= args.largest:
        call = f"bench_scoring.memmap_query({n}, {args.threads})"
        code = f"import bench_scoring, json; print(json.dumps({call}))"
        run = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
        rows.append(json.loads(run.stdout.splitlines()[-1]))
        n *= 10
    for before, row in pairwise(rows):
        row["exponent"] = float(np.log10(row["total_s"] / before["total_s"]))
    return rows


def scaling(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Seconds of scores as rows, classes or draws grow from a small problem."""
    base = {"rows": 2000, "classes": 10, "draws": 32}
    rows = []
    for name, values in (
        ("rows", (2000, 4000, 8000)),
        ("classes", (10, 20, 40)),
        ("draws", (32, 64, 128)),
    ):
        for value in values:
            size = {**base, name: value}
            X, y = gaussians(size["rows"], 128, size["classes"])
            clf = LogisticRegression(C=0.01, max_iter=50).fit(X, y)
            selector = VaBQuerySelector(clf, n_draws=size["draws"], max_epochs=1, random_state=0)
            selector.fit_pool(X, y, X)
            selector.score_samples(X[:200])
            times = [seconds(lambda s=selector, X=X: s.score_samples(X)) for _ in range(3)]
            rows.append({**size, "score_s": statistics.median(times)})
    return rows


# Precisions and devices


def precision(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Time and picks of each precision of the products, for 10 and 100 classes, 100 draws."""
    on_gpu = args.device != "cpu"
    n = 50_000 if on_gpu else 1_000
    rows = []
    for classes in (10, 100):
        X, y = gaussians(n + 2000, 512, classes)
        clf = LogisticRegression(C=0.01, max_iter=30).fit(X[:2000], y[:2000])
        selector = VaBQuerySelector(
            clf, n_draws=100, max_epochs=5, device=args.device, random_state=0
        )
        _, pool = selector._fit_apart(X[:2000], y[:2000], X[2000:])
        reference: np.ndarray | None = None
        for name in ("float32", "tf32", "bfloat16"):
            selector._likelihood.precision = name
            if on_gpu:
                torch.cuda.reset_peak_memory_stats()
            decode = partial(selector._likelihood.decode, pool.values)
            decode()
            time_ = statistics.median(seconds(decode) for _ in range(3))
            score = partial(selector._score, None, pool)
            whole = statistics.median(seconds(score) for _ in range(3))
            scores = score()
            reference = scores if reference is None else reference
            dtype = torch.bfloat16 if name == "bfloat16" else torch.float32
            with tf32_products() if on_gpu and name == "tf32" else nullcontext():
                rate = product_rate(5, args.device, dtype)
            top, best = (np.argsort(-s, kind="stable")[:500] for s in (scores, reference))
            rows.append(
                {
                    "classes": classes,
                    "rows": n,
                    "precision": name,
                    "decode_s": time_,
                    "scores_s": whole,
                    "tflops": operations(n, classes, 100) / time_ / 1e12,
                    "ceiling_tflops": rate / 1e12,
                    "peak_gpu_mib": torch.cuda.max_memory_allocated() / MIB if on_gpu else 0.0,
                    "largest_difference": float(np.abs(scores - reference).max()),
                    "top_500_in_common": len(np.intersect1d(top, best)) / 500,
                }
            )
    return rows


BENCHMARKS = {
    f.__name__: f for f in (exact, elimination, training, query, memory, scaling, precision)
}


def print_table(rows: list[dict[str, Any]]) -> None:
    """Columns of equal width, numbers with three digits."""

    def text(value: Any) -> str:
        return f"{value:.3g}" if isinstance(value, float) else str(value)

    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names, *([text(row.get(name, "")) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    for line in cells:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))
    print(flush=True)


def main() -> None:
    """Run what is asked for, print a table of each, and write them all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of torch")
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS))
    parser.add_argument("--repeats", type=int, default=5, help="timed calls of each side")
    parser.add_argument("--largest", type=int, default=100_000, help="rows of the largest memmap")
    parser.add_argument("--device", default="cpu", help="where precision is measured")
    parser.add_argument("--cifar10", help="folder of CIFAR-10's images")
    parser.add_argument("--neu", help="folder of NEU-CLS-64's images")
    parser.add_argument("--json", type=Path, help="file that the results are written to")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    # Random rows, and few epochs: the scores do not matter here.
    warnings.simplefilter("ignore", NothingLearnedWarning)
    results: dict[str, Any] = {
        "date": date.today().isoformat(),
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "threads": args.threads,
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if args.device != "cpu" else "cpu",
    }
    for name in args.only:
        print(f"{name}: {BENCHMARKS[name].__doc__.splitlines()[0]}")
        results[name] = BENCHMARKS[name](args)
        print_table(results[name])
    if args.json is not None:
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()

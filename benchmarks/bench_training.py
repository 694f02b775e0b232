"""Speed of DeepClassifier.fit: against a bare torch loop, and with each of its options.

Random images and random rows; both train the same network with the same optimizer on the
same data, one after the other, and the ratio of each pair of times counts.

    python benchmarks/bench_training.py [--device cuda] [--threads 1] [--compile]
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from skvaball.networks import MLP, DeepClassifier, SmallResNet

N_ROWS = 2000
N_CLASSES = 10
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(N_ROWS, 3, 32, 32)).astype(np.float32)
VECTORS = RNG.normal(size=(N_ROWS, 64)).astype(np.float32)
LABELS = RNG.integers(N_CLASSES, size=N_ROWS)

OPTIONS: dict[str, dict[str, Any]] = {
    "default, batches of 128": {},
    "batches of 64": {"batch_size": 64},
    "channels_last": {"channels_last": True},
    "channels_last, batches of 64": {"channels_last": True, "batch_size": 64},
    "bfloat16": {"precision": "bfloat16"},
    "bfloat16, channels_last": {"precision": "bfloat16", "channels_last": True},
    "crop_flip": {"augment": "crop_flip"},
    "sampling": {"balance": "sampling"},
    "logit_adjustment": {"balance": "logit_adjustment"},
    "sgd, cosine": {"optimizer": "sgd", "schedule": "cosine"},
    "stem_stride 2": {"module_params": {"stem_stride": 2}},
    "stem_stride 2, crop_flip, channels_last, batches of 64": {
        "module_params": {"stem_stride": 2},
        "augment": "crop_flip",
        "channels_last": True,
        "batch_size": 64,
    },
}
COMPILED = {"compile": True, "channels_last": True}


def bare_loop(module: type[torch.nn.Module], X: np.ndarray, epochs: int, device: str) -> None:
    """What DeepClassifier does by default, without the library and skorch."""
    torch.manual_seed(0)
    inputs = torch.as_tensor(X, device=device)
    targets = torch.as_tensor(LABELS, device=device)
    net = module(X.shape[1], N_CLASSES).to(device).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, fused=True)
    for _ in range(epochs):
        order = torch.randperm(len(X)).to(device)
        for rows in order.split(128):
            loss = F.cross_entropy(net(inputs[rows]), targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def seconds(function: Callable[[], Any], device: str) -> float:
    """Time of one call, on a GPU until it is done."""
    start = time.perf_counter()
    function()
    if device != "cpu":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def compare_with_bare_loop(
    module: type[torch.nn.Module], X: np.ndarray, epochs: int, repeats: int, device: str
) -> None:
    """Print the median ratio of the times, and its range."""
    clf = DeepClassifier(module, max_epochs=epochs, device=device, random_state=0)
    ratios = []
    for i in range(repeats + 1):
        bare = seconds(lambda: bare_loop(module, X, epochs, device), device)
        fit = seconds(lambda: clf.fit(X, LABELS), device)
        if i:  # the first pair warms up
            ratios.append(fit / bare)
    print(
        f"{module.__name__}, {epochs} epochs: fit / bare loop = {np.median(ratios):.3f} "
        f"({min(ratios):.3f} to {max(ratios):.3f}), bare loop {bare:.2f} s"
    )


def measure_options(
    options: dict[str, dict[str, Any]], epochs: int, repeats: int, device: str, slowest: float
) -> None:
    """Print the images per second of SmallResNet with each option, the best of the repeats."""
    for name, params in options.items():
        clf = DeepClassifier(max_epochs=1, device=device, random_state=0).set_params(**params)
        # Few rows tell whether an option is too slow here for the full measurement.
        warm_up = IMAGES[: 2 * clf.batch_size], LABELS[: 2 * clf.batch_size]
        clf.fit(*warm_up)
        pilot = len(warm_up[0]) / seconds(lambda clf=clf, rows=warm_up: clf.fit(*rows), device)
        if pilot < slowest:
            print(f"{name:55s} {pilot:8.0f} images/s")
            continue
        clf.set_params(max_epochs=epochs)
        best = min(seconds(lambda clf=clf: clf.fit(IMAGES, LABELS), device) for _ in range(repeats))
        print(f"{name:55s} {epochs * N_ROWS / best:8.0f} images/s")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", help="such as cuda")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch on the CPU")
    parser.add_argument("--epochs", type=int, default=2, help="epochs over the images")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs of each")
    parser.add_argument("--compile", action="store_true", help="measure compile=True, too")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    compare_with_bare_loop(SmallResNet, IMAGES, args.epochs, args.repeats, args.device)
    # An epoch of the MLP takes milliseconds.
    compare_with_bare_loop(MLP, VECTORS, 50 * args.epochs, args.repeats, args.device)
    options = OPTIONS | ({"compile, channels_last": COMPILED} if args.compile else {})
    measure_options(options, args.epochs, args.repeats, args.device, slowest=50.0)


if __name__ == "__main__":
    main()

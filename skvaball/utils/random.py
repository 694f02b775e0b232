"""Seeds for nested parts, and training that leaves the global generators alone."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state

RandomState = int | np.random.RandomState | None

# The global generators belong to the process: two threads that swap them would mix.
_LOCK = threading.RLock()
_MAX_SEED = 2**31 - 1


def draw_seed(random_state: RandomState) -> int:
    """One seed from what scikit-learn accepts as ``random_state``; an int stands for itself."""
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0] % _MAX_SEED)
    return int(check_random_state(random_state).randint(_MAX_SEED))


def derive_seed(seed: int, *purpose: str | int) -> int:
    """A seed for one purpose: the same seed and purpose give the same, others are unrelated.

    Parameters
    ----------
    seed : int
        Seed of the parent.
    *purpose : str or int
        What the seed is for, such as ``"query", 3``.

    Returns
    -------
    int
        A seed in [0, 2**31 - 1).
    """
    parts = (int(seed), *(part if isinstance(part, str) else int(part) for part in purpose))
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") % _MAX_SEED


def set_random_states(estimator: Any, seed: int, *, anew: bool = False) -> Any:
    """Give every nested ``random_state`` that is None a seed of its own.

    A seed that is set is kept, unless ``anew``. Returns the estimator, which must be a clone:
    the splitters in it, which have no parameters to set, are changed.
    """
    params = sorted(estimator.get_params(deep=True).items())
    seeds = {
        name: derive_seed(seed, name)
        for name, value in params
        if (value is None or anew) and (name == "random_state" or name.endswith("__random_state"))
    }
    for name, value in params:
        shuffled = hasattr(value, "split") and getattr(value, "shuffle", True) is True
        if shuffled and hasattr(value, "random_state") and (value.random_state is None or anew):
            value.random_state = derive_seed(seed, name)
    return estimator.set_params(**seeds) if seeds else estimator


@contextmanager
def isolated_generators(seed: int, device: str = "cpu") -> Iterator[None]:
    """Seed the global torch and numpy generators inside the block, and restore them after it.

    Parameters
    ----------
    seed : int
        The seed inside the block.
    device : str, default="cpu"
        A CUDA device whose generator is seeded and restored as well.
    """
    cuda = torch.device(device).type == "cuda"
    with _LOCK:
        # numpy's legacy generator: estimators without a random_state of their own draw from it.
        numpy_state = np.random.get_state()  # noqa: NPY002
        torch_state = torch.get_rng_state()
        cuda_state = torch.cuda.get_rng_state(device) if cuda else None
        try:
            np.random.seed(seed)  # noqa: NPY002
            # torch.manual_seed would seed every device, also those that others use.
            torch.default_generator.manual_seed(seed)
            if cuda:
                with torch.cuda.device(device):
                    torch.cuda.manual_seed(seed)
            yield
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002
            torch.set_rng_state(torch_state)
            if cuda_state is not None:
                torch.cuda.set_rng_state(cuda_state, device)

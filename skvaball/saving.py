"""Save a learner in a file that runs nothing when it is loaded.

The file is a zip archive, not compressed, of three entries:

``header.json``
    Format, versions of the libraries, and a checksum of each other entry.
``objects.skops``
    All but the tensors, in the format of skops: classes by name, attributes as JSON,
    arrays in numpy's format. A name is looked up only if it is on a list.
``tensors.safetensors``
    The weights of networks, optimizers and the like.

skops knows scikit-learn, numpy and scipy. Whatever is of torch or skorch is replaced by a
plain record (the classes below) first, and rebuilt here: a new object of the class is made
without calling its constructor or its ``__setstate__``, and is given its attributes.
"""

import hashlib
import importlib
import inspect
import io
import json
import os
import sys
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache, partial
from pathlib import Path
from types import BuiltinFunctionType, FunctionType
from typing import Any

import numpy as np
import scipy
import scipy.sparse as sp
import skorch
import torch
from joblib import Memory
from sklearn import __version__ as sklearn_version
from sklearn.base import BaseEstimator
from sklearn.model_selection._search import BaseSearchCV
from skorch import callbacks, history
from skorch.setter import optimizer_setter
from torch import nn, optim

from skvaball._version import __version__
from skvaball.exceptions import SavedFileError
from skvaball.utils.extras import needs_extra
from skvaball.utils.files import written_whole

FORMAT = 1
KIND = "skvaball learner"
HEADER, OBJECTS, TENSORS = "header.json", "objects.skops", "tensors.safetensors"

#: Packages whose modules hold what a learner is made of; all classes in them are trusted.
_OWN = ("skvaball.learner", "skvaball.features", "skvaball.networks", "skvaball.selectors",
        "skvaball.utils", "skvaball.vab")  # fmt: skip
#: Callbacks that neither read nor write files.
_CALLBACKS = (
    callbacks.BatchScoring,
    callbacks.EarlyStopping,
    callbacks.EpochScoring,
    callbacks.EpochTimer,
    callbacks.GradientNormClipping,
    callbacks.LRScheduler,
    callbacks.PassthroughScoring,
    callbacks.PrintLog,
)
#: What a recurrent network makes of its weights, with references that cannot be saved.
_FLAT_WEIGHTS = ("_flat_weights", "_flat_weight_refs")
#: Types and functions by name that skops looks up by itself, and trusts.
_LEFT_TO_SKOPS = ("numpy", "scipy", "sklearn")

TrustedNames = Sequence[str | type]


# What stands in the file for what skops does not know


class _Reference:
    """An object of the table: skops would write what is shared once for each use."""

    index: int


class _Tensor:
    """A tensor in ``tensors.safetensors``."""

    key: str
    device: str
    parameter: bool
    requires_grad: bool
    stride: tuple[int, ...]


class _Object:
    """An object of a trusted class, with its attributes."""

    kind: str
    state: dict[str, Any]


class _Optimizer:
    """An optimizer: its state is keyed by tensors, and kept as pairs."""

    kind: str
    defaults: dict[str, Any]
    groups: list[dict[str, Any]]
    state: list[tuple[Any, dict[str, Any]]]


class _Name:
    """A class or function."""

    name: str


class _Partial:
    """A function with some of its arguments."""

    function: Any
    args: tuple[Any, ...]
    keywords: dict[str, Any]


class _Json:
    """A skorch history: thousands of numbers, which skops would keep one by one."""

    text: str


class _Frame:
    """A pandas data frame, column by column."""

    names: list[str | int]
    dtypes: list[str]
    values: list[np.ndarray]


class _SparseRows:
    """Rows in scipy's CSR format."""

    kind: str
    parts: tuple[np.ndarray, np.ndarray, np.ndarray]
    shape: tuple[int, int]


class _Memory:
    """A cache of joblib: without its folder, whose pickles would be run."""


_RECORDS = (
    _Reference,
    _Tensor,
    _Object,
    _Optimizer,
    _Name,
    _Partial,
    _Json,
    _Frame,
    _SparseRows,
    _Memory,
)


def _record(record_type: type, **attributes: Any) -> Any:
    record = record_type()
    vars(record).update(attributes)
    return record


def full_name(value: Any) -> str:
    """Module and name of a class or function, as the lists of trusted names have them."""
    return f"{value.__module__}.{value.__qualname__}"


@cache
def trusted_objects() -> dict[str, Any]:
    """Classes and functions that a file may name, by name.

    Returns
    -------
    dict of str to class or function
        Classes of this library that a learner is made of, layers and losses of
        ``torch.nn``, optimizers, skorch's nets and most of its callbacks, samplers and
        pipelines of imbalanced-learn, and parts of scikit-learn's calibration. None of
        them does anything before one of its methods is called.
    """
    import imblearn
    from sklearn import calibration

    from skvaball.networks.augmentation import crop_flip
    from skvaball.networks.classifier import _build_module

    own = [
        value
        for name, module in sys.modules.copy().items()
        if name.startswith(_OWN)
        for value in vars(module).values()
        if inspect.isclass(value) and value.__module__ == name
    ]
    layers = [value for value in vars(nn).values() if _is_a(value, nn.Module)]
    optimizers = [value for value in vars(optim).values() if _is_a(value, optim.Optimizer)]
    schedules = vars(optim.lr_scheduler).values()
    schedulers = [value for value in schedules if _is_a(value, optim.lr_scheduler.LRScheduler)]
    nets = [skorch.NeuralNet, skorch.NeuralNetClassifier, skorch.NeuralNetBinaryClassifier]
    data = [skorch.dataset.Dataset, skorch.dataset.ValidSplit, torch.utils.data.DataLoader]
    indexing = [value for name, value in vars(skorch.utils).items() if "_indexing_" in name]
    functions = [_build_module, crop_flip, optimizer_setter, skorch.utils.to_numpy, print]
    samplers = [
        value
        for module in (imblearn.over_sampling, imblearn.under_sampling, imblearn.combine)
        for value in vars(module).values()
        if _is_a(value, BaseEstimator)
    ]
    calibrators = [
        value
        for value in vars(calibration).values()
        if inspect.isclass(value) and value.__module__ == calibration.__name__
    ]
    trusted = [
        *own, *layers, *optimizers, *schedulers, *nets, *_CALLBACKS, *data, *indexing,
        *functions, *samplers, imblearn.pipeline.Pipeline, *calibrators,
    ]  # fmt: skip
    return {full_name(value): value for value in trusted}


def _is_a(value: Any, kind: type) -> bool:
    return inspect.isclass(value) and issubclass(value, kind)


def _skops_names() -> list[str]:
    """What skops may rebuild beside its own list."""
    estimators = [
        name
        for name, kind in trusted_objects().items()
        if _is_for_skops(kind) and (_is_a(kind, BaseEstimator) or name.startswith("sklearn."))
    ]
    return [*(full_name(record) for record in _RECORDS), *estimators]


def _is_for_skops(value: Any) -> bool:
    """Whether skops may rebuild objects of a class, and call its ``__setstate__``."""
    # skorch's unpickles; what else is rebuilt here needs no other way in.
    return not any(_is_a(value, kind) for kind in (skorch.NeuralNet, nn.Module, optim.Optimizer))


def _load_skops() -> tuple[Any, Any]:
    with needs_extra("Saving or loading a learner", "skops"):
        import safetensors.torch
        import skops.io
    return skops.io, safetensors.torch


# Saving


def save_learner(learner: Any, path: str | os.PathLike[str], trusted: TrustedNames = ()) -> None:
    """Write a learner to a file; see :meth:`skvaball.ActiveLearner.save`."""
    skops, safetensors = _load_skops()
    packer = _Packer()
    packed = packer.pack(learner)
    try:
        objects = skops.dumps({"learner": packed, "table": packer.table})
        tensors = safetensors.save(packer.tensors)
    except Exception as error:  # skops has no common base of its errors
        raise ValueError(
            f"The learner cannot be saved: {error} Keep to estimators of scikit-learn and "
            "networks of torch, or use pickle for files that only you read."
        ) from error
    known = {*_skops_names(), *trusted_objects(), *_names(trusted)}
    unknown = {*skops.get_untrusted_types(data=objects), *packer.names} - known
    if unknown:
        raise ValueError(
            f"The learner cannot be saved safely: it holds {', '.join(sorted(unknown))}, which "
            "cannot be loaded without trust in whoever made the file. If you trust them, pass "
            f"trusted={sorted(unknown)} here and again to load; otherwise use other parts."
        )
    entries = {OBJECTS: objects, TENSORS: tensors}
    header = {
        "kind": KIND,
        "format": FORMAT,
        "versions": _versions(),
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in entries.items()},
    }
    _write(Path(path), {HEADER: json.dumps(header, indent=1).encode(), **entries})


def _write(path: Path, entries: dict[str, bytes]) -> None:
    with written_whole(path) as part, zipfile.ZipFile(part, "w") as archive:
        for entry, data in entries.items():
            archive.writestr(entry, data)


def _versions() -> dict[str, str]:
    return {
        "skvaball": __version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "scikit-learn": sklearn_version,
        "torch": torch.__version__,
        "skorch": skorch.__version__,
    }


def _names(trusted: TrustedNames) -> list[str]:
    if isinstance(trusted, str):
        raise TypeError(f"trusted must be a list of names or classes, got {trusted!r}.")
    return [value if isinstance(value, str) else full_name(value) for value in trusted]


class _Packer:
    """Replaces what skops does not know; what needs no change stays the same object."""

    def __init__(self) -> None:
        self.tensors: dict[str, torch.Tensor] = {}
        #: Every object that has attributes, once.
        self.table: list[Any] = []
        #: Classes and functions that the records name.
        self.names: set[str] = set()
        # By identity, with the object itself, so that no other gets its identity meanwhile:
        # what is shared in the learner, such as the classifier, is shared in the file.
        self._done: dict[int, tuple[Any, Any]] = {}

    def pack(self, value: Any) -> Any:
        if id(value) not in self._done:
            self._done[id(value)] = (value, self._pack(value))
        return self._done[id(value)][1]

    def _pack(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return self._pack_tensor(value)
        if isinstance(value, optim.Optimizer):
            return self._pack_optimizer(value)
        if isinstance(value, history.History):
            return _record(_Json, text=json.dumps(list(value)))
        if inspect.isclass(value) or isinstance(value, FunctionType | BuiltinFunctionType):
            return self._pack_name(value)
        if isinstance(value, partial):
            parts = {name: self.pack(getattr(value, name)) for name in ("args", "keywords")}
            return _record(_Partial, function=self.pack(value.func), **parts)
        if sp.issparse(value) and value.format == "csr":
            arrays = (value.data, value.indices, value.indptr)
            return _record(_SparseRows, kind=type(value).__name__, parts=arrays, shape=value.shape)
        if isinstance(value, Memory):
            return _record(_Memory)
        if isinstance(value, np.memmap):
            return np.array(value)
        if isinstance(value, list | tuple | dict):
            return self._pack_container(value)
        if _is_frame(value):
            return _pack_frame(value)
        if _is_rebuilt_here(value):
            return self._refer(
                _record(_Object, kind=self._name(type(value)), state=self._pack_state(value))
            )
        if _has_plain_attributes(value):
            return self._refer(self._pack_attributes(value))
        return value

    def _refer(self, packed: Any) -> Any:
        self.table.append(packed)
        return _record(_Reference, index=len(self.table) - 1)

    def _pack_tensor(self, tensor: torch.Tensor) -> Any:
        key = str(len(self.tensors))
        self.tensors[key] = (
            tensor.detach().cpu().contiguous().clone(memory_format=torch.contiguous_format)
        )
        return _record(
            _Tensor,
            key=key,
            device=str(tensor.device),
            parameter=isinstance(tensor, nn.Parameter),
            requires_grad=tensor.requires_grad,
            # As it is after pickling: that of views and expanded tensors is not kept.
            stride=torch.empty_like(tensor).stride(),
        )

    def _pack_optimizer(self, optimizer: optim.Optimizer) -> Any:
        state = [(self.pack(key), self.pack(value)) for key, value in optimizer.state.items()]
        return self._refer(
            _record(
                _Optimizer,
                kind=self._name(type(optimizer)),
                defaults=self.pack(optimizer.defaults),
                groups=self.pack(optimizer.param_groups),
                state=state,
            )
        )

    def _pack_name(self, value: Any) -> Any:
        root = (value.__module__ or "").partition(".")[0]
        if root in _LEFT_TO_SKOPS or (root == "builtins" and inspect.isclass(value)):
            return value
        return _record(_Name, name=self._name(value))

    def _name(self, value: Any) -> str:
        name = full_name(value)
        if "<" in name:
            raise ValueError(
                f"The learner cannot be saved: it holds {name}, which has no name to be found "
                "by. Define it in a module, with def or class."
            )
        self.names.add(name)
        return name

    def _pack_container(self, value: Any) -> Any:
        items = list(value.values()) if isinstance(value, dict) else list(value)
        packed = [self.pack(item) for item in items]
        if all(new is old for new, old in zip(packed, items, strict=True)):
            return value
        if isinstance(value, dict):
            filled = type(value)()
            filled.update(zip(value, packed, strict=True))
            return filled
        return type(value)(*packed) if hasattr(value, "_fields") else type(value)(packed)

    def _pack_state(self, value: Any) -> dict[str, Any]:
        state = dict(vars(value))
        if isinstance(value, callbacks.LRScheduler):
            # Made anew when a training begins; it would hold on to the optimizer.
            state.pop("lr_scheduler_", None)
        if isinstance(value, nn.RNNBase):
            for name in _FLAT_WEIGHTS:
                state.pop(name, None)
        return {name: self.pack(part) for name, part in state.items()}

    def _pack_attributes(self, value: Any) -> Any:
        before = vars(value)
        after = {name: self.pack(part) for name, part in before.items()}
        if all(after[name] is before[name] for name in before):
            return value
        changed = object.__new__(type(value))
        vars(changed).update(after)
        return changed


def _is_rebuilt_here(value: Any) -> bool:
    if isinstance(value, nn.Module | skorch.NeuralNet | callbacks.Callback):
        return True
    own = type(value).__module__.startswith(_OWN) or type(value).__module__.startswith("skorch.")
    return own and not isinstance(value, BaseEstimator)


def _has_plain_attributes(value: Any) -> bool:
    """Whether an object is its class and its attributes, and no more."""
    own, plain = (inspect.getattr_static(kind, "__reduce__") for kind in (type(value), object))
    return own is plain and hasattr(value, "__dict__")


def _is_frame(value: Any) -> bool:
    if type(value).__module__.partition(".")[0] in ("pandas", "pyarrow"):
        return hasattr(value, "to_pandas") or hasattr(value, "iloc")
    return hasattr(value, "columns") and hasattr(value, "dtypes")


def _pack_frame(frame: Any) -> Any:
    if not (hasattr(frame, "iloc") and hasattr(frame, "columns")):
        raise ValueError(
            f"The learner cannot be saved: it holds a {type(frame).__module__}."
            f"{type(frame).__name__}. Fit it on a data frame of pandas, on an array, or, if the "
            "rows are texts, on a list."
        )
    dtypes = [str(dtype) for dtype in frame.dtypes]
    for name, dtype in frame.dtypes.items():
        if not isinstance(name, str | int):
            raise ValueError(
                f"The learner cannot be saved: the name of the column {name!r} is neither a "
                "string nor an int. Rename it in the data frame before fit."
            )
        # numpy's own types, and strings of pandas; others have more to them than values.
        if not isinstance(dtype, np.dtype) and str(dtype) not in ("str", "string"):
            raise ValueError(
                f"The column {name!r} of the labeled rows has the type {dtype}, which cannot "
                "be saved. Convert it to numbers or strings before fit."
            )
    values = [
        column.to_numpy() if isinstance(column.dtype, np.dtype) else column.to_numpy(object)
        for _, column in frame.items()
    ]
    return _record(_Frame, names=list(frame.columns), dtypes=dtypes, values=values)


# Loading


def load_learner(
    path: str | os.PathLike[str], trusted: TrustedNames = (), device: str | None = None
) -> Any:
    """Read a learner from a file; see :meth:`skvaball.ActiveLearner.load`."""
    from skvaball.learner import ActiveLearner

    skops, safetensors = _load_skops()
    own = _resolve(trusted)
    data = Path(path).read_bytes()
    header, entries = _read_entries(data, path)
    _check_stored(entries[OBJECTS], path)
    try:
        tensors = safetensors.load(entries[TENSORS])
        unknown = set(skops.get_untrusted_types(data=entries[OBJECTS]))
    except Exception as error:  # whatever a damaged file makes of the parsers
        raise _damaged(path, error) from error
    names = [*_skops_names(), *(name for name, value in own.items() if _is_for_skops(value))]
    _refuse(unknown - set(names), path)
    try:
        packed = skops.loads(entries[OBJECTS], trusted=names)
        unpacker = _Unpacker(packed["table"], tensors, own, path, device)
        learner = unpacker.unpack(packed["learner"])
    except SavedFileError:
        raise
    except Exception as error:  # an altered file can break the rebuilding anywhere
        saved, here = header.get("versions"), _versions()
        differ = "" if saved == here else f" It was saved with {saved}; here are {here}."
        raise _damaged(path, error, differ) from error
    if not isinstance(learner, ActiveLearner):
        raise SavedFileError(f"{path} holds a {type(learner).__name__}, not an ActiveLearner.")
    return learner


def _resolve(trusted: TrustedNames) -> dict[str, Any]:
    """The classes and functions that the user trusts, by name."""
    found: dict[str, Any] = {}
    for value, name in zip(trusted, _names(trusted), strict=True):
        module, _, attribute = name.rpartition(".")
        try:
            found[name] = (
                getattr(importlib.import_module(module), attribute)
                if isinstance(value, str)
                else value
            )
        except (ImportError, AttributeError, ValueError) as error:
            raise ValueError(
                f"trusted names {name!r}, which cannot be imported: {error}. Expected a module "
                "and a name in it, as in 'my_module.MyNet', or the class itself."
            ) from error
    return found


def _damaged(path: Any, error: Exception, more: str = "") -> SavedFileError:
    return SavedFileError(
        f"{path} is damaged, or was not written by ActiveLearner.save: "
        f"{type(error).__name__}: {error}.{more}"
    )


def _refuse(unknown: Iterable[str], path: Any) -> None:
    names = sorted(unknown)
    if names:
        raise SavedFileError(
            f"{path} asks for {', '.join(names)}, which ActiveLearner.load does not trust. "
            "Nothing was run. If you know who made the file and trust each of these names, "
            f"pass trusted={names}."
        )


def _read_entries(data: bytes, path: Any) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Header and entries, if they are those that were written."""
    _check_stored(data, path)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            if sorted(names) != sorted([HEADER, OBJECTS, TENSORS]):
                raise SavedFileError(
                    f"{path} has the entries {names}; expected {HEADER}, {OBJECTS} and "
                    f"{TENSORS}, once each. It was not written by ActiveLearner.save."
                )
            entries = {name: archive.read(name) for name in names}
        header = json.loads(entries.pop(HEADER))
        kind, version, sums = header["kind"], header["format"], header["sha256"]
        changed = [
            name for name in entries if hashlib.sha256(entries[name]).hexdigest() != sums[name]
        ]
    except SavedFileError:
        raise
    except Exception as error:  # a zip or a header that is damaged fails in many ways
        raise _damaged(path, error) from error
    if kind != KIND:
        raise SavedFileError(f"{path} holds a {kind!r}; expected a {KIND!r}.")
    if version != FORMAT:
        raise SavedFileError(
            f"{path} has the format {version!r}, and this version of skvaball "
            f"({__version__}) reads {FORMAT}. Load it with the version that saved it: "
            f"{header.get('versions')}."
        )
    if changed:
        raise SavedFileError(f"{path} is damaged: {', '.join(changed)} has another checksum.")
    return header, entries


def _check_stored(data: bytes, path: Any) -> None:
    """Refuse compressed entries: a few bytes could become gigabytes."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            packed = [i for i in archive.infolist() if i.compress_type != zipfile.ZIP_STORED]
    except Exception as error:  # zipfile raises more than BadZipFile for a damaged archive
        raise _damaged(path, error) from error
    if packed:
        raise SavedFileError(
            f"{path} has a compressed entry, {packed[0].filename}; ActiveLearner.save writes "
            "none. Save the learner again."
        )


class _Unpacker:
    """Puts the objects in place of their records."""

    def __init__(
        self,
        table: list[Any],
        tensors: dict[str, torch.Tensor],
        trusted: dict[str, Any],
        path: Any,
        device: str | None,
    ) -> None:
        self.table = table
        self.device = device
        self.tensors = tensors
        self.known = {**trusted_objects(), **trusted}
        self.path = path
        self._done: dict[int, tuple[Any, Any]] = {}

    def unpack(self, value: Any) -> Any:
        if id(value) not in self._done:
            if isinstance(value, _RECORDS):
                self._done[id(value)] = (value, self._rebuild(value))
            else:
                self._done[id(value)] = (value, value)  # before its parts: they may lead back
                self._done[id(value)] = (value, self._fill(value))
        return self._done[id(value)][1]

    def _fill(self, value: Any) -> Any:
        """Unpack the parts of what was no record; only tuples have to be made anew."""
        if isinstance(value, dict):
            for key, part in value.items():
                value[key] = self.unpack(part)
        elif isinstance(value, list):
            value[:] = [self.unpack(part) for part in value]
        elif isinstance(value, tuple):
            parts = [self.unpack(part) for part in value]
            return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
        elif hasattr(value, "__dict__") and not inspect.isclass(value):
            for name, part in vars(value).items():
                vars(value)[name] = self.unpack(part)
            if type(value).__module__.startswith(_OWN):
                self._move(vars(value))
            _reset_memory(value)
        return value

    def _move(self, state: dict[str, Any]) -> None:
        """Name the device anew where an object says where its network lives."""
        if self.device is not None:
            named = [name for name in state if name == "device" or name.endswith("__device")]
            state.update(dict.fromkeys(named, self.device))

    def _rebuild(self, record: Any) -> Any:
        if isinstance(record, _Reference):
            return self.unpack(self.table[record.index])
        if isinstance(record, _Tensor):
            return self._rebuild_tensor(record)
        if isinstance(record, _Name):
            return self._find(record.name)
        if isinstance(record, _Partial):
            args, keywords = self.unpack(record.args), self.unpack(record.keywords)
            return partial(self.unpack(record.function), *args, **keywords)
        if isinstance(record, _Json):
            return history.History(json.loads(record.text))
        if isinstance(record, _Frame):
            return _rebuild_frame(record)
        if isinstance(record, _Memory):
            return Memory(None)
        if isinstance(record, _SparseRows):
            return _rebuild_sparse(record)
        kind = self._find(record.kind)
        if isinstance(record, _Optimizer):
            return self._rebuild_optimizer(kind, record)
        if not inspect.isclass(kind):
            raise TypeError(f"{record.kind} is no class")
        value = object.__new__(kind)
        vars(value).update({name: self.unpack(part) for name, part in record.state.items()})
        if isinstance(value, nn.RNNBase):
            value._init_flat_weights()
        if isinstance(value, skorch.NeuralNet):
            self._move(vars(value))
        _reset_memory(value)
        return value

    def _find(self, name: str) -> Any:
        if name not in self.known:
            _refuse([name], self.path)
        return self.known[name]

    def _rebuild_tensor(self, record: Any) -> torch.Tensor:
        tensor = self.tensors[record.key]
        if tensor.stride() != record.stride:
            reach = sum((n - 1) * step for n, step in zip(tensor.shape, record.stride, strict=True))
            if reach != tensor.numel() - 1:
                raise ValueError(f"the stride {record.stride} does not fit {tensor.shape}")
            tensor = torch.empty_strided(tensor.shape, record.stride, dtype=tensor.dtype).copy_(
                tensor
            )
        device = record.device if self.device is None else self.device
        try:
            tensor = tensor.to(device)
        except (RuntimeError, AssertionError) as error:
            raise SavedFileError(
                f"{self.path} has a network for the device {device}, which is not here: {error} "
                "Load it with device='cpu'."
            ) from error
        if record.parameter:
            return nn.Parameter(tensor, requires_grad=record.requires_grad)
        return tensor.requires_grad_(record.requires_grad)

    def _rebuild_optimizer(self, kind: Any, record: Any) -> optim.Optimizer:
        if not _is_a(kind, optim.Optimizer):
            raise TypeError(f"{record.kind} is no optimizer")
        optimizer: optim.Optimizer = object.__new__(kind)
        state = {self.unpack(key): self.unpack(value) for key, value in record.state}
        groups, defaults = self.unpack(record.groups), self.unpack(record.defaults)
        optimizer.__setstate__({"state": state, "param_groups": groups, "defaults": defaults})
        # torch has a defaultdict there: no step has changed some of the parameters yet.
        optimizer.state = defaultdict(dict, state)
        return optimizer


def _reset_memory(value: Any) -> None:
    """Take away a folder of pickles, as with _Memory, also one that a search would try."""
    if isinstance(vars(value).get("memory"), str):
        value.memory = None
    if isinstance(value, BaseSearchCV):
        for name in ("param_grid", "param_distributions"):
            if name in vars(value):
                setattr(value, name, _without_folders(getattr(value, name)))


def _without_folders(grid: Any) -> Any:
    """What a search tries, with None in place of each folder of pickles."""
    if isinstance(grid, list | tuple):
        return [_without_folders(part) for part in grid]
    if not isinstance(grid, dict):
        return grid
    return {
        name: [None if isinstance(choice, str) else choice for choice in choices]
        if name.split("__")[-1] == "memory" and isinstance(choices, list | tuple | np.ndarray)
        else choices
        for name, choices in grid.items()
    }


def _rebuild_frame(record: Any) -> Any:
    import pandas as pd

    columns = zip(record.names, record.values, record.dtypes, strict=True)
    return pd.DataFrame({name: pd.Series(values, dtype=dtype) for name, values, dtype in columns})


def _rebuild_sparse(record: Any) -> Any:
    kinds = {kind.__name__: kind for kind in (sp.csr_array, sp.csr_matrix)}
    rows = kinds[record.kind](record.parts, shape=record.shape)
    # Indices out of range would make scipy read memory that is not its own.
    rows.check_format(full_check=True)
    return rows

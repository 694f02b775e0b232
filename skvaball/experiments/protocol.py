"""Protocols: what an experiment is made of, as a small TOML file."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

#: How the training of the classifier answers to imbalanced labels.
Balance = Literal["none", "sampling", "logit_adjustment"]
BALANCES: tuple[Balance, ...] = get_args(Balance)


class _Section(BaseModel):
    """A part of a protocol; what it does not know is an error, not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DataSection(_Section):
    """Which data, and what the classifier sees of them."""

    set: Literal["cifar10", "cifar100", "neu", "digits"]
    #: "pixels", or histograms of oriented gradients, which a small network learns from quickly.
    features: Literal["pixels", "hog"] = "pixels"
    #: Rows of the test set, drawn evenly over the classes; None: all.
    test_rows: int | None = Field(default=None, ge=1)


class VariantSection(_Section):
    """How the training rows are made imbalanced."""

    #: "none", "long-tailed", or the paper's names, which count classes from 1: "+[1]", "-[10]".
    name: str = "none"
    #: Fraction that a class keeps which is cut; None: the paper's, a tenth for single classes.
    keep: float | None = Field(default=None, gt=0, le=1)
    #: Rows of the most common class for one of the rarest, in the long-tailed variant.
    ratio: float = Field(default=100.0, ge=1)


class NetworkSection(_Section):
    """Which network."""

    kind: Literal["mlp", "small-resnet", "resnet18", "resnet34"]
    #: Further arguments of the module, such as ``hidden`` or ``dropout``.
    params: dict[str, Any] = {}


class TrainingSection(_Section):
    """How the network is trained: parameters of :class:`~skvaball.networks.DeepClassifier`."""

    max_epochs: int = Field(default=100, ge=1)
    lr: float = Field(default=3e-3, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    batch_size: int = Field(default=128, ge=1)
    optimizer: Literal["adamw", "sgd"] = "adamw"
    momentum: float = Field(default=0.9, ge=0, lt=1)
    schedule: Literal["step", "cosine"] = "step"
    milestones: tuple[int, ...] = ()
    augment: Literal["none", "crop_flip"] = "none"
    balance: Balance = "none"
    precision: Literal["float32", "bfloat16"] = "float32"
    channels_last: bool = False
    compile: bool = False


class RoundsSection(_Section):
    """How many labels, and when."""

    #: Labels of the random start.
    start: int = Field(ge=1)
    #: Labels bought in each round.
    batch: int = Field(ge=1)
    #: Rounds after the start.
    n: int = Field(ge=0)


class MetricsSection(_Section):
    """What is recorded beside the scores."""

    #: Classes, counted from 1, whose share among the labeled rows is followed. None: those that
    #: the variant cut, or that are naturally rare.
    rare: tuple[Annotated[int, Field(ge=1)], ...] | None = None
    #: Top rows of each query that are kept with their picture, for the gallery.
    gallery: int = Field(default=0, ge=0)

    @field_validator("rare")
    @classmethod
    def _check_rare(cls, rare: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if rare is not None and len(set(rare)) < len(rare):
            raise ValueError("expected each class once")
        return rare


class StrategySection(_Section):
    """A strategy of the protocol's own: another one with other parameters."""

    #: Name of the strategy that it is made of.
    selector: str
    params: dict[str, Any] = {}
    query_size: int | None = Field(default=None, ge=1)
    #: Arguments of the network that differ from the protocol's, such as ``dropout``.
    network: dict[str, Any] = {}


class Protocol(_Section):
    """An experiment: data, variant, network, training, rounds, metrics, strategies.

    Attributes
    ----------
    name : str
        Name of the file, without its suffix.
    title : str
        One line for headings.
    data, variant, network, training, rounds, metrics
        The sections; see the protocols that are shipped for their fields.
    strategies : dict of str to StrategySection
        Strategies that only this protocol has, such as settings of an ablation.

    Examples
    --------
    >>> from skvaball.experiments import load_protocol
    >>> protocol = load_protocol("neu-small")
    >>> protocol.rounds.start, protocol.rounds.batch, protocol.network.kind
    (250, 250, 'small-resnet')
    """

    name: str
    title: str
    data: DataSection
    variant: VariantSection = VariantSection()
    network: NetworkSection
    training: TrainingSection = TrainingSection()
    rounds: RoundsSection
    metrics: MetricsSection = MetricsSection()
    strategies: dict[str, StrategySection] = {}

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.data.features == "hog" and self.network.kind != "mlp":
            raise ValueError('features = "hog" are not images: expected network.kind = "mlp"')
        if self.training.augment == "crop_flip" and self.network.kind == "mlp":
            raise ValueError('augment = "crop_flip" is for images, not for network.kind = "mlp"')
        return self


def shipped_protocols() -> list[str]:
    """The protocols that come with the library.

    Returns
    -------
    list of str
        Their names, sorted.

    Examples
    --------
    >>> from skvaball.experiments import shipped_protocols
    >>> "digits" in shipped_protocols()
    True
    """
    folder = resources.files("skvaball.experiments") / "protocols"
    return sorted(f.name.removesuffix(".toml") for f in folder.iterdir())


def load_protocol(source: str | Path) -> Protocol:
    """Read a protocol that is shipped, by name, or from a TOML file.

    Parameters
    ----------
    source : str or Path
        A name out of :func:`shipped_protocols`, or the path of a file, which ends in
        ``.toml``. A file with ``extends = "NAME"`` has what the shipped protocol of that
        name has, but for the entries that it gives itself.

    Returns
    -------
    Protocol

    Raises
    ------
    FileNotFoundError
        If there is no such protocol or file.
    ValueError
        If the file is not TOML, or has unknown or unfit entries.

    Examples
    --------
    >>> from skvaball.experiments import load_protocol
    >>> load_protocol("digits").rounds.batch
    20
    """
    path = Path(source)
    if path.suffix == ".toml":
        if not path.is_file():
            raise FileNotFoundError(f"There is no file {path}.")
        name, entries = path.stem, _parse(path.stem, path.read_text(encoding="utf-8"))
    else:
        name, entries = str(source), _shipped(str(source))
    try:
        return Protocol.model_validate({"name": name, **_extended(entries)})
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'protocol'}: {e['msg']} (got {e['input']!r})"
            for e in error.errors()
        )
        raise ValueError(f"The protocol {name} does not fit: {problems}") from error


def _shipped(name: str) -> dict[str, Any]:
    if name not in shipped_protocols():
        raise FileNotFoundError(
            f"There is no protocol {name!r}. Expected a file that ends in .toml, or one of "
            f"those that are shipped: {', '.join(shipped_protocols())}."
        )
    file = resources.files("skvaball.experiments") / "protocols" / f"{name}.toml"
    return _parse(name, file.read_text(encoding="utf-8"))


def _parse(name: str, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"The protocol {name} is not TOML: {error}") from error


def _extended(entries: dict[str, Any]) -> dict[str, Any]:
    """Entries on top of those of the protocol that they extend."""
    own = dict(entries)
    base = own.pop("extends", None)
    return own if base is None else _merged(_extended(_shipped(str(base))), own)


def _merged(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Sections entry by entry, anything else as a whole."""
    merged = dict(base)
    for key, value in own.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merged(base[key], value) if both else value
    return merged

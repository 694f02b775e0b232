"""The results of experiments in a database file (SQLite)."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Engine,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    create_engine,
    func,
    inspect,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import URL
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateTable

#: Seconds to wait for another process that is writing; a write takes milliseconds.
WRITE_TIMEOUT = 60.0
#: The entry of a protocol that changes with its data; stores of earlier versions lack it.
FINGERPRINT = "fingerprint"

_metadata = MetaData()
_protocols = Table(
    "protocols",
    _metadata,
    Column("name", String, primary_key=True),
    Column("content", JSON, nullable=False),
)
_environments = Table(
    "environments",
    _metadata,
    Column("id", Integer, primary_key=True),
    Column("versions", JSON, nullable=False),
    Column("commit", String, nullable=False),
    Column("hardware", JSON, nullable=False),
    UniqueConstraint("versions", "commit", "hardware"),
)
_runs = Table(
    "runs",
    _metadata,
    Column("id", Integer, primary_key=True),
    Column("protocol", ForeignKey("protocols.name"), nullable=False),
    Column("balance", String, nullable=False),
    Column("strategy", String, nullable=False),
    Column("seed", Integer, nullable=False),
    Column("n_rounds", Integer, nullable=False),
    Column("config", JSON, nullable=False),
    Column("started", String, nullable=False),
    UniqueConstraint("protocol", "balance", "strategy", "seed"),
)
#: Numbers of a round, in the order of the columns.
_NUMBERS = (
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "geometric_mean",
    "rare_share",
    "query_time",
    "train_time",
    "peak_memory",
    "vae_agreement",
    "likelihood_agreement",
)
_rounds = Table(
    "rounds",
    _metadata,
    Column("run", ForeignKey("runs.id"), primary_key=True),
    Column("round", Integer, primary_key=True),
    Column("n_labeled", Integer, nullable=False),
    *(Column(name, Float) for name in _NUMBERS),
    Column("recalls", JSON, nullable=False),
    Column("class_counts", JSON, nullable=False),
    Column("nothing_learned", Integer, nullable=False),
    Column("queried", LargeBinary, nullable=False),
    Column("environment", ForeignKey("environments.id"), nullable=False),
)
_gallery = Table(
    "gallery",
    _metadata,
    Column("run", ForeignKey("runs.id"), primary_key=True),
    Column("round", Integer, primary_key=True),
    Column("rank", Integer, primary_key=True),
    Column("png", LargeBinary, nullable=False),
    Column("true_label", String, nullable=False),
    Column("predicted_label", String, nullable=False),
    *(Column(name, Float) for name in ("likelihood", "difficulty", "prior", "score")),
)


class RunKey(NamedTuple):
    """What tells one run from all others.

    Attributes
    ----------
    protocol : str
        Name of the protocol.
    balance : {"none", "sampling", "logit_adjustment"}
        How the training answered to imbalanced labels.
    strategy : str
        Name of the strategy.
    seed : int

    Examples
    --------
    >>> from skvaball.experiments import RunKey
    >>> RunKey("digits", "none", "vab", 0).strategy
    'vab'
    """

    protocol: str
    balance: str
    strategy: str
    seed: int


class ResultStore:
    """Rounds of experiments in one SQLite file, written as they end.

    Every round is one transaction: a process that is killed loses the round it was in
    and nothing else. Several processes may write to one file, also on a file system
    that they share over a network, if that has working locks.

    Parameters
    ----------
    path : str or Path
        The file; made with its folder when it does not exist.
    must_exist : bool, default=False
        Whether a file that does not exist is an error.

    Raises
    ------
    FileNotFoundError
        If ``must_exist`` and there is no file.
    ValueError
        If the file is not a store of results.
    OSError
        If it cannot be read or written.

    Examples
    --------
    >>> import tempfile
    >>> from skvaball.experiments import ResultStore
    >>> store = ResultStore(tempfile.mkdtemp() + "/results.db")
    >>> len(store.rounds())
    0
    """

    def __init__(self, path: str | Path, *, must_exist: bool = False) -> None:
        self.path = Path(path)
        if must_exist and not self.path.is_file():
            raise FileNotFoundError(f"There is no store of results at {self.path}.")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # No pool: a connection must not be taken along into a forked process.
        self._engine: Engine = create_engine(
            URL.create("sqlite", database=str(self.path)),  # quoted: a name may have a ? in it
            connect_args={"timeout": WRITE_TIMEOUT},
            poolclass=NullPool,
        )
        try:
            with self._engine.begin() as connection:
                self._make_tables(connection)
        except OperationalError as error:
            # A folder, a file that is locked, a full disk, no permission.
            raise OSError(
                f"The store of results {self.path} cannot be read or written: {error.orig}."
            ) from error
        except DatabaseError as error:
            raise self._not_a_store(error.orig) from error

    def _make_tables(self, connection: Connection) -> None:
        """Make the tables of a new store; the database of somebody else stays as it is."""
        inspector = inspect(connection)
        found = set(inspector.get_table_names())
        if found and not found & set(_metadata.tables):
            raise self._not_a_store(f"its tables are {', '.join(sorted(found))}")
        for name in found & set(_metadata.tables):
            missing = {column.name for column in _metadata.tables[name].columns}
            missing -= {column["name"] for column in inspector.get_columns(name)}
            if missing:
                raise self._not_a_store(f"its table {name} has no {', '.join(sorted(missing))}")
        for table in _metadata.sorted_tables:
            # By the database itself, since another process may do it at the same time.
            connection.execute(CreateTable(table, if_not_exists=True))

    def _not_a_store(self, why: Any) -> ValueError:
        return ValueError(
            f"{self.path} is not a store of results ({why}). Expected a file that "
            "`skvaball run` has written, or the name of a new one."
        )

    # -- writing -------------------------------------------------------------------------

    def add_protocol(self, name: str, content: dict[str, Any]) -> None:
        """Enter a protocol, or check that the one of this name is the same.

        One without any round so far is replaced: nothing was measured with it.

        Parameters
        ----------
        name : str
        content : dict
            What the protocol says, fit for JSON.

        Raises
        ------
        ValueError
            If the store has results of another protocol with this name.
        """
        content = _as_stored(content)
        with self._engine.begin() as connection:
            statement = insert(_protocols).values(name=name, content=content)
            connection.execute(statement.on_conflict_do_nothing())
            if not _has_rounds(connection, _runs.c.protocol == name):
                replace = update(_protocols).where(_protocols.c.name == name)
                connection.execute(replace.values(content=content))
            known = connection.execute(
                select(_protocols.c.content).where(_protocols.c.name == name)
            ).scalar_one()
        # A store of an earlier version has no fingerprint of the data.
        content = {
            key: value for key, value in content.items() if key in known or key != FINGERPRINT
        }
        changed = sorted(key for key in {*known, *content} if known.get(key) != content.get(key))
        if changed:
            if changed == [FINGERPRINT]:
                other = f"the protocol {name!r} with other data: not the same images or labels"
            else:
                differ = ", ".join(changed)
                other = f"another protocol named {name!r}: they differ in {differ}"
            raise ValueError(
                f"{self.path} has results of {other}. Use another store, or give the protocol "
                "another name."
            )

    def add_run(self, key: RunKey, n_rounds: int, config: dict[str, Any]) -> None:
        """Enter a run, or check that the strategy has the same settings in its other runs.

        What was entered with other settings and has no round so far is replaced.

        Parameters
        ----------
        key : RunKey
        n_rounds : int
            Rounds of the whole run, the start among them.
        config : dict
            Settings of the strategy, fit for JSON.

        Raises
        ------
        ValueError
            If the store has results of this strategy, for this or another seed, with other
            settings. Nothing is entered then.
        """
        config = _as_stored(config)
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        with self._engine.begin() as connection:
            values = {**key._asdict(), "n_rounds": n_rounds, "config": config, "started": now}
            connection.execute(insert(_runs).values(values).on_conflict_do_nothing())
            if not _has_rounds(connection, _is_run(key)):
                replace = update(_runs).where(_is_run(key))
                connection.execute(replace.values(n_rounds=n_rounds, config=config))
            same = (_runs.c.protocol == key.protocol) & (_runs.c.strategy == key.strategy)
            measured = select(_runs.c.config).where(same & _runs.c.id.in_(select(_rounds.c.run)))
            for known in connection.execute(measured).scalars():
                difference = _difference(known, config)
                if difference:
                    raise ValueError(
                        f"{self.path} has results of the strategy {key.strategy!r} with other "
                        f"settings: {difference}. Use another store."
                    )

    def add_round(
        self,
        key: RunKey,
        entry: dict[str, Any],
        environment: dict[str, Any],
        gallery: list[dict[str, Any]] | None = None,
    ) -> None:
        """Write one round; one that is there already stays as it is.

        Parameters
        ----------
        key : RunKey
            A run that was entered with :meth:`add_run`.
        entry : dict
            The columns of :meth:`rounds`, but for those of the key.
        environment : dict
            "versions" (dict), "commit" (str) and "hardware" (dict) of this process.
        gallery : list of dict or None, default=None
            The columns of :meth:`gallery`, but for those of the key and the round.
        """
        with self._engine.begin() as connection:
            run = connection.execute(select(_runs.c.id).where(_is_run(key))).scalar_one()
            values = {
                "run": run,
                "round": int(entry["round"]),
                "n_labeled": int(entry["n_labeled"]),
                **{name: _number(entry[name]) for name in _NUMBERS},
                "recalls": [_number(recall) for recall in entry["recalls"]],
                "class_counts": [int(count) for count in entry["class_counts"]],
                "nothing_learned": int(entry["nothing_learned"]),
                "queried": np.asarray(entry["queried"], dtype="<i8").tobytes(),
                "environment": _environment_id(connection, environment),
            }
            connection.execute(insert(_rounds).values(values).on_conflict_do_nothing())
            for row in gallery or []:
                values = {"run": run, "round": int(entry["round"]), **row}
                connection.execute(insert(_gallery).values(values).on_conflict_do_nothing())

    # -- reading -------------------------------------------------------------------------

    def history(self, key: RunKey) -> list[dict[str, Any]]:
        """What the simulator needs to go on with a run.

        Parameters
        ----------
        key : RunKey

        Returns
        -------
        list of dict
            "round" and "queried" of each round that is there, in their order.
        """
        query = (
            select(_rounds.c.round, _rounds.c.queried)
            .join(_runs)
            .where(_is_run(key))
            .order_by(_rounds.c.round)
        )
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return [{"round": row.round, "queried": _positions(row.queried)} for row in rows]

    def rounds(self) -> pd.DataFrame:
        """One row per round.

        Returns
        -------
        DataFrame
            protocol, balance, strategy, seed, round, n_labeled, accuracy,
            balanced_accuracy, macro_f1, geometric_mean, recalls (one per class),
            class_counts (labels so far per class), queried (int64 positions in the
            training rows, best first), rare_share, query_time and train_time in seconds,
            peak_memory in MiB, vae_agreement, likelihood_agreement, nothing_learned,
            versions, commit and hardware. Sorted by protocol, balance, strategy (in the
            order in which they were first run), seed and round.
        """
        query = (
            select(_runs, _rounds, _environments)
            .select_from(_rounds)
            .join(_runs, _rounds.c.run == _runs.c.id)
            .join(_environments, _rounds.c.environment == _environments.c.id)
        )
        frame = self._frame(query)
        frame["queried"] = [_positions(blob) for blob in frame["queried"]]
        frame["nothing_learned"] = frame["nothing_learned"].astype(bool)
        frame["recalls"] = [
            [np.nan if recall is None else recall for recall in recalls]
            for recalls in frame["recalls"]
        ]
        columns = [*RunKey._fields, "round", "n_labeled", *_NUMBERS, "recalls", "class_counts"]
        columns += ["nothing_learned", "queried", "versions", "commit", "hardware"]
        numbers = dict.fromkeys(_NUMBERS, np.float64)  # a column of nothing but None is object
        return frame.sort_values(["order", "seed", "round"], ignore_index=True)[columns].astype(
            numbers
        )

    def runs(self) -> pd.DataFrame:
        """One row per run.

        Returns
        -------
        DataFrame
            protocol, balance, strategy, seed, n_rounds, n_rounds_done, finished, config,
            started, and versions, commit and hardware of its last round. A run without
            any round is left out.
        """
        done = (
            select(
                _rounds.c.run,
                func.count().label("n_rounds_done"),
                func.max(_rounds.c.round).label("last"),
            )
            .group_by(_rounds.c.run)
            .subquery()
        )
        query = (
            select(_runs, done.c.n_rounds_done, _environments)
            .join(done, done.c.run == _runs.c.id)
            .join(_rounds, (_rounds.c.run == done.c.run) & (_rounds.c.round == done.c.last))
            .join(_environments, _rounds.c.environment == _environments.c.id)
        )
        table = self._frame(query).sort_values(["order", "seed"], ignore_index=True)
        table["finished"] = table["n_rounds_done"] == table["n_rounds"]
        columns = [*RunKey._fields, "n_rounds", "n_rounds_done", "finished", "config", "started"]
        return table[[*columns, "versions", "commit", "hardware"]]

    def protocols(self) -> dict[str, dict[str, Any]]:
        """The protocols, as they were run.

        Returns
        -------
        dict of str to dict
            By name.
        """
        with self._engine.connect() as connection:
            rows = connection.execute(select(_protocols).order_by(_protocols.c.name)).all()
        return {row.name: row.content for row in rows}

    def gallery(self) -> pd.DataFrame:
        """Top rows of the queries that were kept with their pictures.

        Returns
        -------
        DataFrame
            protocol, balance, strategy, seed, round, rank (0 is the first), png (bytes),
            true_label, predicted_label, likelihood (log p(x|yhat_n) of the predicted
            class, in nats), difficulty (p(y_n|yhat_n)), prior (p(yhat_n)) and score.
        """
        frame = self._frame(select(_runs, _gallery).join(_gallery, _gallery.c.run == _runs.c.id))
        columns = [*RunKey._fields, *(c.name for c in _gallery.columns if c.name != "run")]
        return frame.sort_values(["order", "seed", "round", "rank"], ignore_index=True)[columns]

    def _frame(self, query: Any) -> pd.DataFrame:
        """A table of what a query finds; "order" sorts by protocol, balance and strategy."""
        with self._engine.connect() as connection:
            result = connection.execute(query)
            # Columns of one name stand in several tables; they are equal wherever they do.
            frame = pd.DataFrame(result.all(), columns=list(result.keys()))
        frame = frame.loc[:, ~frame.columns.duplicated()]
        appearance = frame.groupby("strategy")["id"].min() if len(frame) else pd.Series(dtype=int)
        frame["order"] = [
            (protocol, balance, int(appearance[strategy]))
            for protocol, balance, strategy in zip(
                frame["protocol"], frame["balance"], frame["strategy"], strict=True
            )
        ]
        return frame


def _has_rounds(connection: Connection, runs: Any) -> bool:
    """Whether any of the runs has a round."""
    query = select(_rounds.c.run).join(_runs, _rounds.c.run == _runs.c.id).where(runs).limit(1)
    return connection.execute(query).first() is not None


def _is_run(key: RunKey) -> Any:
    return (
        (_runs.c.protocol == key.protocol)
        & (_runs.c.balance == key.balance)
        & (_runs.c.strategy == key.strategy)
        & (_runs.c.seed == key.seed)
    )


def _as_stored(content: dict[str, Any]) -> dict[str, Any]:
    """What JSON makes of it: a tuple is a list when it comes back."""
    stored: dict[str, Any] = json.loads(json.dumps(content))
    return stored


def _difference(known: dict[str, Any], config: dict[str, Any]) -> str:
    """The settings in which two configurations differ, in words; "" if they are the same."""
    if known == config:
        return ""
    if ("defaults" in known) != ("defaults" in config):
        return "one of them is from a version that did not record the defaults of its time"
    # The defaults of the time are settings like all others.
    old, new = ({**side.get("defaults", {}), **side} for side in (known, config))
    words = []
    for name in sorted({*old, *new} - {"defaults"}):
        before, after = (repr(side[name]) if name in side else "none" for side in (old, new))
        if before != after:
            words.append(f"{name} {before} instead of {after}")
    return ", ".join(words)


def _environment_id(connection: Connection, environment: dict[str, Any]) -> int:
    connection.execute(insert(_environments).values(environment).on_conflict_do_nothing())
    found = select(_environments.c.id).where(
        (_environments.c.versions == environment["versions"])
        & (_environments.c.commit == environment["commit"])
        & (_environments.c.hardware == environment["hardware"])
    )
    return int(connection.execute(found).scalar_one())


def _number(value: Any) -> float | None:
    """A float for the database, which knows no NaN."""
    return None if value is None or np.isnan(value) else float(value)


def _positions(blob: bytes) -> np.ndarray:
    return np.frombuffer(blob, dtype="<i8").astype(np.int64)

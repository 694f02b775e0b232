"""`skvaball doctor`, and what all commands have in common."""

import importlib.metadata
import re
import sys

import pytest
import torch
from typer.testing import CliRunner

import skvaball
from skvaball import cli, doctor
from skvaball.networks import DeepClassifier

DECLARED = [
    "numpy>=1.26",
    "torch>=999",
    "no-such-package>=1",
    'rich>=1; extra == "cli"',
    'no-such-package; extra == "lost"',
    'numpy; extra == "lost"',
    'rich>=999; extra == "old"',
    'pytest; extra == "test"',
    'skvaball[cli]; extra == "old"',
]


def invoke(*arguments):
    return CliRunner(env={"COLUMNS": "120"}).invoke(cli.app, [str(a) for a in arguments])


def by_name(findings):
    return {finding.name: finding for finding in findings}


@pytest.fixture
def declared(monkeypatch):
    monkeypatch.setattr(doctor, "requires", lambda name: DECLARED)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(doctor, "_query", lambda device: "queried")


def test_versions_are_compared_with_what_is_needed(declared):
    found = by_name(doctor.versions())
    assert list(found) == ["Python", "skvaball", "numpy", "torch", "no-such-package"]
    assert found["skvaball"].detail.startswith(skvaball.__version__)
    assert found["numpy"] == ("numpy", True, importlib.metadata.version("numpy"))
    assert not found["torch"].works
    assert found["torch"].detail.endswith(", but >=999 is needed")
    assert found["no-such-package"] == ("no-such-package", False, "missing, >=1 needed")


def test_an_extra_may_be_missing_but_not_too_old(declared):
    found = by_name(doctor.extras())
    assert list(found) == ["cli", "lost", "old"]
    assert found["cli"].works
    assert found["lost"].works is None
    assert found["lost"].detail.endswith('for all: pip install "skvaball[lost]"')
    assert found["old"].works is False


def test_what_is_not_installed_declares_nothing(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(doctor, "requires", missing)
    assert doctor.extras() == []
    assert len(doctor.versions()) == 2


def test_devices_are_those_of_torch(monkeypatch):
    names = [finding.name for finding in doctor.devices()]
    assert names[0] == "cpu"
    assert ("cuda:0" in names) == torch.cuda.is_available()
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda i: f"GPU {i}")
    memory = type("Properties", (), {"total_memory": 80 * 2**30})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda i: memory)
    found = by_name(doctor.devices())
    assert found["cuda:1"] == ("cuda:1", True, "GPU 1, 80 GiB")
    assert "cuda" not in found


def test_a_working_installation_is_told_so(tmp_path):
    result = invoke("doctor", "--folder", tmp_path)
    assert result.exit_code == 0, result.output
    assert re.search(r"ok +fit and query on cpu: 10 of 200 digits", result.output)
    assert re.search(r"ok +store of results in .*: written and read", result.output)
    assert not list(tmp_path.iterdir())


def test_a_network_that_learns_nothing_is_found(monkeypatch):
    monkeypatch.setattr(DeepClassifier, "predict", lambda self, X: torch.zeros(len(X)).numpy())
    query = doctor._try("query", lambda: doctor._query("cpu"))
    assert query.works is False
    assert "of the digits" in query.detail


def test_a_folder_that_cannot_be_written_fails(quick, tmp_path):
    result = invoke("doctor", "--folder", tmp_path / "none")
    assert result.exit_code == 1
    assert re.search(r"FAILED store of results in .*none: FileNotFoundError", result.output)
    assert result.exception is None or isinstance(result.exception, SystemExit)


def test_without_the_extra_the_store_is_not_tried(quick, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "filelock", None)
    result = invoke("doctor", "--folder", tmp_path)
    assert result.exit_code == 0
    assert re.search(r'needs\s+filelock.*pip\s+install\s+"skvaball\[experiments\]"', result.output)


def test_every_command_has_an_example_in_its_help():
    commands = [command.callback.__name__ for command in cli.app.registered_commands]
    assert "doctor" in commands
    for name in commands:
        result = invoke(name, "--help")
        assert result.exit_code == 0
        assert f"Example: skvaball {name}" in result.output
    top = invoke("--help").output
    assert "--debug" in top
    assert "Example: skvaball" in top


def test_debug_shows_the_traceback(monkeypatch):
    command = ["skvaball", "report", "/no/such/store.db"]
    monkeypatch.setattr("sys.argv", list(command))
    with pytest.raises(SystemExit, match=r"^skvaball: There is no store.*--debug shows where"):
        cli.main()
    monkeypatch.setattr("sys.argv", [*command, "--debug"])
    with pytest.raises(FileNotFoundError):
        cli.main()

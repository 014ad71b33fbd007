from __future__ import annotations

import re
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from support.build import needs
from syncsvc.fleet.worker import HARD_STOP
from syncsvc.notify.secrets_and_signatures import file_name
from syncsvc.settings.sources import SECRETS

TREE = Path(__file__).parents[2]
UNITS = TREE / "deploy" / "systemd"
OPERATIONS = (TREE / "docs" / "operations.md").read_text()
WEBHOOKS = (TREE / "docs" / "webhooks.md").read_text()
SERVICES = sorted(UNITS.glob("*.service"))
INSTALLED = "/opt/syncsvc/bin/syncsvc"
SHARED = "# --- Sandboxing"
SECURITY = ("security", "--no-pager", "--offline=true", "--threshold=12")  # tenths
each_service = pytest.mark.parametrize("path", SERVICES, ids=[path.stem for path in SERVICES])


def test_systemd_finds_no_fault_with_the_units(tmp_path: Path) -> None:
    """
    `systemd-analyze verify` accepts every unit and says nothing.
    """
    for path in UNITS.glob("syncsvc*"):
        unit = path.read_text().replace(INSTALLED, "/bin/true")  # what is started has to be there
        (tmp_path / path.name).write_text(unit)

    told = _analyze("verify", *map(str, sorted(tmp_path.iterdir())))

    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")


@each_service
def test_a_service_is_shut_in(path: Path) -> None:
    """
    `systemd-analyze security` rates every service's exposure at 1.2 or lower.
    """
    told = _analyze(*SECURITY, str(path))

    assert told.returncode == 0, told.stdout + told.stderr


@each_service
def test_services_are_shut_in_alike(path: Path) -> None:
    """
    What may be reached is the same for every service.
    """
    assert _reach(UNITS / "syncsvc.service") == _reach(path)


@each_service
def test_every_secret_can_be_a_credential(path: Path) -> None:
    """
    Each setting that may be a credential file is loaded under the name that the settings look for.
    """
    loaded = re.findall(r"^LoadCredential=(\w+):syncsvc\.(\w+)$", path.read_text(), re.MULTILINE)

    assert [(name, name) for name in SECRETS] == loaded


def test_the_worker_is_given_time_to_stop() -> None:
    """
    The run under way has its 10 s before systemd kills, and a wrong setting is not retried.
    """
    unit = (UNITS / "syncsvc.service").read_text()

    assert "Type=notify" in unit
    assert "RestartPreventExitStatus=2" in unit
    assert int(re.findall(r"^TimeoutStopSec=(\d+)s$", unit, re.MULTILINE)[0]) > 10


def test_a_fleet_comes_back_and_may_end_by_itself() -> None:
    """
    Its worker has longer to stop than it takes at most, and is restarted however it ended.

    But for a wrong setting or an old schema. The instance is its HTTP port, so that several run on
    one host.
    """
    unit = (UNITS / "syncsvc-fleet@.service").read_text()

    assert "\nType=notify\n" in unit
    assert "\nWatchdogSec=2min\n" in unit
    assert int(re.findall(r"^TimeoutStopSec=(\d+)s$", unit, re.MULTILINE)[0]) > HARD_STOP
    assert "\nRestart=always\n" in unit
    assert "\nRestartPreventExitStatus=2\n" in unit
    assert "\nEnvironment=SYNCSVC_HTTP_PORT=%i\n" in unit
    assert re.findall(r"^ExecStart=(.+)$", unit, re.MULTILINE) == [f"{INSTALLED} run --fleet"]


def test_a_reload_needs_no_kill_program() -> None:
    """
    A minimal Debian has no /bin/kill, so the shell's own sends SIGHUP to the worker.
    """
    unit = (UNITS / "syncsvc.service").read_text()
    [reload] = re.findall(r"^ExecReload=(.+)$", unit, re.MULTILINE)
    shell, flag, script = shlex.split(reload)

    inherited = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored under nohup, for example
    try:
        with subprocess.Popen(["/bin/sleep", "60"]) as worker:
            subprocess.run([shell, flag, script], env={"MAINPID": str(worker.pid)}, check=True)

            assert worker.wait(10) == -signal.SIGHUP
    finally:
        signal.signal(signal.SIGHUP, inherited)


def test_the_drop_ins_of_the_documentation_fit(tmp_path: Path) -> None:
    """
    What docs/operations.md has an operator add to the units is accepted, and shut in as they are.
    """
    shown = re.findall(r"^```ini\n(.+?)^```", OPERATIONS, re.MULTILINE | re.DOTALL)
    units = ("syncsvc-sync.service", "syncsvc.service", "syncsvc-migrate.service")
    for unit, written in zip(units, shown, strict=True):
        path = tmp_path / unit
        path.write_text(f"{(UNITS / unit).read_text()}\n{written}".replace(INSTALLED, "/bin/true"))

        assert _analyze("verify", str(path)).stderr == ""
        assert _analyze(*SECURITY, str(path)).returncode == 0


def test_the_secret_of_an_endpoint_reaches_the_unit(tmp_path: Path) -> None:
    """
    The drop-in of docs/webhooks.md loads the credential by the name that is looked for.
    """
    (written,) = re.findall(r"^```ini\n(.+?)^```", WEBHOOKS, re.MULTILINE | re.DOTALL)
    for path in SERVICES:
        unit = tmp_path / path.name
        unit.write_text(f"{path.read_text()}\n{written}".replace(INSTALLED, "/bin/true"))

        assert _analyze("verify", str(unit)).stderr == ""
    assert f"LoadCredential={file_name('ops')}:syncsvc.{file_name('ops')}\n" in written


def _analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [needs("systemd-analyze"), *arguments], check=False, capture_output=True, text=True
    )


def _reach(path: Path) -> str:
    """
    The settings that shut a service in, without what comes after them.
    """
    return path.read_text().partition(SHARED)[2].partition("\n[Install]")[0].strip()

"""The supervisor: the command's code and signals, and that no process of it is left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from softplus.lab.scripts import launching, supervisor

# Starts a grandchild in a session of its own, as a daemon has, writes both process ids, and waits.
FAMILY = """
import os, signal, subprocess, sys, time
{first}
grandchild = subprocess.Popen(["sleep", "60"], start_new_session=True)
with open(sys.argv[1] + ".new", "w") as file:
    file.write(f"{{os.getpid()}} {{grandchild.pid}}")
os.rename(sys.argv[1] + ".new", sys.argv[1])
{last}
"""


@pytest.fixture
def family(tmp_path):
    """Return a function that starts a supervised script, and returns it with its process ids."""
    started = []

    def start(first="", last="time.sleep(60)", starter=subprocess.Popen):
        file = tmp_path / "processes"
        command = [sys.executable, "-c", FAMILY.format(first=first, last=last), str(file)]
        started.append(starter(launching.supervised(command)))
        while not file.exists():
            time.sleep(0.01)
        return started[-1], [int(each) for each in file.read_text().split()]

    yield start
    for process in started:
        process.kill()


def gone(process: int) -> bool:
    """Whether a process has ended, within five seconds."""
    for _ in range(500):
        stat = Path(f"/proc/{process}/stat")
        try:
            if stat.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("code", [0, 7])
def test_the_code_is_the_command_s(code):
    command = launching.supervised([sys.executable, "-c", f"raise SystemExit({code})"])
    assert subprocess.run(command, check=False).returncode == code


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_it_leaves_by_the_signal_that_ended_the_command(signum):
    source = f"import os; os.kill(os.getpid(), {int(signum)})"
    command = launching.supervised([sys.executable, "-I", "-c", source])
    ran = subprocess.run(command, check=False, capture_output=True)
    assert ran.returncode == -signum


def test_what_the_script_leaves_running_ends_with_it(family):
    process, (_, grandchild) = family(last="sys.exit(3)")
    assert process.wait() == 3
    assert gone(grandchild)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_told_to_end_it_ends_all(family, signum):
    process, members = family()
    process.send_signal(signum)
    assert process.wait() == -signum
    assert all(gone(each) for each in members)


def test_who_does_not_listen_is_killed(family, monkeypatch):
    monkeypatch.setattr(launching, "_GRACE", 0.2)
    process, members = family(first="signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    process.terminate()
    assert process.wait() == -signal.SIGTERM
    assert all(gone(each) for each in members)


def test_a_parent_killed_leaves_nothing_behind(family):
    """The parent is a process that starts the supervisor, and gets kill -9."""
    source = (
        "import os, subprocess, sys, time\n"
        "command = sys.argv[1:]; command[4] = str(os.getpid())\n"
        "subprocess.Popen(command); time.sleep(60)"
    )
    parent, members = family(
        starter=lambda command: subprocess.Popen([sys.executable, "-c", source, *command])
    )
    parent.kill()
    assert all(gone(each) for each in members)


def test_a_supervisor_killed_takes_the_script_along(family):
    process, (child, grandchild) = family()
    process.kill()
    assert gone(child)
    os.kill(grandchild, signal.SIGKILL)  # nobody else can know of it


def test_a_supervisor_whose_parent_is_gone_already_runs_nothing(tmp_path):
    file = tmp_path / "ran"
    command = launching.supervised(["touch", str(file)])
    command[4] = "1"  # as an orphan sees its parent
    assert subprocess.run(command, check=False).returncode != 0
    assert not file.exists()


def test_it_sees_descendants_and_no_others():
    child = subprocess.Popen(["sleep", "60"])  # noqa: S607
    try:
        found = set(supervisor._descendants())
        assert child.pid in found
        assert not {os.getpid(), os.getppid(), 1} & found
    finally:
        child.kill()
        child.wait()

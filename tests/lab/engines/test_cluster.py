"""The Ray engine of `softplus.lab.engines`: the same bits as here, and a worker may be killed."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest

from softplus.lab import engines
from softplus.lab.errors import UsageError

ray = pytest.importorskip("ray", reason="the extra `ray`, which `make test-slow` installs")

SMALL = ["digits", "--seeds", "2", "--lr", "1e-3,1e-2"]


@pytest.fixture
def cluster(monkeypatch):
    """Start a Ray cluster of two workers; return its address and the mark of its processes."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    mark = uuid.uuid4().hex
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    environment = {**os.environ, "SOFTPLUS_TEST": mark}
    command = ["start", "--head", "--num-cpus=2", f"--port={port}", "--include-dashboard=false"]
    program = [sys.executable, "-m", "ray.scripts.scripts"]
    head = subprocess.Popen(
        [*program, *command, "--node-ip-address=127.0.0.1", "--block"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: listens(port))
    yield f"127.0.0.1:{port}", mark
    head.terminate()
    head.wait(60)
    for process in marked(mark):
        os.kill(process, signal.SIGKILL)


def listens(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def wait_until(condition, seconds=180):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def marked(mark, words=b""):
    """Return the processes that were started with this mark in the environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            mine = mark.encode() in (folder / "environ").read_bytes()
            if mine and words in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def compare(out, *options):
    """Start a comparison in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "softplus.cli", "compare", *SMALL, "--out", out, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def outcomes(out):
    """Return what every trial of a study came to, its times aside."""
    results = json.loads((out / "results.json").read_text())
    return [
        {name: value for name, value in trial.items() if not name.startswith("seconds")}
        for arm in results["arms"]
        for trial in arm["trials"]
    ]


@pytest.mark.slow
def test_a_cluster_that_loses_a_worker_gives_the_bits_that_this_machine_gives(tmp_path, cluster):
    address, mark = cluster
    there = compare(tmp_path / "there", "--engine", "ray", "--address", address)
    wait_until(lambda: marked(mark, b"ray::_on_one_thread"))
    os.kill(marked(mark, b"ray::_on_one_thread")[0], signal.SIGKILL)
    said, _ = there.communicate(timeout=400)
    assert there.returncode == 0, said
    here = compare(tmp_path / "here", "--jobs", "1")
    said, _ = here.communicate(timeout=400)
    assert here.returncode == 0, said
    assert outcomes(tmp_path / "there") == outcomes(tmp_path / "here")
    assert len(outcomes(tmp_path / "there")) == 4


@pytest.mark.slow
def test_a_cluster_of_its_own_ends_with_the_study(tmp_path, monkeypatch):
    mark = uuid.uuid4().hex
    monkeypatch.setenv("SOFTPLUS_TEST", mark)
    study = compare(tmp_path, "--engine", "ray", "--jobs", "2")
    wait_until(lambda: marked(mark, b"raylet"))
    said, _ = study.communicate(timeout=400)
    assert study.returncode == 0, said
    wait_until(lambda: not marked(mark))


# What is refused


def refused(words, **arguments):
    with pytest.raises(UsageError, match=words) as refusal:
        engines.choose("ray", **arguments)
    assert len(str(refusal.value).splitlines()) == 1


def test_a_cluster_that_is_not_there_is_one_line():
    refused(
        r"127\.0\.0\.1:1 cannot be reached .*refused.*: start the cluster", address="127.0.0.1:1"
    )


def test_a_server_of_another_kind_is_no_cluster():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def answer():
            connection, _ = server.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        refused("answers, but is no Ray cluster's", address=f"127.0.0.1:{port}")
        thread.join()


@pytest.mark.parametrize("address", ["head", "head:port"])
def test_an_address_names_a_port(address):
    refused("--address must be host:port", address=address)


@pytest.mark.parametrize("gpus", [-1.0, 1.5])
def test_gpus_are_a_share_of_one_or_whole_ones(gpus):
    refused("--gpus must be a share of one GPU or a whole number", gpus=gpus)

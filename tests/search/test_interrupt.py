"""Signals: the first one asks, the second one ends, and what is not ours is left alone."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import types

import pytest

from autoonco.search import interrupt, workers
from autoonco.search.interrupt import Allowance, deaf_to_ctrl_c, leave_if_asked, stop_asked, watching
from autoonco.search.trial import FoldTask, Status, Task
from autoonco.search.workers import WorkerPool

BOTH = (signal.SIGINT, signal.SIGTERM)


def send(number):
    os.kill(os.getpid(), number)
    time.sleep(0)  # Python's handlers run between two steps of the main thread


@pytest.fixture(autouse=True)
def _usual_handlers():
    before = [
        signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.signal(signal.SIGTERM, signal.SIG_DFL),
    ]
    yield
    after = [signal.getsignal(number) for number in BOTH]
    for number, handler in zip(BOTH, before, strict=True):
        signal.signal(number, handler)
    assert after == [signal.default_int_handler, signal.SIG_DFL], "handlers were not put back"


@pytest.mark.parametrize("first", BOTH)
@pytest.mark.parametrize("second", BOTH)
def test_the_first_signal_asks_and_the_second_ends(monkeypatch, first, second):
    monkeypatch.setattr(interrupt, "_SAME_PRESS_S", 0.0)
    said, after = [], []

    def run():
        with watching(said.append) as stop:
            assert not stop_asked()
            send(first)
            assert stop_asked()
            assert stop.asked_s <= time.monotonic()
            after.append("asked")
            send(second)
            after.append("still here")

    with pytest.raises(KeyboardInterrupt):
        run()
    assert after == ["asked"]
    assert said == [interrupt.SENTENCE]
    assert not stop_asked()


def test_one_press_that_arrives_twice_is_one(monkeypatch):
    monkeypatch.setattr(interrupt, "_SAME_PRESS_S", 60.0)
    said = []
    with watching(said.append):
        send(signal.SIGINT)
        send(signal.SIGINT)
        assert stop_asked()
    assert len(said) == 1


def test_while_a_run_is_being_ended_no_signal_comes_between(monkeypatch):
    monkeypatch.setattr(interrupt, "_SAME_PRESS_S", 0.0)
    ended = []

    def run():
        with watching(lambda _: None):
            send(signal.SIGINT)
            try:
                send(signal.SIGINT)
            finally:  # as pools close
                send(signal.SIGINT)
                send(signal.SIGTERM)
                ended.append("all workers")

    with pytest.raises(KeyboardInterrupt):
        run()
    assert ended == ["all workers"]


def test_signals_that_somebody_else_cares_for_are_left_alone(monkeypatch):
    theirs = []
    monkeypatch.setattr(interrupt, "_SAME_PRESS_S", 0.0)
    mine = signal.signal(signal.SIGTERM, lambda number, _: theirs.append(number))
    with watching(lambda _: None):
        send(signal.SIGTERM)
        assert theirs == [signal.SIGTERM]
        assert not stop_asked()
        send(signal.SIGINT)  # this one is nobody's
        assert stop_asked()
    signal.signal(signal.SIGTERM, mine)


def test_in_a_notebook_and_in_another_thread_nothing_is_installed(monkeypatch):
    shell = types.SimpleNamespace(kernel=object())
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
        with pytest.raises(KeyboardInterrupt), watching():
            send(signal.SIGINT)
    found = []

    def elsewhere():
        with watching() as stop:
            found.extend([signal.getsignal(signal.SIGINT), stop_asked()])
            stop.ask()
            found.append(stop_asked())

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler, False, True]
    assert not stop_asked()


def test_a_block_within_a_block_is_asked_with_it():
    with watching(lambda _: None) as outer:
        with watching(pytest.fail) as inner:
            assert inner is outer
            send(signal.SIGINT)
            assert stop_asked()
        assert stop_asked()
        with pytest.raises(KeyboardInterrupt):
            leave_if_asked()
    leave_if_asked()


def test_time_that_began_before_the_wish_ends_with_it_and_later_time_does_not():
    with watching() as stop:
        before = Allowance(60.0)
        assert not before.is_over()
        stop.ask()
        after = Allowance(60.0)
        assert (before.is_over(), before.was_cut()) == (True, True)
        assert (after.is_over(), after.was_cut()) == (False, False)
        assert 59 < after.left_s() <= 60
        assert Allowance(-1.0).is_over()


@pytest.mark.alone
def test_workers_outlive_what_a_terminal_and_a_batch_system_send_to_all_processes(toy, setup, problem):
    toy.setenv("TOY_SECONDS", "0.5")
    task = Task(
        id=1, family="toy", config={"act": "work", "strength": 0.3},
        fidelity=problem.plan("toy", {"act": "work", "strength": 0.3}, 1.0),
        fold=FoldTask(index=0, train=tuple(range(30)), test=tuple(range(30, 60))),
        fingerprint=problem.fingerprint.to_json(), seed=0, checkpoint=None, gpu=False,
    )  # fmt: skip
    with WorkerPool(setup) as pool:
        pool.submit(task, timeout_s=120)
        assert ended_in(pool).status is Status.SUCCESS  # it is up
        pool.submit(task, timeout_s=120)
        time.sleep(0.1)
        for number in BOTH:
            os.kill(pool._slots[0].worker.process.pid, number)
        found = ended_in(pool)
        assert found.status is Status.SUCCESS, found.reason


def test_a_worker_outlives_sigterm_also_while_it_still_imports():
    before, _, imports = workers._ENTRY.partition("from autoonco")
    assert imports
    code = before + "import os; os.kill(os.getpid(), signal.SIGTERM); print('still here')"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stdout == "still here\n", done


def ended_in(pool):
    while True:
        for ended in pool.poll():
            return ended


def _deaf(connection):
    with deaf_to_ctrl_c():
        send(signal.SIGINT)
        connection.send(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)
    connection.send(signal.getsignal(signal.SIGINT) is signal.default_int_handler)


def test_a_process_of_a_cluster_on_this_machine_is_deaf_to_the_terminals_ctrl_c():
    with deaf_to_ctrl_c():  # this one is nobody's child
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_deaf, args=(theirs,))
    process.start()
    theirs.close()
    assert [ours.recv(), ours.recv()] == [True, True]
    process.join()
    assert process.exitcode == 0

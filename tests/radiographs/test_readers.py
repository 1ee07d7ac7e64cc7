"""A file that takes too long, or takes its process along, is given up; the next one is read."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from radiographs.readers import CutOffError, Readers, in_order, readers


@pytest.fixture
def pool() -> Readers:
    pool = Readers()
    yield pool
    pool.end()


def test_work_is_done_in_another_process_which_is_used_again(pool: Readers) -> None:
    first = pool.do(os.getpid)
    assert first != os.getpid()
    assert pool.do(os.getpid) == first
    assert pool.do(divmod, 7, 2) == (3, 1)


def test_what_takes_too_long_is_ended_and_so_is_its_process(pool: Readers) -> None:
    stuck = pool.do(os.getpid)
    begun = time.monotonic()
    with pytest.raises(CutOffError, match=r"^took longer than 0\.3 seconds$"):
        pool.do(time.sleep, 60, seconds=0.3)
    assert time.monotonic() - begun < 10
    assert not psutil.pid_exists(stuck)
    assert pool.do(os.getpid) != stuck


def test_what_holds_the_interpreter_in_c_is_ended_too(pool: Readers) -> None:
    pool.do(os.getpid)
    with pytest.raises(CutOffError, match="took longer"):
        pool.do(pow, 3, 10**9, seconds=0.5)  # one call that gives no other thread of its process a turn


def test_loading_libraries_is_no_files_time(pool: Readers) -> None:
    assert pool.do(os.getpid, seconds=0.2)


@pytest.mark.parametrize(("arguments", "words"), [((os._exit, 3), "exit code 3"), ((os.abort,), "signal 6")])
def test_what_takes_its_process_along_is_named(pool: Readers, arguments: tuple, words: str) -> None:
    with pytest.raises(CutOffError, match=words):
        pool.do(*arguments)
    assert pool.do(divmod, 7, 2) == (3, 1)


def test_errors_come_back_as_they_are(pool: Readers) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        pool.do(int, "x")
    assert pool.do(int, "7") == 7


def test_each_thread_has_a_process_of_its_own(pool: Readers) -> None:
    with ThreadPoolExecutor(3) as threads:
        begun = time.monotonic()
        list(threads.map(lambda _: pool.do(time.sleep, 0.5), range(3)))
        list(threads.map(lambda _: pool.do(time.sleep, 0.5), range(3)))
        assert list(in_order(threads, lambda k: pool.do(abs, k), range(-20, 20), 5)) == [abs(k) for k in range(-20, 20)]
    assert time.monotonic() - begun < 60


def test_printing_is_no_answer(pool: Readers) -> None:
    assert pool.do(os.write, 1, b"\x80\x04noise") == 7
    assert pool.do(print, "more noise") is None
    assert pool.do(int, "7") == 7


def test_a_process_ends_with_the_one_that_started_it() -> None:
    import subprocess
    import sys

    program = "import os, signal; from radiographs.readers import readers; print(readers().do(os.getpid), flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    reader = int(done.stdout)
    until = time.monotonic() + 20
    while (
        psutil.pid_exists(reader)
        and psutil.Process(reader).status() != psutil.STATUS_ZOMBIE
        and time.monotonic() < until
    ):
        time.sleep(0.1)
    assert not psutil.pid_exists(reader) or psutil.Process(reader).status() == psutil.STATUS_ZOMBIE


def test_interrupts_are_the_parents_affair(pool: Readers) -> None:
    reader = pool.do(os.getpid)
    threading.Timer(0.2, os.kill, (reader, signal.SIGINT)).start()
    pool.do(time.sleep, 0.6)
    assert pool.do(os.getpid) == reader


def test_one_pool_serves_the_whole_program() -> None:
    assert readers() is readers()

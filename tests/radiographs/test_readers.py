"""A file that takes too long, or takes its process along, is given up; the next one is read."""

import importlib
import os
import pickle
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import numpy as np
import psutil
import pytest
from radiographs.preprocess import Preprocessing
from radiographs.readers import CutOffError, Readers, in_order, readers


@pytest.fixture
def pool() -> Readers:
    pool = Readers()
    yield pool
    pool.end()


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module that the processes find."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    return importlib.import_module("reader_work")


def test_work_is_done_in_another_process_which_is_used_again(pool: Readers) -> None:
    first = pool.do(os.getpid)
    assert first != os.getpid()
    assert pool.do(os.getpid) == first
    assert pool.do(divmod, 7, 2) == [3, 1]


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
    assert pool.do(divmod, 7, 2) == [3, 1]


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


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, target: str) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return open, (self.target, "w")


def test_arguments_and_answers_arrive_as_the_types_that_the_function_names(pool: Readers, work: ModuleType) -> None:
    seen, side = pool.do(work.look, Path("a/\udcff.png"), (Preprocessing(side=64),), b"\x00\xff\n")
    assert (seen.path, seen.tags, side) == (Path("a/\udcff.png"), {"a": "1"}, 64)
    np.testing.assert_array_equal(seen.pixels, np.full((64, 2), 3, np.uint16))
    assert seen.pixels.dtype == np.uint16


def test_an_answer_of_another_type_is_refused_and_its_process_ended(pool: Readers, work: ModuleType) -> None:
    with pytest.raises(CutOffError, match=r"^made its reader return an invalid result$"):
        pool.do(work.lie)
    assert pool.do(int, "7") == 7


def test_a_pickle_in_the_pipe_is_refused_unopened(pool: Readers, tmp_path: Path) -> None:
    target = tmp_path / "went-off"
    for answer in (pickle.dumps(Bomb(str(target))), pickle.dumps((True, Bomb(str(target))), 0)):
        assert pool.do(os.getpid)
        with pytest.raises(CutOffError, match="invalid result"):
            pool.do(os.write, 3, answer)  # where the process writes its answers
    assert not target.exists()


def test_an_error_is_one_that_the_functions_module_knows(pool: Readers, work: ModuleType) -> None:
    with pytest.raises(work.OwnError, match=r"^mine$"):
        pool.do(work.fail, "own")
    with pytest.raises(FileNotFoundError) as caught:
        pool.do(work.fail, "file")
    assert (caught.value.errno, caught.value.strerror, caught.value.filename) == (2, "No such file", "x.png")
    with pytest.raises(RuntimeError, match=r"^LocalError: nobody knows it$"):
        pool.do(work.fail, "local")


def test_what_cannot_be_sent_is_the_callers_mistake(pool: Readers) -> None:
    with pytest.raises(TypeError, match="a set cannot be sent"):
        pool.do(len, {1, 2})
    assert pool.do(int, "7") == 7

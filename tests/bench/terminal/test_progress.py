"""What the user sees while cells run."""

import io

import pytest
from rich.console import Console

from bench.store.run_folder import Cell
from bench.terminal.progress import Progress


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_names_cell_epoch_score_and_time(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.0, 10.0, 10.0, 10.0, 10.0, 10.0] + [10.0] * 50)
    monkeypatch.setattr("bench.terminal.progress.time.perf_counter", lambda: next(clock))
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120)
    view = Progress(console)
    cells = [Cell("net", 0, 0), Cell("net", 0, 1), Cell("net", 0, 2)]
    with view.running(cells, kept=4):
        view.cell_starts(cells[0])
        view.epoch({"epoch": 1, "epochs": 3, "train_loss": 0.5, "valid_loss": 0.25, "seconds": 2.0})
        shown = view.now
        view.cell_ends(cells[0], {"status": "done", "reason": None}, {"accuracy": 0.75})
    text = console.file.getvalue()
    assert "4 cells are in the folder already; 3 to do" in text
    assert "net r0-f0: accuracy 0.750" in text
    assert "epoch 1/3: train loss 0.500, valid loss 0.250" in (shown if terminal else text)


def test_time_left_goes_by_the_models_own_cells() -> None:
    view = Progress(Console(file=io.StringIO()))
    view.cells = [Cell("quick", 0, 0), Cell("slow", 0, 0), Cell("slow", 0, 1), Cell("slow", 0, 2)]
    view.finished = [(view.cells[0], {}, {}, 1.0), (view.cells[1], {}, {}, 60.0)]
    assert view._left().endswith("about 2:00 left")

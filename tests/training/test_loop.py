from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from reenact.errors import ModelError, ReenactError
from reenact.training.loop import LoopOptions, choose_precision, run, train
from support.program import repository
from support.tiny_recipe import TinyRecipe, options


def test_a_resumed_training_goes_the_same_way(tmp_path: Path) -> None:
    whole = TinyRecipe()
    train(whole, options(tmp_path / "whole", 20))
    first, second = TinyRecipe(interrupt_at=8), TinyRecipe()
    outcome = run(first, options(tmp_path / "parts", 20))
    assert (outcome.step, outcome.interrupted) == (8, True)
    assert len(first.losses) == 8
    outcome = run(second, options(tmp_path / "parts", 20), resume=True)
    assert (outcome.step, outcome.interrupted) == (20, False)
    assert first.losses + second.losses == pytest.approx(whole.losses, abs=1e-6)
    ours = load_file(tmp_path / "parts" / "state.safetensors")
    theirs = load_file(tmp_path / "whole" / "state.safetensors")
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value)


def test_it_stops_when_asked_with_its_state_saved(tmp_path: Path) -> None:
    recipe = TinyRecipe()
    outcome = run(recipe, options(tmp_path, 20), stop=lambda: len(recipe.losses) == 3)
    assert (outcome.step, outcome.interrupted) == (3, True)
    resumed = TinyRecipe()
    run(resumed, options(tmp_path, 20), resume=True)
    assert len(resumed.losses) == 17


def test_training_learns_and_keeps_the_best(tmp_path: Path) -> None:
    recipe = TinyRecipe()
    best = train(recipe, options(tmp_path, 60))
    assert recipe.losses[-1] < recipe.losses[0] / 2
    rows = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert best["score"] == max(row["score"] for row in rows)
    assert "figures" in json.loads((tmp_path / "best.safetensors").read_text())


def test_progress_tells_losses_and_time_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(TinyRecipe(), options(tmp_path, 12))
    told = capsys.readouterr().err
    assert "step 12" in told
    assert "0 min left  l1 0." in told


def test_curves_are_written_where_tensorboard_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("torch.utils.tensorboard", exc_type=ImportError)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(TinyRecipe(), options(tmp_path, 20))
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [point.step for point in events.Scalars("loss/l1")] == [10, 20]
    assert [point.step for point in events.Scalars("val/score")] == [5, 10, 15, 20, 20]


def test_the_budget_of_minutes_ends_it(tmp_path: Path) -> None:
    recipe = TinyRecipe()
    spent = LoopOptions(tmp_path, steps=10**6, minutes=0.02, validate_every=10**6, workers=0)
    train(recipe, spent)
    assert 0 < len(recipe.losses) < 10**5
    assert (tmp_path / "best.safetensors").exists()


def test_an_earlier_training_is_not_overwritten(tmp_path: Path) -> None:
    train(TinyRecipe(), options(tmp_path, 5))
    with pytest.raises(ReenactError, match="--resume"):
        train(TinyRecipe(), options(tmp_path, 5))


def test_nothing_to_resume_and_a_damaged_state_are_told(tmp_path: Path) -> None:
    with pytest.raises(ReenactError, match="no training to resume"):
        train(TinyRecipe(), options(tmp_path / "empty", 5), resume=True)
    (tmp_path / "state.safetensors").write_bytes(b"not a model")
    with pytest.raises(ModelError, match="damaged"):
        train(TinyRecipe(), options(tmp_path, 5), resume=True)


def test_an_unwritable_folder_is_told_before_any_step(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    recipe = TinyRecipe()
    with pytest.raises(ReenactError, match="cannot write"):
        train(recipe, options(tmp_path / "file", 5))
    assert recipe.losses == []


def test_precision_follows_the_wish() -> None:
    assert choose_precision("cpu", "float32") == "float32"
    assert choose_precision("cpu", "auto") in {"float32", "bfloat16"}


FULL_DISK = """
import resource, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from support.tiny_recipe import TinyRecipe, options
from reenact.errors import ReenactError
from reenact.training.loop import train
folder = Path(sys.argv[1])
train(TinyRecipe(), options(folder, 5))
resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))
try:
    train(TinyRecipe(), options(folder, 20), resume=True)
except ReenactError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on files there")
def test_a_full_disk_is_told_and_the_last_state_stays(tmp_path: Path) -> None:
    code = FULL_DISK.format(tests=str(repository() / "tests"))
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "free some space and go on" in done.stdout
    assert [file.name for file in tmp_path.glob("*.part")] == []
    resumed = TinyRecipe()
    run(resumed, options(tmp_path, 8), resume=True)
    assert len(resumed.losses) == 3


def test_another_networks_state_is_refused(tmp_path: Path) -> None:
    train(TinyRecipe(), options(tmp_path, 5))
    other = TinyRecipe()
    other.networks["net"] = nn.Conv2d(3, 3, 1)
    with pytest.raises(ReenactError, match="another network"):
        train(other, options(tmp_path, 5), resume=True)


TWO_PROCESSES = """
import json, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch.distributed
from support.tiny_recipe import TinyRecipe, options
from reenact.training import loop
recipe = TinyRecipe()
rank = int(__import__("os").environ["RANK"])
for value in recipe.networks["net"].state_dict().values():
    value.add_(rank)  # they begin apart
loop.run(recipe, options(Path(sys.argv[1]), 6))
weights = [float(p.detach().double().sum()) for p in recipe.networks["net"].parameters()]
Path(sys.argv[1], f"rank{{rank}}.json").write_text(json.dumps([weights, recipe.losses]))
"""


def test_two_processes_train_one_network(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    code = TWO_PROCESSES.format(tests=str(repository() / "tests"))
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)],
            env={**os.environ, **where, "RANK": str(rank), "OMP_NUM_THREADS": "1"},
        )
        for rank in range(2)
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    (weights, losses), (others, other_losses) = (
        json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2)
    )
    assert weights == pytest.approx(others, abs=1e-9)
    assert losses != pytest.approx(other_losses, abs=1e-4), "both saw the same batches"
    rows = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [5, 6], "only the first one validates"

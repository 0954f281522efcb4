from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from reenact.errors import ModelError, ReenactError
from reenact.training import loop
from reenact.training.log import TrainingLog
from reenact.training.loop import LoopOptions, cosine, train
from support.program import repository
from support.tiny_recipe import TinyRecipe, options

TESTS = repository() / "tests"


def history(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def test_a_stopped_and_resumed_training_makes_the_same_weights(tmp_path: Path) -> None:
    """Losses, learning rates, averaged weights and optimizers go on as if never stopped."""
    whole, first, second = TinyRecipe(), TinyRecipe(), TinyRecipe()
    train(whole, options(tmp_path / "whole", 20))
    outcome = train(first, options(tmp_path / "parts", 20), stop=lambda: len(first.losses) == 8)
    assert (outcome.step, outcome.stopped) == (8, True)
    assert len(first.losses) == 8
    outcome = train(second, options(tmp_path / "parts", 20), resume=True)
    assert (outcome.step, outcome.stopped) == (20, False)
    assert first.losses + second.losses == pytest.approx(whole.losses, abs=1e-6)
    ours = load_file(tmp_path / "parts" / "state.safetensors")
    theirs = load_file(tmp_path / "whole" / "state.safetensors")
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value)


def test_a_training_can_be_stopped_before_its_first_step(tmp_path: Path) -> None:
    recipe = TinyRecipe()
    outcome = train(recipe, options(tmp_path, 20), stop=lambda: True)
    assert (outcome.step, outcome.stopped) == (0, True)
    assert recipe.losses == []
    resumed = TinyRecipe()
    assert train(resumed, options(tmp_path, 20), resume=True).step == 20


@pytest.mark.parametrize("where", ["step", "validate"])
def test_an_interrupt_ends_it_at_once_with_the_best_that_was_saved(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In step 8, or in the validation after step 10; the one before was after step 5."""
    recipe = TinyRecipe()
    work, calls = getattr(recipe, where), itertools.count(1)

    def interrupted(*arguments: Any) -> Any:
        if next(calls) == {"step": 8, "validate": 2}[where]:
            raise KeyboardInterrupt
        return work(*arguments)

    monkeypatch.setattr(recipe, where, interrupted)
    outcome = train(recipe, options(tmp_path, 20))
    assert outcome.stopped
    assert outcome.best.keys() == {"score"}
    assert json.loads((tmp_path / "best.safetensors").read_text())["steps"] == "5"
    assert train(TinyRecipe(), options(tmp_path, 20), resume=True).step == 20


def test_an_interrupt_before_anything_was_saved_is_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = TinyRecipe()
    monkeypatch.setattr(recipe, "step", lambda *_: signal.raise_signal(signal.SIGINT))
    # A shell lets what it runs in the background ignore the signal.
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            train(recipe, options(tmp_path, 20))
    finally:
        signal.signal(signal.SIGINT, inherited)


def test_an_optimizer_may_rest_while_its_rate_follows_the_schedule(tmp_path: Path) -> None:
    recipe = TinyRecipe()
    resting = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)
    recipe.optimizers["resting"] = resting
    recipe.schedules = {"resting": lambda progress: 1 - progress}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(recipe, options(tmp_path, 4))
    assert resting.param_groups[0]["lr"] == 0


def test_training_learns_and_keeps_the_best(tmp_path: Path) -> None:
    recipe = TinyRecipe()
    best = train(recipe, options(tmp_path, 60)).best
    assert recipe.losses[-1] < recipe.losses[0] / 2
    rows = history(tmp_path)
    assert best["score"] == max(row["score"] for row in rows)
    facts = json.loads((tmp_path / "best.safetensors").read_text())
    assert json.loads(facts["figures"])["score"] == pytest.approx(best["score"], abs=1e-4)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_diverged_training_ends_with_the_best_that_was_saved(
    value: float, tmp_path: Path
) -> None:
    class Diverging(TinyRecipe):
        def step(self, batch: Mapping[str, Any], progress: float) -> dict[str, float]:
            losses = super().step(batch, progress)
            return losses if len(self.losses) < 8 else {**losses, "critic": value}

    with pytest.raises(ReenactError, match=r"diverged in step 8: .* lower learning rate"):
        train(Diverging(), options(tmp_path, 20))
    assert json.loads((tmp_path / "best.safetensors").read_text())["steps"] == "5"
    assert train(TinyRecipe(), options(tmp_path, 20), resume=True).step == 20


def test_a_validation_without_a_score_ends_the_training(tmp_path: Path) -> None:
    class Scoreless(TinyRecipe):
        def validate(self, network: nn.Module) -> dict[str, float]:
            return {"score": float("nan")}

    with pytest.raises(ReenactError, match="gives no score"):
        train(Scoreless(), options(tmp_path, 20))
    assert not (tmp_path / "best.safetensors").exists()


@pytest.mark.parametrize("steps", [10, 12])
def test_each_step_is_validated_once(steps: int, tmp_path: Path) -> None:
    train(TinyRecipe(), options(tmp_path, steps))
    assert [row["step"] for row in history(tmp_path)] == sorted({5, 10, steps})


def test_worse_weights_do_not_replace_the_best(tmp_path: Path) -> None:
    class Worsening(TinyRecipe):
        scores = iter([3.0, 1.0, 2.0])

        def validate(self, network: nn.Module) -> dict[str, float]:
            return {"score": next(self.scores)}

    best = train(Worsening(), options(tmp_path, 10)).best
    assert best == {"score": 3.0}
    assert json.loads((tmp_path / "best.safetensors").read_text())["steps"] == "5"


def test_learning_rates_follow_the_schedule(tmp_path: Path) -> None:
    rates: list[float] = []

    class Watched(TinyRecipe):
        def step(self, batch: dict[str, torch.Tensor], progress: float) -> dict[str, float]:  # type: ignore[override]
            rates.append(self.optimizers["net"].param_groups[0]["lr"])
            return super().step(batch, progress)

    train(Watched(), options(tmp_path, 10))
    factor = cosine(end=0.1)
    assert rates == pytest.approx([1e-2 * factor(step / 10) for step in range(10)])


def test_the_cosine_warms_up_and_ends_low() -> None:
    factor = cosine(end=0.01, warm_up=0.1)
    assert factor(0) == pytest.approx(0.05)
    assert factor(0.05) == pytest.approx(0.55, abs=0.01)
    assert factor(0.5) == pytest.approx(0.505)
    assert factor(1) == pytest.approx(0.01)


def test_averaged_weights_lag_behind_the_trained_ones(tmp_path: Path) -> None:
    recipe = TinyRecipe()
    train(recipe, options(tmp_path, 30))
    state = load_file(tmp_path / "state.safetensors")
    now, averaged = (state[f"network/{name}0.weight"] for name in ("net/", "averaged/module."))
    start = TinyRecipe().networks["net"].state_dict()["0.weight"]
    assert 0 < (averaged - start).norm() < (now - start).norm()


def test_progress_tells_losses_and_time_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(TinyRecipe(), options(tmp_path, 12))
    told = capsys.readouterr().err
    assert "step 12" in told
    assert "0 min left  l1 0." in told


def with_tensorboard() -> None:
    pytest.importorskip(
        "torch.utils.tensorboard",
        exc_type=ImportError,
        reason="tensorboard is not installed: pip install '.[tensorboard]'",
    )


def test_curves_are_written_if_tensorboard_is_installed(tmp_path: Path) -> None:
    with_tensorboard()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(TinyRecipe(), options(tmp_path, 20))
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [point.step for point in events.Scalars("loss/l1")] == [10, 20]
    assert [point.step for point in events.Scalars("val/score")] == [5, 10, 15, 20]


def test_the_budget_of_minutes_ends_it(tmp_path: Path) -> None:
    recipe = TinyRecipe()
    budget = LoopOptions(tmp_path, steps=10**6, minutes=0.01, validate_every=10**6, workers=0)
    assert not train(recipe, budget).stopped
    assert 0 < len(recipe.losses) < 10**5
    assert (tmp_path / "best.safetensors").exists()


def test_an_earlier_training_is_not_overwritten(tmp_path: Path) -> None:
    train(TinyRecipe(), options(tmp_path, 5))
    with pytest.raises(ReenactError, match="--resume"):
        train(TinyRecipe(), options(tmp_path, 5))


TRAINS_UNTIL_KILLED = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from support.tiny_recipe import TinyRecipe, options
from reenact.training.loop import train

def wait():
    print("begun", flush=True)
    time.sleep(60)

train(TinyRecipe(), options(Path(sys.argv[1]), 5), stop=wait)
"""


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_is_trained_in_by_one_process_at_a_time(resume: bool, tmp_path: Path) -> None:
    """The other process has saved nothing yet; once it is killed, its lock is no hindrance."""
    code = TRAINS_UNTIL_KILLED.format(tests=str(TESTS))
    recipe = TinyRecipe()
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"begun\n"
        with pytest.raises(ReenactError, match=r"Another process is training in .*; wait until"):
            train(recipe, options(tmp_path, 5), resume=resume)
        other.kill()
    assert recipe.losses == []
    assert train(recipe, options(tmp_path, 5)).step == 5


def test_nothing_to_resume_and_a_damaged_state_are_reported(tmp_path: Path) -> None:
    with pytest.raises(ReenactError, match="no training to resume"):
        train(TinyRecipe(), options(tmp_path / "empty", 5), resume=True)
    (tmp_path / "state.safetensors").write_bytes(b"not a model")
    with pytest.raises(ModelError, match="damaged"):
        train(TinyRecipe(), options(tmp_path, 5), resume=True)


def test_an_unwritable_folder_is_reported_before_any_step(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    recipe = TinyRecipe()
    with pytest.raises(ReenactError, match="cannot write"):
        train(recipe, options(tmp_path / "file", 5))
    assert recipe.losses == []


def test_another_networks_state_is_refused(tmp_path: Path) -> None:
    train(TinyRecipe(), options(tmp_path, 5))
    other = TinyRecipe()
    other.networks["net"] = nn.Conv2d(3, 3, 1)
    with pytest.raises(ReenactError, match="another network"):
        train(other, options(tmp_path, 5), resume=True)


def lines_of(code: str, *arguments: str) -> list[str]:
    """Run a program, which finds the tests' modules in {tests}; return the lines that it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code.format(tests=str(TESTS)), *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


WITH_WORKERS = """
import sys
import warnings
from pathlib import Path
sys.path.insert(0, {tests!r})
from support.tiny_recipe import TinyRecipe, options
from reenact.training.loop import train
folder = Path(sys.argv[1])
for workers in (0, 1):
    recipe = TinyRecipe()
    train(recipe, options(folder / str(workers), 6, workers=workers))
    print(*recipe.losses)
"""


def test_workers_make_the_same_batches_as_the_training_process(tmp_path: Path) -> None:
    """In a process of its own: workers are forked, which threads of other tests do not bear."""
    printed = lines_of(WITH_WORKERS, str(tmp_path))
    alone, helped = ([float(loss) for loss in line.split()] for line in printed)
    assert len(alone) == 6
    assert helped == pytest.approx(alone, abs=1e-6)


SIGNALLED = """
import multiprocessing, os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from support.tiny_recipe import TinyRecipe, options
from reenact.errors import ReenactError
from reenact.training.loop import train

class Signalling(TinyRecipe):
    number = signal.SIGTERM

    def step(self, batch, progress):
        if len(self.losses) == 3:
            for worker in multiprocessing.active_children():
                os.kill(worker.pid, self.number)
                worker.join(3)
        return super().step(batch, progress)

folder = Path(sys.argv[1])
for number in (signal.SIGTERM, signal.SIGHUP):
    Signalling.number = number
    print(train(Signalling(), options(folder / str(number), 20, workers=1)).step)
Signalling.number = signal.SIGKILL
try:
    train(Signalling(), options(folder / "killed", 20, workers=1))
except ReenactError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signals")
def test_signals_to_all_processes_leave_the_end_to_the_training_process(tmp_path: Path) -> None:
    """As `timeout` and a closed terminal send; a worker that is killed is explained."""
    *ended, said = lines_of(SIGNALLED, str(tmp_path))
    assert ended == ["20", "20"]
    assert "A process that makes batches was killed" in said
    assert "workers=0" in said


def test_a_container_with_little_shared_memory_trains_without_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker would wait for ever for room."""
    (tmp_path / "shm").mkdir()
    monkeypatch.setattr(loop, "_SHARED_MEMORY", tmp_path / "shm")
    monkeypatch.setattr(loop, "_MIN_SHARED_BYTES", 1 << 62)
    recipe = TinyRecipe()
    assert train(recipe, options(tmp_path / "run", 6, workers=1)).step == 6
    assert "--shm-size=2g" in caplog.text


FULL_DISK = """
import resource, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from support.tiny_recipe import TinyRecipe, options
from reenact.errors import ReenactError
from reenact.models.weights import save_model
from reenact.training.loop import train

class Growing(TinyRecipe):
    def validate(self, network):
        return {{"score": self.first_score + len(self.losses)}}

    def save(self, network, path, facts):
        save_model(path, network.state_dict(), facts)

folder = Path(sys.argv[1])
Growing.first_score = 0
train(Growing(), options(folder, 5))
files = {{path.name: path.read_bytes() for path in folder.glob("*.safetensors")}}
Growing.first_score = 10
limit = len(files["best.safetensors"]) + int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    train(Growing(), options(folder, 20), resume=True)
except ReenactError as error:
    print(error)
    print(*(name for name in files if (folder / name).read_bytes() == files[name]))
"""


has_file_limit = pytest.mark.skipif(sys.platform == "win32", reason="no limit on files there")


@has_file_limit
@pytest.mark.parametrize(
    ("spare_bytes", "kept"),
    [(-500, {"best.safetensors", "state.safetensors"}), (500, {"state.safetensors"})],
)
def test_a_full_disk_is_reported_and_the_last_state_stays(
    spare_bytes: int, kept: set[str], tmp_path: Path
) -> None:
    """It is full for the best weights, or only for the larger state."""
    told, unchanged = lines_of(FULL_DISK, str(tmp_path), str(spare_bytes))
    assert "Free some disk space and continue" in told
    assert set(unchanged.split()) == kept
    assert {path.name for path in tmp_path.iterdir()} - {"training.lock", "tensorboard"} == {
        "best.safetensors", "state.safetensors", "history.jsonl",
    }  # fmt: skip
    resumed = TinyRecipe()
    train(resumed, options(tmp_path, 8), resume=True)
    assert len(resumed.losses) == 3


@has_file_limit
def test_a_full_disk_does_not_cut_off_a_row_of_the_history(tmp_path: Path) -> None:
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with TrainingLog(tmp_path) as log:
        log.validation(1, 1.0, {"score": 1.0})
        resource.setrlimit(resource.RLIMIT_FSIZE, (60, limits[1]))
        try:
            with pytest.raises(ReenactError, match="Free some disk space"):
                log.validation(2, 1.0, {"score": 1.0})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        log.validation(3, 1.0, {"score": 1.0})
    assert [row["step"] for row in history(tmp_path)] == [1, 3]


@has_file_limit
def test_a_training_goes_on_where_its_curves_cannot_be_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import resource

    with_tensorboard()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400, limits[1]))  # the history of 8 rows has 344
    try:
        with TrainingLog(tmp_path) as log:
            for step in range(1, 9):
                log.validation(step, 1.0, {"score": 1.0})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(history(tmp_path)) == 8
    (told,) = caplog.messages
    assert "TensorBoard's curves end here" in told


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="names are text elsewhere")
def test_a_folder_whose_name_is_no_text_has_no_curves(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with_tensorboard()
    folder = tmp_path / os.fsdecode(b"d\xe4ta")
    folder.mkdir()
    with TrainingLog(folder) as log:
        log.validation(1, 1.0, {"score": 1.0})
    assert len(history(folder)) == 1
    (told,) = caplog.messages
    assert "TensorBoard's curves cannot be written" in told

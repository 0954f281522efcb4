"""Two processes train one network, as `torchrun` starts them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.program import repository

TESTS = repository() / "tests"

TWO_PROCESSES = """
import json, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import torch
from reenact.training.loop import train
from support.portrait_pairs import small_adversarial_recipe
from support.program import repository
from support.tiny_recipe import TinyRecipe, options

rank = int(os.environ["RANK"])
report = {}
for name, recipe in (("tiny", TinyRecipe()), ("adversarial", small_adversarial_recipe())):
    network = recipe.networks[recipe.averaged]
    with torch.no_grad():
        for value in network.parameters():
            value.add_(0.01 * rank)  # they start apart
    losses = []
    step = recipe.step
    recipe.step = lambda batch, progress: losses.append(step(batch, progress)) or losses[-1]
    train(recipe, options(Path(sys.argv[1], name), 6))
    weights = [float(value.detach().double().sum()) for value in network.parameters()]
    report[name] = [weights, [sum(one.values()) for one in losses]]
Path(sys.argv[1], f"rank{rank}.json").write_text(json.dumps(report))
"""

TRAINING_FILE = """
recipe = "tiny_training:build_recipe"
folder = "run"
steps = 2
device = "cpu"
workers = 0
"""

TINY_TRAINING = """
from support.tiny_recipe import TinyRecipe

def build_recipe(settings):
    return TinyRecipe()
"""

COMMAND_LINE = """
import sys
sys.path.insert(0, sys.argv[1])
from reenact.cli.main import main
sys.exit(main(sys.argv[2:]))
"""


def start_two(folder: Path, script: str, *arguments: str) -> str:
    """Run a script in two processes, in a folder, and return what they print."""
    path = folder / "script.py"
    path.write_text(script)
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(path)]
    done = subprocess.run(
        [sys.executable, *words, *arguments],
        check=True,
        timeout=240,
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    start_two(folder, TWO_PROCESSES, str(folder), str(TESTS))
    return folder


@pytest.mark.parametrize("name", ["tiny", "adversarial"])
def test_two_processes_end_with_the_same_weights(folder: Path, name: str) -> None:
    """An adversarial recipe passes its networks several times in a step."""
    (weights, losses), (others, other_losses) = (
        json.loads((folder / f"rank{rank}.json").read_text())[name] for rank in range(2)
    )
    assert weights == pytest.approx(others, abs=1e-6)
    assert losses != pytest.approx(other_losses, abs=1e-4), "both saw the same batches"


def test_only_the_first_process_validates(folder: Path) -> None:
    rows = (folder / "tiny" / "history.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == [5, 6]


@pytest.mark.slow
def test_only_the_first_process_tells_the_figures(tmp_path: Path) -> None:
    (tmp_path / "tiny_training.py").write_text(TINY_TRAINING)
    (tmp_path / "tiny.toml").write_text(TRAINING_FILE)
    begun = start_two(tmp_path, COMMAND_LINE, str(TESTS), "train", "tiny.toml")
    assert begun.startswith("Ended at step 2. ")
    more = ("--set", "steps=3", "--resume")
    resumed = start_two(tmp_path, COMMAND_LINE, str(TESTS), "train", "tiny.toml", *more)
    assert resumed.startswith("Ended at step 3. ")
    assert [text.count("Ended") for text in (begun, resumed)] == [1, 1]

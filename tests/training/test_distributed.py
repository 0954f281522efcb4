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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    script = folder / "script.py"
    script.write_text(TWO_PROCESSES)
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run(
        [sys.executable, *words, str(script), str(folder), str(TESTS)], check=True, timeout=240
    )
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

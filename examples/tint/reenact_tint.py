"""A generator for reenact: the mesh warp, and colours that are learned.

Importing this module loads no torch: `reenact plugins` imports it to list what it holds.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from reenact.config import Live, RendererSettings, Section, Share, first_problem
from reenact.errors import ConfigError
from reenact.imaging import from_unit, to_unit
from reenact.live.drives import landmark_drive
from reenact.registry import RendererSpec
from reenact.rendering.baselines import WarpRenderer
from reenact.targets.footage import Footage
from reenact.targets.target_training import TrainingOptions, TrainingOutcome
from reenact.types import Drive, Image, Target

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.utils.data import Dataset

    from reenact.models.export import Format

NAME: Final = "tint"


# What draws


class TintSettings(Section):
    """The section `[renderer.tint]`."""

    strength: Live[Share] = Field(1.0, description="how much of the learned colours is used")


class TintRenderer:
    """Warps the first reference and corrects its colours; satisfies `reenact.types.Renderer`."""

    device = "cpu"

    def __init__(self, settings: RendererSettings, own: TintSettings) -> None:
        self._settings, self._own = settings, own
        self._warp = WarpRenderer()

    def prepare(self, target: Target) -> None:
        """Load the weights that the user chose, the target's own, or none."""
        self._warp.prepare(target)
        self._network = load_network(self._settings.weights or target.weights)

    def render(self, drive: Drive) -> Image:
        """Draw one frame."""
        import torch

        warped = self._warp.render(drive)
        with torch.inference_mode():
            drawn = self._network(torch.from_numpy(to_unit(warped[None])))
        share = self._own.strength
        tinted = from_unit(drawn.numpy()[0])
        return np.asarray(cv2.addWeighted(tinted, share, warped, 1 - share, 0), np.uint8)

    def reset(self) -> None:
        """Nothing to forget: each frame is drawn on its own."""


def load_network(weights: str | Path | None) -> nn.Module:
    """Return the network: a matrix for the colours, which changes nothing until it is trained.

    Raises:
        ModelError: there is no such file, or it is not of this generator.
    """
    from torch import nn

    from reenact.models.weights import load_model

    network = nn.Conv2d(3, 3, kernel_size=1)
    nn.init.dirac_(network.weight)
    nn.init.zeros_(network.bias)  # type: ignore[arg-type]
    if weights:
        load_model(Path(weights), network, NAME)
    return network.eval()


# What trains: `reenact train` and `reenact target train`


class TintTraining(Section):
    """The `[settings]` of a training file."""

    train: Path
    val: Path
    batch_size: int = Field(8, ge=1)


class Pairs:
    """The first frame of each clip, warped to other frames, and these frames.

    Args:
        footage: clips.
        stretch: where the frames are taken, as shares of each clip.
    """

    def __init__(
        self, footage: Sequence[Footage], stretch: tuple[float, float] = (0.0, 1.0)
    ) -> None:
        warped, true = [], []
        for clip in footage:
            warp = WarpRenderer()
            warp.prepare(_target(clip))
            first, last = (share * (len(clip.images) - 1) for share in stretch)
            for index in np.linspace(first, last, 12).astype(int):
                warped.append(warp.render(landmark_drive(clip.landmarks[index])))
                true.append(clip.images[index])
        self.warped, self.true = to_unit(np.stack(warped)), to_unit(np.stack(true))


class TintRecipe:
    """Learns the colours of frames from the warped ones; satisfies `training.loop.Recipe`."""

    averaged = NAME

    def __init__(self, learned: Pairs, held_out: Pairs, start: Path | None, batch: int) -> None:
        import torch

        self._learned, self._held_out, self._batch = learned, held_out, batch
        self.networks: dict[str, nn.Module] = {NAME: load_network(start)}
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            NAME: torch.optim.Adam(self.networks[NAME].parameters(), 1e-2)
        }
        self.schedules: Mapping[str, Callable[[float], float]] = {}  # a constant learning rate

    def batches(self, seed: int, steps: int) -> Dataset[Any]:
        """Return a dataset whose item n is the batch of step n."""
        from reenact.training.sampling import Batches

        return Batches(self._draw, seed, steps)

    def _draw(self, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
        chosen = rng.integers(len(self._learned.true), size=self._batch)
        return {"warped": self._learned.warped[chosen], "true": self._learned.true[chosen]}

    def step(self, batch: Mapping[str, Any], progress: float) -> dict[str, float]:
        """Learn from one batch."""
        loss = (self.networks[NAME](batch["warped"]) - batch["true"]).abs().mean()
        self.optimizers[NAME].zero_grad()
        loss.backward()
        self.optimizers[NAME].step()
        return {"pixels": float(loss.detach())}

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return the PSNR on clips that are not trained on, as the score."""
        import torch

        device = next(network.parameters()).device
        with torch.no_grad():
            drawn: Tensor = network(torch.from_numpy(self._held_out.warped).to(device))
            error = (drawn.cpu() - torch.from_numpy(self._held_out.true)).square().mean()
        return {"score": float(10 * torch.log10(4 / error))}

    def save(self, network: nn.Module, path: Path, facts: Mapping[str, str]) -> None:
        """Write the weights that `TintRenderer` loads."""
        from reenact.models.weights import save_model

        save_model(path, network.state_dict(), {"architecture": NAME, **facts})


def build_recipe(settings: Mapping[str, Any]) -> TintRecipe:
    """Make the recipe of `reenact train`.

    Raises:
        ConfigError: a setting is wrong.
        SourceError: a folder holds no clips.
    """
    from reenact.evaluation.clips import find_clips, read_clip

    try:
        chosen = TintTraining.model_validate(dict(settings))
    except ValidationError as error:
        raise ConfigError(first_problem(error, "settings.")) from error

    def pairs(folder: Path) -> Pairs:
        clips = map(read_clip, find_clips(folder))
        return Pairs([Footage(c.images[c.usable], c.landmarks[c.usable]) for c in clips])

    return TintRecipe(pairs(chosen.train), pairs(chosen.val), None, chosen.batch_size)


def train_on_target(
    footage: Sequence[Footage],
    start: Path | None,
    options: TrainingOptions,
    *,
    stop: Callable[[], bool] = lambda: False,
) -> TrainingOutcome:
    """Train on one target; satisfies `targets.target_training.TargetTrainer`."""
    from reenact.training.loop import LoopOptions, train

    learned, held_out = Pairs(footage, (0.0, 0.7)), Pairs(footage, (0.8, 1.0))
    recipe = TintRecipe(learned, held_out, start, batch=8)
    shutil.rmtree(options.folder, ignore_errors=True)
    before = recipe.validate(recipe.networks[NAME].to(options.device))
    loop = LoopOptions(
        options.folder,
        steps=options.steps or 300,
        minutes=options.minutes,
        validate_every=50,
        device=options.device,
        workers=0,
        ema=0.9,
    )
    outcome = train(recipe, loop, stop=stop)
    after = outcome.best or before
    better = after["score"] > before["score"]
    kept = options.folder / "best.safetensors"
    return TrainingOutcome(before, after, kept if better else None, outcome.stopped)


def _target(clip: Footage) -> Target:
    """Return a target whose one reference is the first frame of a clip."""
    points = clip.landmarks[0]
    whole = np.eye(2, 3, dtype=np.float32)
    return Target(NAME, clip.images[:1], points[None], points, clip.images[0], whole)


# What exports: `reenact export --renderer tint`


def export(folder: Path, kind: Format, size_px: int, weights: Path | None = None) -> Iterator[str]:
    """Write the network for other programs; satisfies `models.export.Exporter`."""
    from reenact.models.export import Part, write_parts

    warped = np.zeros((1, 3, size_px, size_px), np.float32)
    meanings = {"warped": "RGB of the mesh warp, -1 to 1", "picture": "RGB, -1 to 1"}
    part = Part(NAME, load_network(weights), {"warped": warped}, ("picture",), meanings)
    yield from write_parts(folder, kind, [part], {"size": size_px})


TINT: Final = RendererSpec(
    name=NAME,
    summary="the mesh warp with colours that are learned",
    build=TintRenderer,
    settings=TintSettings,
    from_photo=True,
    recipe="reenact_tint:build_recipe",
    target_training="reenact_tint:train_on_target",
    export="reenact_tint:export",
)

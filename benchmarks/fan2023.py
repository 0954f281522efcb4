"""Tables 3 and 4 of Fan 2023 with several seeds: fan2023, its baselines, and an ablation.

    python benchmarks/fan2023.py --train ../shared/faces/train --folds ../shared/faces/folds.json \
        --out runs/fan2023_peers --size 64 --width 16 --steps 1500 --seeds 3 --ablation-seeds 1

Every network is trained on the same pairs for the same number of steps. The paper's four are
trained with all seeds; the steps between pix2pix and fan2023, and fan2023 on Φ's landmarks, with
fewer. The people are split in three: one fold selects the best weights, another one is reported,
and the rest are trained on. OUT receives `table.md`, `curves.png` (Fig. 5 and 6), `grid.png` (Fig.
3 and 4) and each training; a second call continues an interrupted one.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from reenact_baselines.g2gan import G2GANRecipe
from reenact_baselines.pix2pix import DEFAULTS

from reenact import registry
from reenact.config import RendererSettings
from reenact.evaluation import transfer
from reenact.evaluation.contact_sheet import compose
from reenact.evaluation.face_reader import FaceReader
from reenact.evaluation.metrics import markdown_table
from reenact.models.fusion_network import shipped_network
from reenact.models.weights import load_model
from reenact.storage import write_json, write_png
from reenact.targets.clip_files import person_of
from reenact.training.adversarial import AdversarialRecipe, read_config
from reenact.training.checkpoints import STATE, read_progress
from reenact.training.loop import LoopOptions, Recipe, train
from reenact.training.people import PictureData, read_fold
from reenact.training.picture_pairs import NeutralPairs, PictureMaterial, load_pictures

STEPS: Final[list[tuple[str, dict[str, Any]]]] = [
    ("spectral normalisation", {"spectral": True}),
    ("ReLU in the critic", {"critic_relu": True}),
    ("critic sees the picture alone", {"critic_sees_landmarks": False}),
    ("critic's rate halved", {"discriminator_rate": 1e-4}),
    ("no dropout = fan2023", {"dropout": 0.0}),
]
"""The changes from pix2pix to fan2023, one at a time."""

PEERS: Final = ("pix2pix", f"+ {STEPS[-1][0]}", "G2-GAN", "CGAN")
"""The rows of the four networks that the paper compares."""


def variants() -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the renderer and the settings of each row of the table, by the row's name."""
    settings = dict(DEFAULTS)
    rows: dict[str, tuple[str, dict[str, Any]]] = {"pix2pix": ("pix2pix", settings)}
    for name, change in STEPS:
        settings = {**settings, **change}
        rows[f"+ {name}"] = ("fan2023", settings)
    rows["fan2023 on Φ's landmarks"] = ("fan2023", {"landmarks": "fused"})
    rows["G2-GAN"] = ("g2gan", {"discriminator_rate": 2e-4})
    rows["CGAN"] = ("cgan", {**DEFAULTS, "pixel_weight": 0.0})
    return rows


class Peers:
    """Trains and measures networks on the same people."""

    def __init__(self, common: Mapping[str, Any], test_fold: int) -> None:
        config = read_config({**common, "test_fold": test_fold})
        held_back = read_config({**common, "held_out_fold": test_fold})
        fusion = shipped_network()
        calm = partial(NeutralPairs, changes=config.augmentation)
        self._pairs = {
            "true": load_pictures(config),
            "fused": load_pictures(config, fusion=fusion),
            "calm": load_pictures(config, calm),
        }
        self._tests = {
            "true": load_pictures(held_back),
            "fused": load_pictures(held_back, fusion=fusion),
        }
        self._common = common

    def _recipe(self, name: str, own: Mapping[str, Any], pairs: PictureMaterial) -> Recipe:
        config = read_config({**self._common, **own})
        return (
            G2GANRecipe(config, pairs)
            if name == "g2gan"
            else AdversarialRecipe(name, config, pairs)
        )

    def train(self, folder: Path, name: str, own: Mapping[str, Any], steps: int, seed: int) -> bool:
        """Train one network, or resume its training; return False if it was complete."""
        started = (folder / STATE).exists()
        if started and read_progress(folder)[0] >= steps:
            return False
        torch.manual_seed(seed)
        kind = "calm" if name == "g2gan" else own.get("landmarks", "true")
        options = LoopOptions(
            folder, steps, validate_every=max(steps // 4, 1), seed=seed, workers=0
        )
        train(self._recipe(name, own, self._pairs[kind]), options, resume=started)
        return True

    def figures(self, best: Path, name: str, own: Mapping[str, Any]) -> dict[str, float]:
        """Return figures on the test fold, with the truth's own landmarks and with fused ones."""
        figures: dict[str, float] = {}
        for landmarks, pairs in self._tests.items():
            recipe = self._recipe(name, own, pairs)
            network = recipe.networks[recipe.averaged]
            load_model(best, network, name)
            with torch.no_grad():
                validated = recipe.validate(network.eval())
            names = ("ssim", "psnr", "face_ssim")
            figures |= {f"{figure}, {landmarks}": validated[figure] for figure in names}
        return figures


def table(rows: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Return means and standard deviations over seeds, as a Markdown table."""
    names = list(next(iter(rows.values()))[0])
    lines = []
    for row, runs in rows.items():
        cells = []
        for name in names:
            values = np.array([run[name] for run in runs])
            places = 2 if name.startswith(("psnr", "minutes")) else 3
            spread = f" ± {values.std(ddof=1):.{places}f}" if len(values) > 1 else ""
            cells.append(f"{values.mean():.{places}f}{spread}")
        lines.append([row, *cells, str(len(runs))])
    return markdown_table(["network", *names, "seeds"], lines) + "\n"


def curves(folders: Mapping[str, Sequence[Path]], figure: str) -> np.ndarray[Any, Any]:
    """Plot a figure on the validation fold over the steps, as mean of the seeds (Fig. 5 and 6)."""
    width, height, margin = 760, 420, 60
    canvas = np.full((height, width, 3), 255, np.uint8)
    lines = {}
    for name, runs in folders.items():
        rows = [_history(run, figure) for run in runs]
        steps = sorted(set.intersection(*(set(row) for row in rows)))
        lines[name] = [(step, float(np.mean([row[step] for row in rows]))) for step in steps]
    last = max(step for line in lines.values() for step, _ in line)
    values = [value for line in lines.values() for _, value in line]
    low, high = min(values), max(values)
    for number, (name, line) in enumerate(lines.items()):
        shade = cv2.applyColorMap(np.full((1, 1), number * 29 % 256, np.uint8), cv2.COLORMAP_TURBO)
        colour = tuple(int(channel) for channel in shade[0, 0])
        points = [
            (
                margin + (width - 2 * margin - 200) * step // last,
                round(height - margin - (height - 2 * margin) * (value - low) / (high - low)),
            )
            for step, value in line
        ]
        cv2.polylines(canvas, [np.array(points, np.int32)], False, colour, 2, cv2.LINE_AA)
        place = (width - 250, margin + 20 * number)
        text = name.replace("Φ", "Phi")
        cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, 1, cv2.LINE_AA)
    for text, place in (
        (f"{figure} by step, validation fold, mean of seeds", (margin, 30)),
        (f"{high:.3f}", (5, margin + 5)),
        (f"{low:.3f}", (5, height - margin + 5)),
        (str(last), (width - 250 - margin, height - margin + 25)),
    ):
        cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return canvas[..., ::-1]


def _history(folder: Path, figure: str) -> dict[int, float]:
    lines = (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()
    return {row["step"]: row[figure] for row in map(json.loads, lines)}


def transferred(
    weights: Mapping[str, tuple[str, Path]], args: argparse.Namespace
) -> tuple[dict[str, dict[str, float]], list[np.ndarray[Any, Any]]]:
    """Return the figures of the transfer protocol on the test fold, and the grid."""
    people = read_fold(args.folds, args.test_fold)
    clips = sorted(args.train.glob("*.mp4"))
    videos = [clip for clip in clips if person_of(clip.stem) in people]
    renderers = {}
    for row, (name, path) in {"copy": ("copy", Path()), **weights}.items():
        settings = RendererSettings(
            name=name, weights="" if row == "copy" else str(path), device="cpu", engine="torch"
        )
        renderers[row] = registry.load("renderers", name).make(settings)
    with FaceReader() as reader:
        figures, columns, rows = transfer.run(renderers, videos, reader, size_px=args.size)
    means = {}
    for row, by_clip in figures.items():
        values = {
            figure: [value for clip in by_clip.values() if (value := clip.get(figure)) is not None]
            for figure in ("ssim", "psnr", "face_ssim", "fused_px", "identity", "tracked")
        }
        means[row] = {figure: float(np.mean(known)) for figure, known in values.items() if known}
    return means, compose(columns, rows)


def main() -> None:
    """Train the missing networks, measure all, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--train", type=Path, required=True, help="folder of clips")
    parser.add_argument("--folds", type=Path, required=True, help="JSON file of people's folds")
    parser.add_argument("--validation-fold", type=int, default=0, help="selects the best weights")
    parser.add_argument("--test-fold", type=int, default=1, help="fold of the reported figures")
    parser.add_argument("--out", type=Path, default=Path("runs/fan2023_peers"))
    parser.add_argument("--size", type=int, default=64, help="side of the pictures, px")
    parser.add_argument("--width", type=int, default=32, help="width of the networks")
    parser.add_argument("--steps", type=int, default=600, help="training steps of each network")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of the paper's four networks")
    parser.add_argument("--ablation-seeds", type=int, default=1, help="seeds of the other networks")
    parser.add_argument("--augmentation", nargs="*", default=["flip"])
    parser.add_argument("--cache", default=PictureData.cache, help="folder for decoded clips")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    common = {
        "train": str(args.train),
        "folds": str(args.folds),
        "held_out_fold": args.validation_fold,
        "size_px": args.size,
        "width": args.width,
        "augmentation": args.augmentation,
        "cache": args.cache,
    }
    peers = Peers(common, args.test_fold)
    wanted = {
        row: variant for row, variant in variants().items() if args.ablation_seeds or row in PEERS
    }
    rows: dict[str, list[dict[str, float]]] = {row: [] for row in wanted}
    folders: dict[str, list[Path]] = {row: [] for row in wanted}
    for seed in range(1, args.seeds + 1):
        for number, (row, (name, own)) in enumerate(variants().items()):
            if seed > args.ablation_seeds and row not in PEERS:
                continue
            folder = args.out / f"{number}-{name}-{seed}"
            stored = folder / "test.json"
            if peers.train(folder, name, own, args.steps, seed):
                stored.unlink(missing_ok=True)  # the figures after fewer steps
            if not stored.exists():
                write_json(stored, peers.figures(folder / "best.safetensors", name, own))
            figures = json.loads(stored.read_text(encoding="utf-8"))
            rows[row].append({**figures, "minutes": read_progress(folder)[1] / 60})
            folders[row].append(folder)
            finished = {row: runs for row, runs in rows.items() if runs}
            (args.out / "table.md").write_text(table(finished), encoding="utf-8")
    print(table(rows))
    pages = [curves(folders, figure) for figure in ("ssim", "psnr")]
    write_png(args.out / "curves.png", np.ascontiguousarray(np.concatenate(pages)))
    chosen = {
        row: (name, folders[row][0] / "best.safetensors")
        for row, (name, _) in wanted.items()
        if name != "fan2023" or "fan2023" in row
    }
    means, sheets = transferred(chosen, args)
    print(table({row: [figures] for row, figures in means.items()}))
    for number, sheet in enumerate(sheets):
        write_png(args.out / f"grid{number or ''}.png", sheet)


if __name__ == "__main__":
    main()

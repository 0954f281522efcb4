"""MoCoGAN, VGAN and TGAN: their videos, their losses by hand, and training that resumes."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from reenact_motion import mocogan, tgan, vgan
from reenact_motion.face_videos import (
    ACTED_LEVELS,
    FRAMES,
    FaceVideo,
    VideoData,
    VideoSampler,
    load_videos,
    whole_rise,
)
from reenact_motion.network import CLASSES
from reenact_motion.video_figures import main as compare
from reenact_motion.video_measures import Drawn, draw_videos, figures_of, inception_score
from reenact_motion.video_networks import VideoConfig, VideoCritic
from reenact_motion.video_training import VideoRecipe, VideoTraining
from torch import Tensor, nn

from reenact.errors import ReenactError
from reenact.evaluation.clips import find_clip_files
from reenact.evaluation.face_reader import FaceReader
from reenact.expression.emotions import CONTEMPT, EMOTIONS, acted_deviations
from reenact.face.geometry import canonical_face, to_image
from reenact.imaging import to_unit
from reenact.models.weights import load_built
from reenact.testing.weights import people, train_two_steps
from reenact.training.recipes import run_config
from reenact.types import Array, Image, Pose

MODULES = {"mocogan": mocogan, "vgan": vgan, "tgan": tgan}
SMALL = VideoConfig(32, 4)
HAPPY = EMOTIONS.index("happy")


def grey_video(emotion: int, count: int, *, acted: bool) -> FaceVideo:
    """Return a video whose picture n has the grey level 10 n, but for a black left half."""
    pictures = np.zeros((count, 32, 32, 3), np.uint8)
    pictures[:, :, 16:] = 10 * np.arange(count)[:, None, None, None]
    return FaceVideo("anna", emotion, pictures, acted)


def each_class() -> list[FaceVideo]:
    return [grey_video(number, ACTED_LEVELS, acted=True) for number in range(1, len(EMOTIONS))]


def recipe(name: str) -> VideoRecipe:
    """Return a recipe that learns from grey videos."""
    made, settings, generator = {
        "mocogan": (mocogan.MocoganRecipe, VideoTraining, mocogan.MocoganGenerator),
        "vgan": (vgan.VganRecipe, vgan.VganTraining, vgan.VganGenerator),
        "tgan": (tgan.TganRecipe, tgan.TganTraining, tgan.TganGenerator),
    }[name]
    config = settings(train="", size_px=32, batch_size=2, width=4)
    return made(name, config, generator, each_class(), "grey")


def test_a_rise_is_sampled_from_its_first_picture_to_its_last() -> None:
    levels = whole_rise(grey_video(HAPPY, 24, acted=False))[:, 0, -1, 0]
    assert (levels[0], levels[-1]) == (0, 230)
    assert len(levels) == FRAMES
    assert (np.diff(levels.astype(int)) > 0).all()


def test_acted_videos_begin_calm_and_end_with_the_whole_emotion_at_different_times() -> None:
    batch = VideoSampler(each_class()).draw(np.random.default_rng(0), 40)
    videos, classes = batch["videos"], batch["emotion"]
    assert videos.shape == (40, 3, FRAMES, 32, 32)
    assert set(classes.tolist()) == set(range(CLASSES))
    courses = videos[:, 0, :, 0].max(axis=2)
    whole = to_unit(np.full((1, 1, 1, 3), 10 * (ACTED_LEVELS - 1), np.uint8))[0, 0, 0, 0]
    assert np.allclose(courses[:, 0], -1)
    assert np.allclose(courses[:, -1], whole)
    assert (np.diff(courses, axis=1) >= 0).all()
    assert len(np.unique(courses, axis=0)) > 10
    left = videos[:, 0, -1, 0, 0] > -1  # half of the videos are mirrored, but not contempt
    assert 0 < left.sum() < 40
    assert not left[classes == CONTEMPT - 1].any()


def test_an_emotion_without_videos_cannot_be_learned() -> None:
    with pytest.raises(ReenactError, match="turns surprised"):
        VideoSampler(each_class()[:-1])


def test_faces_of_clips_are_bent_to_each_emotion_by_levels() -> None:
    clips = find_clip_files(people() / "train")
    videos = load_videos(clips[:1], VideoData("", size_px=64, acted_frames=1))
    acted = [one for one in videos if one.acted]
    assert [one.emotion for one in acted] == list(range(1, len(EMOTIONS)))
    surprised = acted[-1].pictures.astype(int)
    assert surprised.shape == (ACTED_LEVELS, 64, 64, 3)
    away = np.abs(surprised - surprised[0]).mean(axis=(1, 2, 3))
    assert away[0] == 0
    assert away[-1] == away.max() > 1


@pytest.mark.parametrize("name", MODULES)
def test_a_generator_draws_videos_by_class_and_noise(name: str) -> None:
    torch.manual_seed(0)
    network, side = MODULES[name].build(SMALL.to_json())
    network.eval()
    assert side == 32
    noise = torch.randn(2, int(network.noise_length))
    first, second = torch.tensor([0, 0]), torch.tensor([3, 0])
    with torch.no_grad():
        videos, others = network(noise, first), network(noise, second)
    assert videos.shape == (2, 3, FRAMES, 32, 32)
    assert videos.abs().max() <= 1
    assert not torch.equal(videos[0], others[0])
    assert torch.equal(videos[1], others[1])
    assert not torch.equal(videos[0], videos[1])


def test_mocogans_content_stays_while_its_motion_changes() -> None:
    network = mocogan.MocoganGenerator(SMALL).eval()
    codes: list[Tensor] = []
    network.frames.layers[0].register_forward_pre_hook(lambda _, given: codes.append(given[0]))
    network(torch.randn(1, network.noise_length), torch.tensor([2]))
    motion, content, named = codes[0].split_with_sizes(
        [mocogan.MOTION, mocogan.CONTENT, CLASSES], dim=1
    )
    assert len(motion) == FRAMES
    assert torch.equal(content, content[:1].expand_as(content))
    assert named.argmax(1).tolist() == [2] * FRAMES
    assert (motion.diff(dim=0).abs().amax(dim=1) > 0).all()


def test_vgan_draws_a_foreground_before_a_background_that_stands_still() -> None:
    foreground, background = torch.full((1, 3, 4, 2, 2), 0.5), torch.full((1, 3, 1, 2, 2), -1.0)
    mask = torch.full((1, 1, 4, 2, 2), 0.25)
    assert torch.allclose(
        vgan.composed(foreground, mask, background), torch.tensor(0.25 * 0.5 - 0.75)
    )
    network = vgan.VganGenerator(SMALL).eval()
    network.mask.register_forward_hook(lambda *given: torch.zeros_like(given[-1]))
    video = network(torch.randn(1, network.noise_length), torch.tensor([0]))
    assert torch.equal(video, video[:, :, :1].expand_as(video))


class Told(nn.Module):
    """A critic whose score of a video is its mean colour, and which is sure of the first class."""

    def __init__(self, *, classes: bool) -> None:
        super().__init__()
        self._classes = classes
        self.still = nn.Parameter(torch.zeros(1))

    def forward(self, videos: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        scores = videos.flatten(1).mean(dim=1) + 0 * self.still
        read = torch.tensor([[np.log(8.0), *[0.0] * (CLASSES - 1)]]).float()
        return (scores, read.expand(len(videos), -1)) if self._classes else scores


READ = -np.log(8 / 14)
"""Cross-entropy of the first class: its share is 8 of 8 + 6."""


def softplus(value: float) -> float:
    return float(np.log1p(np.exp(value)))


@pytest.mark.parametrize("name", MODULES)
def test_the_losses_of_critics_and_generators_by_hand(name: str) -> None:
    """Real videos are 1, drawn ones .5."""
    made = recipe(name)
    made.networks["critic"] = Told(classes=True)
    if name == "mocogan":
        made.networks["frame_critic"] = Told(classes=False)
    real, drawn = torch.ones(2, 3, FRAMES, 8, 8), torch.full((2, 3, FRAMES, 8, 8), 0.5)
    emotion = torch.tensor([0, 0])
    judged = made.critic_losses(real, emotion, drawn)
    losses = made.generator_losses(drawn, emotion)
    log = softplus(-1.0) + softplus(0.5)
    critic = {"mocogan": 2 * log, "vgan": log, "tgan": 0.5 - 1.0}[name]
    fooled = {"mocogan": 2 * softplus(-0.5), "vgan": softplus(-0.5), "tgan": -0.5}[name]
    assert float(judged["critic"].detach()) == pytest.approx(critic)
    assert float(losses["adversarial"].detach()) == pytest.approx(fooled)
    assert float(judged["read"].detach()) == pytest.approx(READ)
    assert float(losses["classes"].detach()) == pytest.approx(READ)


def test_vgan_weighs_the_mean_of_its_mask() -> None:
    made = recipe("vgan")
    generator = made.networks["generator"]
    assert isinstance(generator, vgan.VganGenerator)
    generator.mask.register_forward_hook(lambda *given: torch.full_like(given[-1], 0.3))
    _, losses = made.draw(torch.randn(2, generator.noise_length), torch.tensor([0, 1]))
    assert float(losses["mask"].detach()) == pytest.approx(0.1 * 0.3)


def test_tgan_clips_singular_values_and_leaves_small_ones() -> None:
    torch.manual_seed(0)
    layer = nn.Conv3d(3, 5, 2)
    with torch.no_grad():
        layer.weight *= torch.tensor([0.1, 6, 6, 6, 6])[:, None, None, None, None]
    left, values, right = torch.linalg.svd(layer.weight.detach().flatten(1), full_matrices=False)
    assert values[0] > 1 > values[-1]
    with torch.autocast("cpu", torch.bfloat16):  # as a training in that precision calls it
        tgan.clip_singular_values(layer)
    wanted = (left * values.clamp(max=1)) @ right
    assert torch.allclose(layer.weight.flatten(1), wanted, atol=1e-5)


def test_a_step_of_tgan_leaves_its_critic_lipschitz() -> None:
    made = recipe("tgan")
    critic = made.networks["critic"]
    assert isinstance(critic, VideoCritic)
    with torch.no_grad():
        critic.head.weight *= 100
    batch = made.batches(0, 1)[0]
    made.step({key: torch.from_numpy(value) for key, value in batch.items()}, 0.0)
    assert torch.linalg.svdvals(critic.head.weight.detach())[0] < 1 + 1e-4


@pytest.mark.parametrize("name", MODULES)
def test_it_trains_two_steps_and_resumes(name: str, tmp_path: Path) -> None:
    place = f"reenact_motion.{name}:build_recipe"
    settings = "batch_size = 2\nsize_px = 32\nwidth = 4\nacted_frames = 1\ncritic_steps = 2\n"
    weights = train_two_steps(place, tmp_path, settings)
    assert run_config(tmp_path / f"reenact_motion.{name}.toml", True, ["steps=3"]).step == 3
    network, side, header = load_built(weights, MODULES[name].build, name)
    assert (side, header["data"][:7]) == (32, "2 clips")
    videos = draw_videos(network, 1)
    assert [one.emotion for one in videos] == list(range(1, len(EMOTIONS)))
    assert videos[0].pictures.shape == (FRAMES, 32, 32, 3)
    assert np.array_equal(videos[3].pictures, draw_videos(network, 1)[3].pictures)


def test_the_inception_score_by_hand() -> None:
    """Sure of one of four classes each: 4; always the same: 1; half sure: exp of the divergence."""
    assert inception_score(np.eye(4, dtype=np.float32)) == pytest.approx(4, rel=1e-6)
    assert inception_score(np.full((3, 4), 0.25, np.float32)) == pytest.approx(1)
    shares = np.array([[0.75, 0.25], [0.25, 0.75]], np.float32)
    divergence = 0.75 * np.log(0.75 / 0.5) + 0.25 * np.log(0.25 / 0.5)
    assert inception_score(shares) == pytest.approx(np.exp(divergence))


class Reader:
    """Reads the emotion and its level off a picture's colours; black shows no face."""

    def track(self, image: Image) -> Array | None:
        emotion, level = int(image[0, 0, 0]), float(image[0, 0, 1]) / 100
        if not emotion:
            return None
        pose = Pose(np.eye(3, dtype=np.float32), np.full(3, 128, np.float32), 60.0)
        return to_image(canonical_face() + np.float32(level) * acted_deviations()[emotion], pose)

    def describe(self, image: Image, landmarks: Array) -> Array | None:
        del landmarks
        return np.array([float(image[0, 0, 2]), 0.0], np.float32)


def test_the_figures_of_videos_by_hand() -> None:
    def video(emotion: int, levels: list[int], people: list[int]) -> Drawn:
        pictures: NDArray[np.uint8] = np.zeros((3, 64, 64, 3), np.uint8)
        for picture, level, person in zip(pictures, levels, people, strict=True):
            picture[:] = (emotion, level, person)
        return Drawn(emotion, pictures)

    shown = video(HAPPY, [0, 50, 100], [10, 12, 11])
    still = video(len(EMOTIONS) - 1, [0, 0, 0], [20, 20, 20])
    nobody = Drawn(1, np.zeros((3, 64, 64, 3), np.uint8))
    figures = figures_of([shown, still, nobody], cast(FaceReader, Reader()))
    assert figures["recognised"] == pytest.approx(1 / 3)
    assert figures["tracked"] == pytest.approx(2 / 3)
    assert figures["acd"] == pytest.approx(((2 + 1 + 1) / 3 + 0) / 2)
    assert figures["acd_i"] == pytest.approx(((2 + 1) / 2 + 0) / 2)
    assert figures["people"] == pytest.approx(10)
    score, alike = figures["inception_score"], figures["consecutive_ssim"]
    assert score is not None
    assert 1 < score < 2
    assert alike is not None
    assert alike > 0.9


def test_videos_are_compared_in_a_table_and_on_a_sheet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = recipe("vgan")
    weights = tmp_path / "vgan.safetensors"
    made.save(made.networks["generator"], weights, {})
    words = [
        str(people() / "val"),
        "--size",
        "32",
        "--renderer",
        "warp",
        "--count",
        "1",
        "--weights",
        str(weights),
    ]
    assert compare([*words, "--sheet", str(tmp_path / "sheet.png")]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("| videos | count | recognised |")
    assert [line.split(" | ")[0] for line in printed[2:]] == [
        "| real",
        "| motion_gan, warp",
        "| vgan",
    ]
    assert (tmp_path / "sheet.png").is_file()
    others = tmp_path / "other.safetensors"
    others.write_bytes(weights.read_bytes().replace(b'"vgan"', b'"more"'))
    assert compare([str(people() / "val"), "--weights", str(others)]) == 2
    assert "not of MoCoGAN, VGAN or TGAN" in capsys.readouterr().err


def test_two_weights_of_one_network_are_two_rows_and_a_fold_of_nobody_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, folds = recipe("vgan"), tmp_path / "folds.json"
    files = [tmp_path / "first.safetensors", tmp_path / "second.safetensors"]
    for file in files:
        made.save(made.networks["generator"], file, {})
    words = [str(people() / "val"), "--size", "32", "--count", "1"]
    both = [word for file in files for word in ("--weights", str(file))]
    assert compare([*words, *both]) == 0
    rows = [line.split(" | ")[0] for line in capsys.readouterr().out.splitlines()[2:]]
    assert rows[-2:] == ["| vgan", f"| vgan, {files[1]}"]
    folds.write_text('{"folds": [["nobody"]]}')
    assert compare([*words, "--folds", str(folds)]) == 2
    assert "has no clips of the people in fold 0" in capsys.readouterr().err


@pytest.mark.parametrize(("option", "value"), [("--size", "0"), ("--size", "48"), ("--count", "0")])
def test_numbers_that_give_no_figures_are_refused(
    option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        compare(["clips", option, value])
    assert left.value.code == 2
    assert f"argument {option}: " in capsys.readouterr().err


def test_a_side_that_16_frames_cannot_be_doubled_with_is_refused() -> None:
    with pytest.raises(ReenactError, match=r"settings\.size_px"):
        vgan.build_recipe({"train": str(people() / "train"), "val": "x", "size_px": 128})

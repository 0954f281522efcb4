from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from reenact import registry
from reenact.config import RendererSettings
from reenact.errors import ModelError
from reenact.evaluation import metrics
from reenact.face.geometry import region_mask
from reenact.face.topology import IRIS_LEFT, IRIS_RIGHT, OVAL
from reenact.imaging import from_unit, to_unit
from reenact.models.warp_unet import WarpUNet
from reenact.models.warp_unet_inputs import (
    FLOW,
    MAP_CHANNELS,
    NETWORK_PX,
    REPAIR_CELLS,
    STEM,
    UNKNOWN_PERSON,
    MapChannel,
    shipped_weights,
)
from reenact.models.weights import load_model, save_model
from reenact.rendering.compositing import edge_fade
from reenact.rendering.reference_ranking import SeenFaces
from reenact.rendering.warp_unet import WarpUNetRenderer, person_coverage
from reenact.types import Array, Image, Renderer, Target
from support.faces import drive, opened_mouth, portrait_target, turned


def opened(name: str, target: Target, **settings: object) -> Renderer:
    renderer = registry.load("renderers", name).make(
        RendererSettings.model_validate({"name": name, **settings})
    )
    renderer.prepare(target)
    return renderer


def difference(first: Image, second: Image) -> float:
    return float(np.abs(first.astype(np.float32) - second).mean())


def test_copy_gives_the_reference_and_not_its_memory() -> None:
    target = portrait_target()
    renderer = opened("copy", target)
    picture = renderer.render(drive(target.neutral))
    np.testing.assert_array_equal(picture, target.references[0])
    picture[:] = 0
    np.testing.assert_array_equal(renderer.render(drive(target.neutral)), target.references[0])


def test_warp_at_rest_is_the_reference() -> None:
    target = portrait_target()
    picture = opened("warp", target).render(drive(target.neutral))
    assert difference(picture, target.references[0]) < 0.1


def test_warp_opens_the_mouth_and_leaves_the_border() -> None:
    target = portrait_target()
    picture = opened("warp", target).render(drive(opened_mouth(target.neutral, 14)))
    moved = np.abs(picture.astype(int) - target.references[0]).mean(axis=2)
    x, y = np.round(target.neutral[17, :2]).astype(int)
    assert moved[y - 6 : y + 20, x - 20 : x + 20].mean() > 8
    assert moved[0].max() == 0
    assert moved[:, -1].max() == 0


def test_warp_unet_at_rest_is_near_the_reference() -> None:
    target = portrait_target()
    picture = opened("warp_unet", target).render(drive(target.neutral))
    assert picture.shape == (256, 256, 3)
    assert picture.dtype == np.uint8
    assert difference(picture, target.references[0]) < 8


def test_warp_unet_follows_the_landmarks() -> None:
    target = portrait_target()
    renderer = opened("warp_unet", target)
    at_rest = renderer.render(drive(target.neutral)).astype(int)
    acted = renderer.render(drive(opened_mouth(target.neutral, 14)))
    moved = np.abs(acted - at_rest).mean(axis=2)
    x, y = np.round(target.neutral[17, :2]).astype(int)
    around_mouth = moved[y - 10 : y + 25, x - 25 : x + 25].mean()
    assert around_mouth > 8
    assert around_mouth > 4 * moved[:40].mean()


def test_torch_and_openvino_draw_the_same() -> None:
    target = portrait_target()
    acted = drive(opened_mouth(target.neutral, 10))
    by_torch = opened("warp_unet", target, engine="torch").render(acted)
    by_openvino = opened("warp_unet", target, engine="openvino").render(acted)
    error = np.mean((by_torch.astype(np.float32) - by_openvino) ** 2)
    assert 10 * np.log10(255**2 / max(float(error), 1e-9)) > 40


def test_render_depends_on_nothing_but_the_drive() -> None:
    target = portrait_target()
    renderer = opened("warp_unet", target)
    first = renderer.render(drive(target.neutral))
    renderer.render(drive(opened_mouth(target.neutral, 14)))
    np.testing.assert_array_equal(renderer.render(drive(target.neutral)), first)


def two_references() -> Target:
    """The portrait, and the portrait with its mouth opened by the mesh."""
    target = portrait_target()
    points = opened_mouth(target.neutral, 16)
    second = opened("warp", target).render(drive(points))
    return dataclasses.replace(
        target,
        references=np.stack([target.references[0], second]),
        landmarks=np.stack([target.neutral, points]),
    )


def test_the_nearest_reference_is_faded_to() -> None:
    target = two_references()
    distances = SeenFaces.of(target.landmarks).distances(target.landmarks[1])
    assert distances[1] < 1e-4
    assert distances[0] > 0.01
    renderer = opened("warp_unet", target)
    open_mouth = drive(target.landmarks[1], dt_s=0.04)
    renderer.render(drive(target.neutral, dt_s=0.04))
    pictures = [renderer.render(open_mouth) for _ in range(5)]
    np.testing.assert_array_equal(pictures[2], pictures[-1])  # the fade has ended
    first = dataclasses.replace(
        target, references=target.references[:1], landmarks=target.landmarks[:1]
    )
    before = opened("warp_unet", first).render(open_mouth)
    for number, share in enumerate((1 / 3, 2 / 3)):
        between = before + share * (pictures[-1].astype(np.float32) - before)
        assert difference(between, pictures[number]) < 1
    assert difference(before, pictures[-1]) > 3, "the fade must have something to show"


def test_after_a_longer_time_the_nearest_reference_is_drawn_at_once() -> None:
    target = two_references()
    renderer = opened("warp_unet", target)
    at_once = renderer.render(drive(target.landmarks[1]))  # nothing was shown before
    renderer.render(drive(target.neutral, dt_s=1.0))
    later = renderer.render(drive(target.landmarks[1], dt_s=0.2))
    np.testing.assert_array_equal(later, at_once)


def test_motion_fades_only_where_the_plate_goes_on() -> None:
    inside = edge_fade(portrait_target(), 128)[..., 0]
    assert inside[0].max() == inside[:, 0].max() == inside[-1].max() < 0.02
    assert inside[64, 64] == 1
    target = portrait_target()
    whole = dataclasses.replace(
        target,
        plate=target.references[0],
        crop_to_plate=np.array([[1, 0, 0], [0, 1, 0]], np.float32),
    )
    assert edge_fade(whole, 128).min() == 1


def test_other_weights_are_checked(tmp_path: Path) -> None:
    target = portrait_target()
    with pytest.raises(ModelError, match="no model file"):
        opened("warp_unet", target, weights=str(tmp_path / "none.safetensors"))
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"\x00" * 64)
    with pytest.raises(ModelError, match="damaged"):
        opened("warp_unet", target, weights=str(damaged))
    other = tmp_path / "other.safetensors"
    save_model(other, {"a": torch.zeros(3)}, {"architecture": "landmark_fusion"})
    with pytest.raises(ModelError, match="landmark_fusion"):
        opened("warp_unet", target, weights=str(other))
    short = tmp_path / "short.safetensors"
    state = WarpUNet().state_dict()
    state.pop("picture_head.bias")
    save_model(short, state, {"architecture": "warp_unet", "config": "{}"})
    with pytest.raises(ModelError, match=r"picture_head\.bias"):
        opened("warp_unet", target, weights=str(short))


@pytest.mark.parametrize("aside_px", [-5, 5])
def test_irises_go_where_they_are_driven_and_stay_dark(aside_px: int) -> None:
    target = portrait_target()
    renderer = opened("warp_unet", target)
    landmarks = target.neutral.copy()
    landmarks[[*IRIS_RIGHT, *IRIS_LEFT], 0] += aside_px
    rest, aside = (renderer.render(drive(points)) for points in (target.neutral, landmarks))
    for iris in (IRIS_RIGHT, IRIS_LEFT):
        x, y = np.round(target.neutral[iris[0], :2]).astype(int)
        pupil, moved, left_behind = (
            picture[y - 1 : y + 2, at - 1 : at + 2].mean()
            for picture, at in ((rest, x), (aside, x + aside_px), (aside, x - aside_px))
        )
        assert moved < pupil + 30, "a pale iris"
        assert left_behind > moved + 30, "white where the iris was"


def test_weights_of_another_version_are_told_from_damaged_ones(tmp_path: Path) -> None:
    old = tmp_path / "old.safetensors"
    facts = {"architecture": "warp_unet", "config": '{"max_residual_flow": 0.25}'}
    save_model(old, WarpUNet().state_dict(), facts)
    with pytest.raises(ModelError, match=r"another version.*train it again"):
        opened("warp_unet", portrait_target(), weights=str(old))


def test_weights_of_another_network_are_named_as_such() -> None:
    fusion = Path(registry.__file__).parent / "assets" / "landmark_fusion.safetensors"
    with pytest.raises(ModelError, match="landmark_fusion model, not warp_unet"):
        opened("warp_unet", portrait_target(), weights=str(fusion))


def test_openvino_runs_on_the_cpu_where_there_is_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    renderer = opened("warp_unet", portrait_target(), engine="openvino")
    assert isinstance(renderer, WarpUNetRenderer)
    assert (renderer.device, renderer.engine) == ("cpu", "openvino cpu")


def test_cuda_is_refused_where_there_is_none() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ModelError, match="torch sees no GPU"):
        opened("warp_unet", portrait_target(), device="cuda")


def test_an_untrained_network_lays_the_person_over_the_background() -> None:
    network = WarpUNet().eval()
    reference = torch.rand(1, 4, 64, 64) * 2 - 1
    reference[:, 3] = 1
    reference[:, 3, :, :20] = 0
    background = torch.zeros(1, 3, 64, 64)
    maps = torch.zeros(1, MAP_CHANNELS, 32, 32)
    with torch.no_grad():
        _, features = network.encode(reference[:, :3], reference[:, 3:], reference[:, :3])
        picture, layered = network(reference, background, features, maps)
    torch.testing.assert_close(picture, layered)
    torch.testing.assert_close(layered[..., 24:], reference[:, :3, :, 24:], atol=1e-4, rtol=0)
    assert (layered[..., :16] == 0).all()


def test_an_opened_mouth_is_dark_before_anything_is_learned() -> None:
    network = WarpUNet().eval()
    reference = torch.ones(1, 4, 64, 64)
    maps = torch.zeros(1, MAP_CHANNELS, 32, 32)
    maps[:, MapChannel.UNSEEN_MOUTH, 8:24, 8:24] = 1
    with torch.no_grad():
        encoded = network.encode(reference[:, :3], reference[:, :1], reference[:, :3])
        picture, _ = network(reference, *encoded, maps)
    assert float(picture[:, :, 20:44, 20:44].max()) < 0
    assert float(picture[:, :, :12].min()) > 0.99


def test_an_untrained_network_uncovers_what_is_painted_behind_the_head() -> None:
    reference, scene = torch.full((1, 3, 64, 64), -0.5), torch.full((1, 3, 64, 64), 0.5)
    with torch.no_grad():
        background, _ = WarpUNet().eval().encode(reference, reference[:, :1], scene)
    torch.testing.assert_close(background, scene)


def test_a_person_who_is_not_found_is_unknown() -> None:
    """MediaPipe finds nobody in a noise picture; the network is not told that all is background."""
    target = portrait_target()
    (person,) = person_coverage(target.references, target.landmarks)
    assert person[region_mask(target.landmarks[0], OVAL, target.crop_size) > 127].mean() > 0.9
    assert person[:20, :20].mean() < 0.1
    noise = np.random.default_rng(0).integers(0, 255, target.references.shape, np.uint8)
    (nobody,) = person_coverage(noise, target.landmarks)
    assert (nobody == UNKNOWN_PERSON).all()


@pytest.mark.parametrize("size_px", [128, 512, 720, 1024])
def test_the_network_works_at_its_own_size_for_every_output(size_px: int) -> None:
    target = portrait_target(size_px)
    renderer = opened("warp_unet", target)
    assert isinstance(renderer, WarpUNetRenderer)
    picture = renderer.render(drive(target.neutral))
    assert picture.shape == (size_px, size_px, 3)
    assert picture.dtype == np.uint8
    assert metrics.psnr(np.asarray(target.references[0]), picture) > 27
    assert renderer._references[0].features.shape[-1] == NETWORK_PX // STEM
    small = opened("warp_unet", portrait_target(NETWORK_PX))
    own = small.render(drive(portrait_target(NETWORK_PX).neutral))
    resized = cv2.resize(picture, (NETWORK_PX, NETWORK_PX), interpolation=cv2.INTER_AREA)
    if size_px > NETWORK_PX:
        assert metrics.psnr(own, np.asarray(resized, np.uint8)) > 30


def test_a_frame_is_what_the_network_draws_and_repaired_around_the_face() -> None:
    """Repaired everywhere, as in the training, the picture is the same but for its surroundings."""
    target = portrait_target(NETWORK_PX)
    face = turned(opened_mouth(target.neutral, 12), 12)
    renderer = opened("warp_unet", target)
    drawn = renderer.render(drive(face))
    assert isinstance(renderer, WarpUNetRenderer)
    reference = renderer._references[0]
    maps = renderer._mesh.maps(target.neutral, face, NETWORK_PX, NETWORK_PX // 2)
    maps[..., FLOW] *= renderer._edge_fade
    network = WarpUNet().eval()
    load_model(shipped_weights(), network, "warp_unet")
    planes = torch.from_numpy(maps.transpose(2, 0, 1)[None].copy())
    person = to_unit(reference.person[None])
    person[:, 3] = (person[:, 3] + 1) / 2
    behind = to_unit(reference.background[None])
    inputs = [torch.from_numpy(value) for value in (person, behind, reference.features)]
    with torch.inference_mode():
        picture, layered = network(*inputs, planes)
    repaired, unrepaired = (from_unit(one[0].numpy()).astype(int) for one in (picture, layered))
    inside = region_mask(face, OVAL, NETWORK_PX) > 127
    assert metrics.psnr(repaired[inside], drawn[inside]) > 36
    top, left = (STEM * start for start in renderer._corner)
    far = np.ones_like(inside)
    far[top : top + REPAIR_CELLS * STEM, left : left + REPAIR_CELLS * STEM] = False
    left_out, there_is = (np.abs(unrepaired - one)[far].mean() for one in (drawn, repaired))
    assert left_out < 0.7 * there_is


def test_the_box_of_the_repair_follows_the_face_and_holds_still_otherwise() -> None:
    renderer = opened("warp_unet", portrait_target())
    assert isinstance(renderer, WarpUNetRenderer)
    face = portrait_target().neutral
    corners = []
    for shift_px in (0, 12, -12, 32, 20, 200):
        renderer.render(drive(face + np.array([shift_px, 0, 0], np.float32)))
        corners.append(renderer._corner)
    assert corners[0] == corners[1] == corners[2]
    top, left = corners[0]
    assert corners[3] == corners[4] == (top, left + 32 // STEM)
    assert corners[5] == (top, NETWORK_PX // STEM - REPAIR_CELLS), "it stays in the picture"
    renderer.reset()
    renderer.render(drive(face))
    assert renderer._corner == corners[0]


def test_the_repair_is_coarse_outside_the_face() -> None:
    """Else hair would get the mean of all hair, which is a smear."""
    network = WarpUNet().eval()
    torch.manual_seed(0)
    torch.nn.init.normal_(network.picture_head.weight, std=0.05)
    reference = torch.rand(1, 3, 64, 64) * 2 - 1
    maps = torch.zeros(1, MAP_CHANNELS, 32, 32)
    maps[:, MapChannel.SKIN, :, 16:] = 1
    with torch.no_grad():
        _, features = network.encode(reference, reference[:, :1], reference)
        residual = network.residual(reference, features, maps)
    slopes = residual.diff(dim=2).abs().mean(dim=(0, 1, 2))
    assert slopes[44:].mean() > 5 * slopes[:20].mean() > 0


def test_fine_detail_of_a_large_photo_survives() -> None:
    """Detail that a picture of the network's size cannot hold moves with the head."""
    target = portrait_target(1024)
    noise = np.random.default_rng(0).integers(-20, 21, (1024, 1024, 1))
    textured = np.clip(target.references[0] + noise, 0, 255).astype(np.uint8)
    target = dataclasses.replace(target, references=textured[None])
    shift = 8
    moved = target.neutral + np.array([shift, 0, 0], np.float32)
    picture = opened("warp_unet", target).render(drive(moved))

    def detail(image: Image) -> Array:
        around = cv2.blur(image, (5, 5)).astype(np.float32)
        return np.asarray((image - around).mean(axis=-1), np.float32)

    x, y = np.round(moved[50, :2]).astype(int)
    cheek = slice(y - 40, y + 40), slice(x - 40, x + 40)
    source = slice(y - 40, y + 40), slice(x - 40 - shift, x + 40 - shift)
    shown, true = detail(picture)[cheek].ravel(), detail(textured)[source].ravel()
    assert np.corrcoef(shown, true)[0, 1] > 0.8
    assert shown.std() > 0.7 * true.std()

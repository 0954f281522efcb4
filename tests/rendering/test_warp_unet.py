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
from reenact.face.geometry import (
    canonical_face,
    estimate_pose,
    region_mask,
    square_to_crop,
    transform_points,
)
from reenact.face.reference_ranking import SeenFaces
from reenact.face.segmentation import person_masks
from reenact.face.skin_shading import relit
from reenact.face.topology import IRIS_LEFT, IRIS_RIGHT, LIPS_INNER, OVAL
from reenact.imaging import from_unit
from reenact.models.warp_unet import WarpUNet
from reenact.models.warp_unet_inputs import (
    MAP_CHANNELS,
    NETWORK_PX,
    REPAIR_CELLS,
    SHIPPED_WEIGHTS,
    STEM,
    MapChannel,
    input_shapes,
    network_side,
)
from reenact.models.weights import load_model, save_model
from reenact.rendering.compositing import edge_fade, within_plate
from reenact.rendering.head_mesh import head_mesh
from reenact.rendering.inpainting import diffused
from reenact.rendering.layers import Reference, enlarged, lay_over, move_person
from reenact.rendering.mouth_interior import MouthColours
from reenact.rendering.warp_unet import (
    WarpUNetRenderer,
    _coverage,
    _mirrored_beyond,
    person_coverage,
)
from reenact.targets.library import open_target
from reenact.targets.surroundings import with_surroundings
from reenact.training.augmentation import Pair
from reenact.training.warp_unet import collate
from reenact.types import Array, Body, Image, MovedPart, Renderer, Target
from support.faces import difference, drive, opened_mouth, portrait_target, turned


def opened(name: str, target: Target, **settings: object) -> Renderer:
    renderer = registry.load("renderers", name).make(
        RendererSettings.model_validate({"name": name, **settings})
    )
    renderer.prepare(target)
    return renderer


def test_copy_gives_the_reference_and_not_its_memory() -> None:
    target = portrait_target()
    renderer = opened("copy", target)
    picture = renderer.render(drive(target.neutral))
    np.testing.assert_array_equal(picture, target.references[0])
    picture[:] = 0
    np.testing.assert_array_equal(renderer.render(drive(target.neutral)), target.references[0])


def test_a_photo_in_grey_is_drawn_in_grey() -> None:
    coloured = portrait_target()
    grey = np.repeat(coloured.references.mean(axis=-1, keepdims=True).astype(np.uint8), 3, axis=-1)
    acted = drive(turned(opened_mouth(coloured.neutral, 20.0), 12.0))
    spreads = []
    for references in (coloured.references, grey):
        renderer = opened("warp_unet", dataclasses.replace(coloured, references=references))
        spreads.append(int(np.ptp(renderer.render(acted), axis=-1).max()))
    assert spreads[0] > 50
    assert spreads[1] <= 2


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
    distances = SeenFaces(target.landmarks).distances(target.landmarks[1])
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


def test_the_reference_whose_body_need_not_rise_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    target, place = portrait_target(), "reenact.rendering.warp_unet.reference_bodies"
    moved = np.array([[[1, 0, 0], [0, 1, down]] for down in (0, 0.1)], np.float32)
    rest, lower = (Body(MovedPart(motion)) for motion in moved)
    both = np.stack([target.references[0], target.references[0] // 2])
    points = np.repeat(target.landmarks, 2, axis=0)
    acted = dataclasses.replace(drive(target.neutral), body=rest)
    for bodies, is_dark in ([rest, lower], False), ([lower, rest], True):
        monkeypatch.setattr(place, lambda _, bodies=bodies: bodies)
        renderer = opened(
            "warp_unet", dataclasses.replace(target, references=both, landmarks=points)
        )
        assert (renderer.render(acted).mean() < 0.7 * both[0].mean()) == is_dark


def test_the_cut_out_is_faded_like_the_picture() -> None:
    target = two_references()
    renderer = opened("warp_unet", target)
    assert isinstance(renderer, WarpUNetRenderer)
    whole = np.zeros((target.crop_size,) * 2, np.uint8)  # of the first reference alone
    renderer.render(drive(target.neutral, dt_s=0.04))
    assert not renderer.cut_out(whole).any()
    means = []
    for _ in range(4):
        renderer.render(drive(target.landmarks[1], dt_s=0.04))
        means.append(float(renderer.cut_out(whole).mean()))
    assert means[0] == pytest.approx(means[-1] / 3, rel=0.05)
    assert means[1] == pytest.approx(means[-1] * 2 / 3, rel=0.05)
    assert means[-1] > 10


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


def test_a_target_whose_own_weights_do_not_load_is_drawn_with_the_shipped_ones(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It was trained by an earlier version, whose network saw fewer maps."""
    state = WarpUNet().state_dict()
    state["repair.stem.0.0.weight"] = state["repair.stem.0.0.weight"][:, :-4]
    old = tmp_path / "weights.safetensors"
    save_model(old, state, {"architecture": "warp_unet", "config": "{}"})
    target = portrait_target()
    trained = dataclasses.replace(target, weights=str(old))
    drawn = opened("warp_unet", trained).render(drive(target.neutral))
    assert "train it again" in caplog.text
    assert "the shipped weights draw it" in caplog.text
    np.testing.assert_array_equal(drawn, opened("warp_unet", target).render(drive(target.neutral)))
    with pytest.raises(ModelError, match="train it again"):
        opened("warp_unet", target, weights=str(old))


def test_weights_of_another_network_are_named_as_such() -> None:
    fusion = Path(registry.__file__).parent / "assets" / "landmark_fusion.safetensors"
    with pytest.raises(ModelError, match="model of landmark_fusion, not of warp_unet"):
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


def test_the_person_is_laid_over_the_background() -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 255, (NETWORK_PX, NETWORK_PX, 3), np.uint8)
    share = np.full((NETWORK_PX, NETWORK_PX), 255, np.uint8)
    share[:, :80] = 0
    maps = np.zeros((NETWORK_PX // 2, NETWORK_PX // 2, len(MapChannel)), np.float32)
    person = np.dstack([picture, share])
    face, wall = canonical_face(), np.zeros_like(picture)
    pose = estimate_pose(face)
    colours = MouthColours.of(picture, face)
    reference = Reference(person, person, wall, wall, colours, face, pose)
    layered = lay_over(move_person(enlarged(person), reference, maps, face, pose)[0], wall)
    assert (layered[:, :76] == 0).all()
    assert np.abs(layered[:, 84:].astype(int) - picture[:, 84:]).mean() < 12


def test_the_inside_of_a_mouth_is_drawn_where_the_photo_does_not_show_it() -> None:
    target = portrait_target()
    neutral = transform_points(target.neutral, square_to_crop((0, 0, target.crop_size), NETWORK_PX))
    drive = opened_mouth(neutral, 24)
    poses = estimate_pose(neutral), estimate_pose(drive)
    white = np.full((NETWORK_PX, NETWORK_PX, 4), 255, np.uint8)
    wall = white[..., :3].copy()
    colours = MouthColours.of(np.full_like(wall, 20), neutral)
    reference = Reference(white, white, wall, wall, colours, neutral, poses[0])
    maps = head_mesh().maps(neutral, drive, NETWORK_PX, NETWORK_PX // 2, poses=poses)
    picture = lay_over(move_person(enlarged(white), reference, maps, drive, poses[1])[0], wall)
    inside = region_mask(drive, LIPS_INNER, NETWORK_PX) > 250
    assert np.median(picture[inside]) < 40
    outside = cv2.dilate(inside.astype(np.uint8), np.ones((7, 7), np.uint8)) == 0
    assert picture[outside].min() == 255


def test_teeth_keep_their_detail() -> None:
    """The repair is fine on the skin, coarse on the photo's teeth, and nothing on drawn ones."""
    network = WarpUNet().eval()
    torch.nn.init.normal_(network.picture_head.weight, std=0.1)
    layered, maps = (torch.rand(shape) for shape in input_shapes().values())
    maps[:, MapChannel.SKIN], maps[:, MapChannel.SHADING] = 1, 0
    inside = np.s_[0, :, 48:-48, 48:-48]
    roughness = []
    for mouth, unseen in ((1, 0), (0, 0), (1, 1)):
        maps[:, MapChannel.MOUTH], maps[:, MapChannel.UNSEEN_MOUTH] = mouth, unseen
        with torch.no_grad():
            residual = network(layered, maps)[inside]
        roughness.append(float(residual.diff(dim=-1).abs().mean()))
    assert residual.abs().max() < 1e-6
    assert roughness[0] < 0.3 * roughness[1]


def test_an_untrained_network_changes_the_light_alone() -> None:
    layered, maps = (torch.rand(shape) for shape in input_shapes().values())
    maps[:, MapChannel.SHADING] = 0
    network = WarpUNet().eval()
    with torch.no_grad():
        assert (network(layered, maps) == 0).all()
        maps[:, MapChannel.SHADING] = np.log(1.1)
        lit = layered + network(layered, maps)
    brighter = np.full((8, 8), np.log(1.1), np.float32)
    expected = relit(from_unit(layered.numpy())[0], brighter)[16:-16, 16:-16]
    levels = (lit[0, :, 16:-16, 16:-16].numpy().transpose(1, 2, 0) + 1) * 127.5
    np.testing.assert_allclose(np.minimum(levels, 255), expected, atol=1.5)
    assert (lit[..., 0] - layered[..., 0]).abs().max() < 0.02, "it fades out at the box's edges"


def test_a_person_who_is_not_found_is_unknown() -> None:
    """MediaPipe finds nobody in a noise picture; the network is not told that all is background."""
    target = portrait_target()
    (person,) = person_coverage(target.references, target.landmarks)
    assert person[region_mask(target.landmarks[0], OVAL, target.crop_size) > 127].mean() > 230
    assert person[:20, :20].mean() < 25
    noise = np.random.default_rng(0).integers(0, 255, target.references.shape, np.uint8)
    (nobody,) = person_coverage(noise, target.landmarks)
    assert not nobody.any()


def test_a_mirror_image_beyond_the_photo_is_nobody(tmp_path: Path) -> None:
    plate = open_target("astronaut", 256).plate
    (whole,) = person_masks([plate])
    cut = int((whole > 0.5).any(axis=1).argmax()) + 40
    photo = tmp_path / "cut.png"
    cv2.imwrite(str(photo), cv2.cvtColor(plate[cut:], cv2.COLOR_RGB2BGR))
    target = with_surroundings(open_target(str(photo), 256))
    side_px = network_side(target.extent)
    zoom = np.float32(side_px / target.crop_size)
    (people,) = _coverage(target, side_px, target.landmarks * zoom)
    rows, columns = within_plate(target, side_px)
    assert rows.start > 20
    assert people.shape == (side_px, side_px)
    inside = people[rows.start, columns]
    assert inside.max() > 250, "hair that the edge cuts"
    np.testing.assert_array_equal(people[: rows.start, columns], [inside] * rows.start)
    no_wall = _mirrored_beyond(target, people)
    np.testing.assert_array_equal(no_wall[rows], people[rows])
    below = people[rows.start : 2 * rows.start, columns][::-1]
    np.testing.assert_array_equal(no_wall[: rows.start, columns], np.maximum(inside, below))


@pytest.mark.parametrize("size_px", [128, 512, 720, 1024])
def test_the_network_works_at_its_own_size_for_every_output(size_px: int) -> None:
    target = portrait_target(size_px)
    renderer = opened("warp_unet", target)
    assert isinstance(renderer, WarpUNetRenderer)
    picture = renderer.render(drive(target.neutral))
    assert picture.shape == (size_px, size_px, 3)
    assert picture.dtype == np.uint8
    assert metrics.psnr(np.asarray(target.references[0]), picture) > 27
    small = opened("warp_unet", portrait_target(NETWORK_PX))
    own = small.render(drive(portrait_target(NETWORK_PX).neutral))
    resized = cv2.resize(picture, (NETWORK_PX, NETWORK_PX), interpolation=cv2.INTER_AREA)
    if size_px > NETWORK_PX:
        assert metrics.psnr(own, np.asarray(resized, np.uint8)) > 30


def test_a_frame_is_what_was_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Live and in training, the same layers are repaired in the same box.

    The wall behind the person alone differs, because training has no time for its texture.
    """
    monkeypatch.setattr("reenact.rendering.inpainting.textured", diffused)
    target = portrait_target(NETWORK_PX)
    face = turned(opened_mouth(target.neutral, 12), 12)
    renderer = opened("warp_unet", target)
    drawn = renderer.render(drive(face))
    assert isinstance(renderer, WarpUNetRenderer)
    (person,) = person_coverage(target.references, target.landmarks)
    pair = Pair(target.references[0], target.neutral, drawn, face, person=person)
    batch = {name: torch.from_numpy(value) for name, value in collate([pair]).items()}
    network = WarpUNet().eval()
    load_model(SHIPPED_WEIGHTS, network, "warp_unet")
    with torch.inference_mode():
        picture = batch["layered"] + network(batch["layered"], batch["maps"])
    # Live, motion fades at the crop's lower edge, where a body goes on in the photo.
    repaired, unrepaired, live = (
        from_unit(one[0].numpy())[:-8] for one in (picture, batch["layered"], batch["truth"])
    )
    assert metrics.psnr(repaired, live) > 46
    assert metrics.psnr(repaired, live) > metrics.psnr(unrepaired, live) + 6


def test_the_box_of_the_repair_follows_the_face_and_holds_still_otherwise() -> None:
    renderer = opened("warp_unet", portrait_target())
    assert isinstance(renderer, WarpUNetRenderer)
    face = portrait_target().neutral
    corners = []
    for shift_px in (0, 12, -12, 32, 20, 200):
        renderer.render(drive(face + np.array([shift_px, 0, 0], np.float32)))
        corners.append(renderer._corner)
    assert corners[0] == corners[1] == corners[2]
    assert corners[0] is not None
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
    maps = torch.zeros(1, MAP_CHANNELS, 80, 80)
    maps[:, MapChannel.SKIN, :, 40:] = 1
    with torch.no_grad():
        residual = network(torch.rand(1, 3, 160, 160) * 2 - 1, maps)
    slopes = residual.diff(dim=2).abs().mean(dim=(0, 1, 2))
    assert slopes[110:140].mean() > 5 * slopes[20:50].mean() > 0


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

"""The benchmark runs the real path and reports what it measured; no figure is judged here."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reenact.config import RendererSettings, Settings
from reenact.errors import ReenactError, SinkError
from reenact.evaluation import benchmark_comparison
from reenact.evaluation.benchmark import ClipReplay, bench, describe_machine, peak_memory_mb
from reenact.evaluation.benchmark_comparison import compare
from reenact.evaluation.glass_to_glass import draw_number, measure_delay, read_number
from reenact.lifecycle import LIBRARY_VARIABLES
from reenact.types import Frame
from support.fakes import FakeReenactor


def numbered(count: int) -> list[Frame]:
    return [Frame(np.full((4, 6, 3), i, np.uint8), i / 25, i) for i in range(count)]


def values(source: ClipReplay, count: int) -> list[int]:
    frames = [source.read() for _ in range(count)]
    return [int(frame.image[0, 0, 0]) for frame in frames if frame is not None]


def test_a_replay_goes_forwards_and_backwards_without_a_jump() -> None:
    source = ClipReplay(numbered(4), seconds=60, fps=30, live=False)
    assert values(source, 10) == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3]
    assert source.size == (6, 4)
    assert values(ClipReplay(numbered(1), 60, 30, live=False), 3) == [0, 0, 0]


def test_replay_of_a_file_has_the_times_of_its_frames() -> None:
    source = ClipReplay(numbered(4), seconds=60, fps=30, live=False)
    frames = [source.read() for _ in range(7)]
    assert [frame.index for frame in frames if frame] == list(range(7))
    assert [frame.time_s for frame in frames if frame] == pytest.approx([i / 30 for i in range(7)])


def test_live_replay_loses_what_is_late_and_tells_capture_time() -> None:
    source = ClipReplay(numbered(4), seconds=60, fps=100, live=True)
    before_s = time.monotonic()
    first = source.read()
    time.sleep(0.25)
    second = source.read()
    assert first is not None
    assert second is not None
    assert second.index >= 25
    assert source.lost == second.index - 1
    assert before_s <= first.time_s < second.time_s <= time.monotonic()


def test_a_closed_replay_ends() -> None:
    source = ClipReplay(numbered(4), seconds=60, fps=30, live=False)
    with source:
        assert source.read() is not None
    assert source.read() is None


def fast_settings() -> Settings:
    return Settings(renderer=RendererSettings(name="warp", size=128, device="cpu"))


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REENACT_DATA", str(tmp_path / "user"))
    return tmp_path / "user"


def test_the_report_has_the_designed_keys(
    tmp_path: Path, user: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = bench(fast_settings(), [128, 256], tmp_path / "bench.json", seconds=0.8)
    assert json.loads((tmp_path / "bench.json").read_text()) == report
    assert list(report) == ["machine", "device", "sizes", "start_s", "memory_mb"]
    assert list(report["sizes"]) == ["128", "256"]
    for figures in report["sizes"].values():
        assert figures["fps"] > 0
        assert figures["drops"] >= 0
        assert 0 < figures["cpu_share"] <= 1.1
        assert figures["gpu_share"] in (None, 0.0)  # told to leave it alone
        assert {"track", "fuse", "render", "blend", "paste"} <= set(figures["steps_ms"])
        for spread in (figures["latency_ms"], *figures["steps_ms"].values()):
            assert 0 <= spread["p50"] <= spread["p95"] <= spread["p99"]
    assert report["device"] == "cpu"
    assert report["start_s"]["cold"] > 0
    assert report["start_s"]["warm"] > 0
    printed = capsys.readouterr().out
    assert "256 px:" in printed
    assert ("GPU 0%" if report["machine"]["gpu"] else "GPU not measured") in printed
    assert not user.exists()


@pytest.mark.usefixtures("user")
def test_two_sides_are_measured_in_turn(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second side is another installed version, which starts as from the user's shell."""
    for name, value in LIBRARY_VARIABLES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    other = tmp_path / "other"
    installed = other / "reenact_slow-1.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: reenact\nVersion: 0\n")
    (installed / "entry_points.txt").write_text("[console_scripts]\nreenact = old_program:main\n")
    (other / "old_program.py").write_text(
        "import json, os, sys\n"
        "def main():\n"
        "    assert 'OPENCV_FOR_THREADS_NUM' not in os.environ\n"
        "    assert os.environ['OPENBLAS_NUM_THREADS'] == '2'\n"
        "    words = sys.argv[1:]\n"
        "    assert words[:3] == ['bench', '--set', 'renderer.engine=torch'], words\n"
        "    assert words[-4:-2] == ['--seconds', '0.5'], words\n"
        "    figures = {'fps': 1e-3, 'steps_ms': {'read': {'p50': 1.0, 'p98': 2.0}}}\n"
        "    report = {'sizes': {'64': figures}, 'start_s': 1.5, 'memory_mb': None}\n"
        "    open(words[-1], 'w').write(json.dumps(report))\n"
    )
    report = compare(
        ["this renderer.name=warp renderer.size=128", f"{other} renderer.engine=torch"],
        ["--seconds", "0.5"],
        rounds=2,
        json_path=tmp_path / "compared.json",
    )
    assert json.loads((tmp_path / "compared.json").read_text()) == report
    assert set(report["figures"]) == {"fps", "steps_ms.read.p50"}  # what both sides report
    fps = report["figures"]["fps"]
    assert fps["a"]["median"] > 0.1
    assert fps["b"] == {"median": 0.001, "least": 0.001, "greatest": 0.001}
    assert fps["ratio"]["least"] <= fps["ratio"]["median"] <= fps["ratio"]["greatest"] < 0.01
    written = capfd.readouterr()
    order = [line.split()[2] for line in written.err.splitlines() if line.startswith("round")]
    assert order == ["A", "B", "B", "A"]
    assert "| fps |" in written.out


@pytest.mark.parametrize(
    ("side", "message"),
    [
        ("fast", r"not 'fast'"),
        ("renderer.engin=torch", r"did you mean renderer\.engine"),
        ("renderer.engine=torhc", r"renderer\.engine"),
        ("renderer.name=wrap", r"no renderer called 'wrap'. Did you mean warp"),
        ("renderer.weights=none.safetensors", r"no model file none\.safetensors"),
        (str(Path(__file__).parent), r"has no installed reenact"),
        (__file__, r"test_benchmark\.py cannot be run: "),
        (shutil.which("false") or __file__, "cannot be run: "),
    ],
)
def test_a_side_that_cannot_be_measured_is_refused_before_the_first_measurement(
    side: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(*_: object) -> None:
        raise AssertionError("a measurement began")

    monkeypatch.setattr(benchmark_comparison, "_measure", measure)
    with pytest.raises(ReenactError, match=message):
        compare(["this", side], [], rounds=1)
    if "=" in side:
        with pytest.raises(ReenactError, match=message):
            compare(["this", "this"], [], rounds=1, assignments=[side])


@given(
    number=st.integers(0, 65535),
    size=st.sampled_from([(512, 512), (640, 360), (320, 240), (1280, 720)]),
    quality=st.integers(40, 95),
)
@settings(max_examples=60, deadline=None)
def test_a_number_survives_video(number: int, size: tuple[int, int], quality: int) -> None:
    """Halved colour, JPEG, and a reader of another size."""
    picture = np.random.default_rng(number).integers(0, 256, (*size[::-1], 3), np.uint8)
    assert read_number(picture) is None
    draw_number(picture, number)
    yuv = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420), cv2.COLOR_YUV2BGR_I420)
    _, data = cv2.imencode(".jpg", yuv, [cv2.IMWRITE_JPEG_QUALITY, quality])
    seen = cv2.resize(cv2.imdecode(data, cv2.IMREAD_COLOR), (480, 270))
    assert read_number(seen.astype(np.uint8)) == number


@pytest.mark.usefixtures("user")
def test_frames_are_seen_through_the_ring_for_obs(tmp_path: Path) -> None:
    figures = measure_delay(
        "obs:glass", fast_settings(), 2.0, tmp_path / "glass.json", reenactor=FakeReenactor()
    )
    assert json.loads((tmp_path / "glass.json").read_text()) == figures
    delay = figures["delay_ms"]
    assert 0 < delay["p50"] <= delay["p95"] <= delay["p99"] < 2000
    assert figures["seen"] >= 5
    assert figures["lost"] >= 0


def test_the_machine_is_described_with_all_that_figures_depend_on() -> None:
    machine = describe_machine()
    assert machine["cores"] >= 1
    assert machine["cpu"]
    assert {"reenact", "torch", "mediapipe", "openvino"} <= set(machine["packages"])
    json.dumps(machine)
    memory = peak_memory_mb()
    assert memory is None or 20 < memory < 100_000


def test_a_missing_folder_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="there is no folder"):
        bench(json_path=tmp_path / "no" / "bench.json")

"""The voice opens the mouth that the camera does not see, and nothing else does."""

from __future__ import annotations

import numpy as np
import pytest

from reenact.expression.voice import Voice
from reenact.expression.voice_envelope import Envelope
from reenact.face.geometry import canonical_face
from reenact.face.regions import REGIONS, mouth_gap, region_weights
from reenact.face.topology import ACTION_UNITS
from reenact.live.drives import still_expression
from reenact.types import SOUND_HZ, Array, Expression
from support.faces import deviation_of, units_of
from support.voices import FakeMicrophone, as_samples, noise, speech

FPS = 25
SEEN, COVERED = np.ones(6, np.float32), np.array([0, 1, 1, 1, 1, 0], np.float32)
OPEN = ACTION_UNITS.index("mouth_open")


def openings(sound: Array, envelope: Envelope | None = None) -> Array:
    """Return how far the mouth is open at each frame."""
    envelope, samples, step = envelope or Envelope(), as_samples(sound), SOUND_HZ // FPS
    return np.array(
        [envelope.hear(part) for part in np.split(samples, range(step, len(samples), step))]
    )


def after(time_s: float) -> slice:
    return slice(round(time_s * FPS), None)


def test_the_mouth_opens_with_each_syllable_and_shuts_in_a_pause() -> None:
    said = openings(noise(5, -65) + np.concatenate([noise(1, -90), speech(2), noise(2, -90)]))
    assert said[:FPS].max() < 0.02
    spoken = said[FPS : 3 * FPS].reshape(-1, FPS)
    assert spoken.max(axis=1).min() > 0.8
    peaks = (said[1:-1] > said[:-2]) & (said[1:-1] >= said[2:]) & (said[1:-1] > 0.5)
    assert 7 <= np.count_nonzero(peaks) <= 9
    assert np.diff(said).max() < 0.9
    assert said[after(3.4)].max() < 0.05


@pytest.mark.parametrize("level_db", [-60, -40, -20])
def test_noise_does_not_open_the_mouth_even_if_it_begins_suddenly(level_db: float) -> None:
    quiet = noise(1, -70)
    assert openings(np.concatenate([quiet, noise(4, level_db)])).max() < 0.02
    rumble = np.cumsum(noise(4, level_db))
    rumble -= np.convolve(rumble, np.ones(4000) / 4000, "same")
    rumble *= 10 ** (level_db / 20) / rumble.std()
    assert openings(np.concatenate([quiet, rumble])).max() < 0.05


def test_keys_and_claps_do_not_open_the_mouth() -> None:
    typed = noise(4, -65)
    fading = np.exp(-np.arange(480) / 100)
    for start in range(SOUND_HZ, 4 * SOUND_HZ - 480, SOUND_HZ // 7):
        typed[start : start + 480] += noise(0.01, -10, start) * fading
    assert openings(typed).max() < 0.1


def test_a_hum_opens_the_mouth_for_seconds_at_most() -> None:
    time = np.arange(10 * SOUND_HZ) / SOUND_HZ
    hum = sum(0.02 / n * np.sin(2 * np.pi * 120 * n * time) for n in range(1, 9))
    assert openings(np.concatenate([noise(1, -65), hum])).max() > 0.5
    assert openings(np.concatenate([noise(1, -65), hum]))[after(9)].max() < 0.05
    assert openings(np.asarray(hum)).max() < 0.05


def test_the_gain_of_the_microphone_does_not_matter() -> None:
    first, *others = (
        openings(gain * (noise(6, -60) + np.concatenate([noise(1, -90), speech(5)])))
        for gain in (1.0, 0.1, 3.0)
    )
    for other in others:
        np.testing.assert_allclose(other[after(2)], first[after(2)], atol=0.1)


def test_a_voice_is_heard_in_a_loud_room_and_its_pauses_are_too() -> None:
    sound = np.concatenate([noise(2, -90), speech(4), noise(2, -90), speech(4)])
    said = openings(sound + noise(12, -38))
    clear = openings(sound + noise(12, -65))
    assert said[after(8)].max() > 0.6
    assert np.corrcoef(said[after(2)], clear[after(2)])[0, 1] > 0.9
    assert said[round(6.4 * FPS) : 8 * FPS].max() < 0.05


def test_the_quiet_syllables_of_a_loud_speaker_open_the_mouth_less() -> None:
    sound = np.concatenate([speech(3, -15), speech(1, -30)]) + noise(4, -80)
    said = openings(sound)
    assert said[FPS : 3 * FPS].max() > 0.8
    assert 0.1 < said[round(3.2 * FPS) :].max() < 0.6


def test_a_quiet_speaker_opens_the_mouth_after_a_loud_one() -> None:
    sound = np.concatenate([speech(3, -15), speech(20, -40)]) + noise(23, -70)
    assert openings(sound)[after(22)].max() > 0.6


def test_sound_may_come_in_pieces_of_any_length() -> None:
    samples = as_samples(speech(1) + noise(1, -60))
    whole, pieces = Envelope(), Envelope()
    last = [whole.hear(samples[: SOUND_HZ // 2]), whole.hear(samples[SOUND_HZ // 2 :])][-1]
    for start in range(0, len(samples), 331):
        pieces.hear(samples[start : start + 331])
    assert last > 0.1
    assert pieces.opening == pytest.approx(last, abs=1e-3)


def test_sound_that_piled_up_is_skipped() -> None:
    envelope = Envelope()
    envelope.hear(as_samples(noise(60, -60)))
    assert envelope.hear(as_samples(speech(1))) > 0.1


def frames(voice: Voice, expressions: list[Expression], trust: list[Array]) -> list[Expression]:
    found = []
    for number, expression in enumerate(expressions):
        voice.step(1 / FPS, number / FPS)
        found.append(voice.of(expression, trust[number]))
    return found


def gaps(expressions: list[Expression]) -> Array:
    face = canonical_face()
    rest = mouth_gap(face)
    return np.array([mouth_gap(face + one.deviation) - rest for one in expressions])


def smiling() -> Expression:
    unit = {"smile_left": 0.8, "smile_right": 0.8, "blink_left": 0.5}
    return Expression(deviation_of(**unit), still_expression().pose, units_of(**unit))


def test_a_mouth_that_is_seen_is_left_alone_and_so_is_any_without_a_microphone() -> None:
    smile = [smiling()] * 50
    hearing = Voice()
    hearing.listen(FakeMicrophone(speech(2)))
    assert all(one is smile[0] for one in frames(hearing, smile, [SEEN] * 50))
    assert hearing.opening > 0.1
    assert all(one is smile[0] for one in frames(Voice(), smile, [COVERED] * 50))


def test_a_covered_mouth_speaks_and_only_the_mouth() -> None:
    voice = Voice()
    voice.listen(FakeMicrophone(np.concatenate([noise(1, -70), speech(2), noise(1, -70)])))
    found = frames(voice, [smiling()] * (4 * FPS), [COVERED] * (4 * FPS))
    gap = gaps(found)
    assert gap[FPS : 3 * FPS].max() > 0.15
    assert gap[round(0.8 * FPS) : FPS].max() < 0.01
    assert gap[after(3.5)].max() < 0.01
    eyes = region_weights()[REGIONS.index("eyes")] > 0.9
    for one in found:
        np.testing.assert_allclose(one.deviation[eyes], smiling().deviation[eyes], atol=0.01)
        assert one.action_units[ACTION_UNITS.index("blink_left")] == 0.5
        assert gaps([one])[0] == pytest.approx(0.4 * one.action_units[OPEN], abs=0.06)


def test_nothing_jumps_when_a_cover_comes_and_goes_and_the_setting_changes() -> None:
    time = np.arange(8 * SOUND_HZ) / SOUND_HZ
    vowel = np.asarray(0.3 * np.sign(np.sin(2 * np.pi * 150 * time)), np.float32)
    quiet = noise(8, -70)
    voice, found = Voice(), list[Expression]()
    doubts = np.interp(np.arange(200), [60, 64, 116, 120, 145, 149], [0, 1, 1, 0, 0, 1])
    first = FakeMicrophone(quiet + vowel * (time > 1))
    listened = {20: first, 100: None, 130: FakeMicrophone(quiet + vowel * (time > 6))}
    for number, doubt in enumerate(doubts):
        if number in listened:
            voice.listen(listened[number])
        voice.step(1 / FPS, number / FPS)
        found.append(voice.of(still_expression(), (1 - doubt * (1 - COVERED)).astype(np.float32)))
    gap = gaps(found)
    assert gap[90] > 0.15
    assert gap[119] < 0.01
    assert gap[199] > 0.15
    assert np.abs(np.diff(gap)).max() < 0.6 * gap.max()  # as where a voice begins or ends
    assert first.closed == 1


def test_a_cover_that_the_tracker_takes_for_closed_lips_still_speaks() -> None:
    """It does so within seconds; the lips are believed again once they are seen to open."""
    voice = Voice()
    voice.listen(FakeMicrophone(noise(20, -70) + np.concatenate([noise(3, -90), speech(17)])))
    trust = [COVERED] * FPS + [SEEN] * (15 * FPS)
    shut, opened = (
        smiling(),
        Expression(deviation_of(mouth_open=0.5), still_expression().pose, units_of(mouth_open=0.5)),
    )
    gap = gaps(frames(voice, [shut] * (8 * FPS) + [opened] * 10 + [shut] * (7 * FPS), trust))
    resting = gaps([shut])[0]
    assert gap[4 * FPS : 8 * FPS].max() > resting + 0.15
    assert gap[8 * FPS + 20 :] == pytest.approx(resting)
    smile = region_weights()[REGIONS.index("mouth")] > 0
    assert np.abs(shut.deviation[smile]).max() > 0.02


def test_lips_that_look_covered_and_are_heard_to_speak_are_opened() -> None:
    gap = {}
    for suspect in (False, True):
        voice = Voice()
        voice.listen(FakeMicrophone(np.concatenate([noise(1, -70), speech(4)])))
        found = []
        for number in range(5 * FPS):
            voice.step(1 / FPS, number / FPS)
            found.append(voice.of(smiling(), SEEN, suspect))
        gap[suspect] = gaps(found) - gaps([smiling()])
    assert not gap[False].any()
    assert not gap[True][:FPS].any()
    assert gap[True][3 * FPS :].max() > 0.15


def test_an_unplugged_microphone_shuts_the_mouth_and_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    voice = Voice()
    voice.listen(FakeMicrophone(speech(1.05)))
    gap = gaps(frames(voice, [still_expression()] * (10 * FPS), [COVERED] * (10 * FPS)))
    assert gap[FPS // 2 : FPS].max() > 0.1
    assert gap[after(2)].max() < 0.01
    assert caplog.text.count("The microphone sends nothing any more.") == 1
    assert voice.problem
    plugged = FakeMicrophone(speech(30))
    voice.listen(plugged)
    assert not voice.problem
    voice.listen(None)
    assert plugged.closed == 1

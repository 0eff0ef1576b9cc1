import av
import numpy as np
import pytest

pytest.importorskip("pyworld")

from helpers.clips import encode, ramp, rewrite

from faceanon_hub.video.voice import LOW, RATE, VoiceDisguise, load_world  # noqa: E402


def speech(pitch, seconds, formants=(700, 1200, 2600)):
    """A buzz of this pitch through resonances: a vowel, its melody falling and rising."""
    time = np.arange(round(seconds * RATE)) / RATE
    phase = np.cumsum(pitch * (1 + 0.1 * np.sin(2 * np.pi * 0.7 * time))) / RATE
    sound = np.diff(np.floor(phase), prepend=0) - pitch / RATE
    for middle in formants:
        pole = np.exp((-np.pi * 80 + 2j * np.pi * middle) / RATE)
        filtered, last, before = np.zeros_like(sound), 0.0, 0.0
        for number, value in enumerate(sound):
            last, before = value + 2 * pole.real * last - abs(pole) ** 2 * before, last
            filtered[number] = last
        sound = filtered
    return (0.5 * sound / np.abs(sound).max()).astype(np.float32)


def heard(sound):
    """Median pitch in Hz, and the first resonance."""
    world, sound = load_world(), sound.astype(np.float64)
    pitch, times = world.harvest(sound, RATE)
    envelope = world.cheaptrick(sound, pitch, times, RATE)[pitch > 0].mean(0)
    bins = np.arange(len(envelope)) * RATE / 2 / (len(envelope) - 1)
    return float(np.median(pitch[pitch > 0])), float(bins[np.argmax(envelope * ((bins > 400) & (bins < 1000)))])


@pytest.mark.parametrize("pitch", [110.0, 220.0])
def test_low_voices_are_raised_and_high_ones_lowered_with_their_formants(pitch):
    sound = speech(pitch, 3)
    disguise = VoiceDisguise(seed=1)
    result = np.concatenate([disguise.feed(sound), disguise.finish()])
    (before, formant), (after, moved) = heard(sound), heard(result)
    sign = 1 if pitch < LOW else -1
    assert len(result) == len(sound) and np.isfinite(result).all()
    assert after / before == pytest.approx(disguise.pitch**sign, rel=0.04) and abs(np.log2(after / before)) > 0.2
    # An envelope is told no finer than the harmonics lie.
    assert abs(moved - formant * disguise.formants**sign) < pitch / 2 and (moved > formant) == (sign > 0)


def test_spans_join_without_a_break_and_however_the_sound_comes():
    sound = speech(120, 10)
    whole, parts = VoiceDisguise(2), VoiceDisguise(2)
    first = np.concatenate([whole.feed(sound), whole.finish()])
    pieces = [parts.feed(sound[start : start + 1000]) for start in range(0, len(sound), 1000)]
    np.testing.assert_array_equal(np.concatenate([*pieces, parts.finish()]), first)
    loudness = np.sqrt((first[: len(first) // 480 * 480].reshape(-1, 480) ** 2).mean(1))[10:-10]
    assert loudness.min() > 0.3 * np.median(loudness) and len(first) == len(sound)


def test_silence_stays_silence():
    disguise = VoiceDisguise()
    result = np.concatenate([disguise.feed(np.zeros(RATE, np.float32)), disguise.finish()])
    assert len(result) == RATE and np.abs(result).max() < 1e-3


@pytest.mark.parametrize("target", ["a.mp4", "a.mkv", "a.webm", "a.avi"])
def test_disguised_sound_of_a_video_keeps_its_place_and_length(tmp_path, target):
    clip = encode(tmp_path / "clip.mp4", ramp(50), sound=True)
    rewrite(clip, tmp_path / target, voice="disguise", codec="libvpx-vp9" if target.endswith("webm") else None)
    with av.open(str(clip)) as old, av.open(str(tmp_path / target)) as new:
        assert new.streams.audio[0].layout.name == "mono"
        times = [[frame.time for frame in container.decode(audio=0)] for container in (old, new)]
    assert times[1][0] == pytest.approx(times[0][0], abs=0.08) and times[1][-1] == pytest.approx(
        times[0][-1], abs=0.12
    )
    packets = []
    for path in (clip, tmp_path / target):
        with av.open(str(path)) as container:
            packets.append({bytes(packet) for packet in container.demux(audio=0) if packet.size > 20})
    assert not packets[0] & packets[1]


def test_the_same_seed_gives_the_same_file(tmp_path):
    clip = encode(tmp_path / "clip.mp4", ramp(12), sound=True)
    for name in "ab":
        rewrite(clip, tmp_path / f"{name}.mp4", voice="disguise")
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()

import base64
import os
import random
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import PIL.Image
import pytest
from helpers.clips import encode, packets_of, ramp, read, rewrite, stream_of
from helpers.disk import full_disk

from faceanon_hub import UnreadableVideoError, UnwritableVideoError
from faceanon_hub.video import copied
from faceanon_hub.video.container import VideoReader, VideoWriter


def test_frames_come_in_order_with_their_times(tmp_path):
    frames = read(encode(tmp_path / "a.mp4", ramp()))
    assert [frame.number for frame in frames] == list(range(12))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(12) / 25)
    for frame, picture in zip(frames, ramp(), strict=True):
        assert np.abs(frame.pixels.astype(int) - picture)[16:].mean() < 3


def test_a_variable_frame_rate_is_kept(tmp_path):
    times = [0, 40, 200, 240, 600, 605, 1000]
    clip = encode(tmp_path / "a.mkv", ramp(7), times=times)
    rewrite(clip, tmp_path / "b.mp4")
    np.testing.assert_allclose([frame.time for frame in read(tmp_path / "b.mp4")], np.array(times) / 1000, atol=1e-3)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", [{}, {"hflip": True}, {"vflip": True}])
def test_rotation_and_mirroring_are_applied(tmp_path, turns, mirrored):
    clip = encode(tmp_path / "a.mov", ramp(), rotation=90 * turns, mirrored=mirrored)
    rewrite(clip, tmp_path / "b.mp4")
    shown = np.rot90(ramp()[3], turns)
    if mirrored:
        shown = np.flip(shown, 1 if "hflip" in mirrored else 0)
    for path in (clip, tmp_path / "b.mp4"):
        assert np.abs(read(path)[3].pixels.astype(int) - shown).mean() < 6
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert next(container.decode(video=0)).rotation == 0


@pytest.mark.parametrize("suffix", ["avi", "wmv", "mkv", "flv", "ogv"])
def test_frames_that_refer_to_later_ones_have_their_times(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 255, (48, 200, 3), np.uint8)
    pictures = [np.ascontiguousarray(noise[:, 4 * number : 4 * number + 64]) for number in range(25)]
    clip = encode(tmp_path / "a.mp4", pictures)
    # As other programs write it: in AVI and ASF with B-frames, whose times these do not store.
    other = clip if suffix == "ogv" else encode(tmp_path / f"other.{suffix}", pictures)
    rewrite(clip, tmp_path / f"ours.{suffix}")
    for path in (other, tmp_path / f"ours.{suffix}"):
        frames = read(path)
        np.testing.assert_allclose([frame.time for frame in frames], np.arange(25) / 25, atol=2e-3)
    if suffix in ("avi", "wmv"):
        with av.open(str(tmp_path / f"ours.{suffix}")) as container:
            assert all(frame.pict_type != 3 for frame in container.decode(video=0))  # FFmpeg's number of B


def test_ten_bits_are_read(tmp_path):
    frames = read(encode(tmp_path / "a.mp4", ramp(), codec="libx265", pix_fmt="yuv420p10le"))
    assert np.abs(frames[5].pixels.astype(int) - ramp()[5])[16:].mean() < 3


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_refused_with_a_word(tmp_path, transfer, name):
    clip = encode(tmp_path / "a.mp4", ramp(), transfer=transfer)
    with pytest.raises(UnreadableVideoError, match=rf"a\.mp4: HDR \({name}\): convert it to SDR first"):
        read(clip)


@pytest.mark.parametrize(
    ("codec", "name"),
    [("libx264", "h264"), ("libx265", "hevc"), ("libvpx-vp9", "vp9"), ("libsvtav1", "av1")]
    + [("ffv1", "ffv1"), ("mjpeg", "mjpeg")],
)
def test_colours_survive_every_codec(tmp_path, codec, name):
    clip = encode(tmp_path / "a.mkv", ramp(12, 64, 96))
    rewrite(clip, tmp_path / "b.mkv", codec=codec, quality=None if codec == "ffv1" else 95)
    before, after = read(clip), read(tmp_path / "b.mkv")
    assert len(after) == len(before)
    assert np.abs(before[4].pixels.astype(int) - after[4].pixels).mean() < 4
    with av.open(str(tmp_path / "b.mkv")) as container:
        assert container.streams.video[0].codec_context.codec.canonical_name == name


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root may set priorities")
def test_encoders_leave_priorities_alone(tmp_path):
    reader = VideoReader(encode(tmp_path / "a.mkv", ramp(12, 64, 96)))
    frame = next(reader.read([]))
    target = tmp_path / "b.mkv"
    writer = VideoWriter(target, target, reader, frame, codec="libsvtav1")
    writer.write(frame)
    threads = [int(thread.name) for thread in Path("/proc/self/task").iterdir()]
    assert len(threads) > 10
    assert {os.sched_getscheduler(thread) for thread in threads} == {os.SCHED_OTHER}
    writer.finish()
    reader.close()


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "webm", "avi", "ts"])
def test_the_suffix_gives_the_container(tmp_path, suffix):
    clip = encode(tmp_path / "a.mkv", ramp(12, 64, 96))
    rewrite(clip, tmp_path / f"b.{suffix}")
    assert len(read(tmp_path / f"b.{suffix}")) == 12


def test_quality_is_a_matter_of_size(tmp_path):
    pictures = list(np.random.default_rng(0).integers(0, 255, (8, 64, 64, 3), np.uint8))
    clip = encode(tmp_path / "a.mkv", pictures, codec="ffv1", pix_fmt="bgr0")
    for quality in (10, 90):
        rewrite(clip, tmp_path / f"{quality}.mp4", quality=quality)
    assert 3 * (tmp_path / "10.mp4").stat().st_size < (tmp_path / "90.mp4").stat().st_size


def test_odd_sides_grow_by_a_pixel(tmp_path):
    clip = encode(tmp_path / "a.mkv", ramp(6, 47, 63), codec="ffv1", pix_fmt="bgr0")
    assert read(clip)[0].pixels.shape == (47, 63, 3)
    rewrite(clip, tmp_path / "b.mp4")
    pixels = read(tmp_path / "b.mp4")[0].pixels.astype(int)
    assert pixels.shape == (48, 64, 3) and np.abs(pixels[47] - pixels[46]).mean() < 6


def test_a_part_is_taken(tmp_path):
    clip = encode(tmp_path / "a.mp4", ramp(25), sound=True)
    frames = read(clip, start=0.2, end=0.6)
    assert len(frames) == 10 and frames[0].time == 0
    assert np.abs(frames[0].pixels.astype(int) - ramp(25)[5])[16:].mean() < 3
    rewrite(clip, tmp_path / "b.mp4", start=0.2, end=0.6)
    with av.open(str(tmp_path / "b.mp4")) as container:
        sound = [frame.time for frame in container.decode(audio=0)]
    assert min(sound) < 0.05 and 0.3 < max(sound) < 0.45


def test_sound_is_copied_or_left_out(tmp_path):
    clip = encode(tmp_path / "a.mp4", ramp(25), sound=True)
    rewrite(clip, tmp_path / "with.mp4")
    rewrite(clip, tmp_path / "without.mp4", voice="drop")
    with av.open(str(clip)) as old, av.open(str(tmp_path / "with.mp4")) as new:
        packets = [[bytes(p) for p in container.demux(audio=0) if p.size] for container in (old, new)]
    assert packets[0] == packets[1] and len(packets[0]) > 30
    with av.open(str(tmp_path / "without.mp4")) as container:
        assert not container.streams.audio


def with_pcm(path, layout):
    """A video with uncompressed sound, of which AVI and Matroska do not store which channel is which."""
    with av.open(str(path), "w") as container:
        stream, sound = stream_of(container, "mpeg4"), container.add_stream("pcm_s16le", 44100, layout=layout)
        container.mux(packets_of(stream, ramp(25)))
        samples = np.zeros((1, 44100 * sound.codec_context.layout.nb_channels), np.int16)
        block = av.AudioFrame.from_ndarray(samples, "s16", layout)
        block.sample_rate, block.pts, block.time_base = 44100, 0, Fraction(1, 44100)
        container.mux(sound.encode(block))
        container.mux(sound.encode(None))
    return path


@pytest.mark.parametrize("layout", ["mono", "stereo", "5.1"])
@pytest.mark.parametrize("suffix", ["avi", "mkv"])
@pytest.mark.parametrize("target", ["mp4", "mov", "mkv", "avi", "wmv"])
def test_uncompressed_sound_is_copied(tmp_path, suffix, layout, target):
    clip = with_pcm(tmp_path / f"a.{suffix}", layout)
    rewrite(clip, tmp_path / f"b.{target}")
    with av.open(str(tmp_path / f"b.{target}")) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) == 44100


@pytest.mark.parametrize("target", ["ts", "mpg", "flv", "ogv", "webm", "3gp"])
def test_sound_that_would_be_lost_is_told(tmp_path, target):
    clip = with_pcm(tmp_path / "a.avi", "5.1")
    cause = rf"\.{target} holds no pcm_s16le sound: write \.mkv, or .* --voice drop"
    with pytest.raises(UnwritableVideoError, match=cause):
        rewrite(clip, tmp_path / f"b.{target}")
    assert [path.name for path in tmp_path.iterdir()] == ["a.avi"]
    rewrite(clip, tmp_path / f"b.{target}", voice="drop")


def test_places_are_dropped_and_chapters_kept(tmp_path):
    chapter = {"id": 1, "start": 0, "end": 800, "time_base": Fraction(1, 1000), "metadata": {"title": "One"}}
    told = {"location": "+48.2+16.3/", "com.apple.quicktime.location.ISO6709": "+48.2+16.3/", "title": "Home"}
    use = {"container": {"movflags": "use_metadata_tags"}}
    clip = encode(tmp_path / "a.mp4", ramp(25), metadata=told, chapters=[chapter], **use)
    with av.open(str(clip)) as container:
        assert "+48.2+16.3/" in container.metadata.values()
    rewrite(clip, tmp_path / "b.mp4")
    with av.open(str(tmp_path / "b.mp4")) as container:
        (kept,) = container.chapters()
        assert kept["metadata"] == {"title": "One"} and kept["end"] * kept["time_base"] == Fraction(4, 5)
    assert b"+48.2" not in (tmp_path / "b.mp4").read_bytes() and b"Home" not in (tmp_path / "b.mp4").read_bytes()
    notes = rewrite(clip, tmp_path / "b.avi")
    assert any("chapters are left out" in note for note in notes)


def test_subtitles_are_kept_where_they_fit(tmp_path):
    (tmp_path / "a.srt").write_text("1\n00:00:00,100 --> 00:00:00,500\nGood evening\n\n")
    encode(tmp_path / "a.mkv", ramp(25), words=tmp_path / "a.srt")
    rewrite(tmp_path / "a.mkv", tmp_path / "b.mkv")
    with av.open(str(tmp_path / "b.mkv")) as container:
        (stream,) = container.streams.subtitles
        assert stream.language == "eng"
        assert any(b"Good evening" in bytes(packet) for packet in container.demux(stream))
    (note,) = rewrite(tmp_path / "a.mkv", tmp_path / "b.mp4")
    assert "subtitles in" in note and ".mp4 does not hold them" in note


def test_what_is_no_video_is_told(tmp_path):
    for number in range(3):
        PIL.Image.fromarray(ramp()[number]).save(tmp_path / f"{number}.jpg")
    for path in (tmp_path / "%d.jpg", tmp_path / "0.jpg"):
        with pytest.raises(UnreadableVideoError):
            read(path)
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a video\n" * 50)
    (tmp_path / "folder.mp4").mkdir()
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", 44100)
        block = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
        block.sample_rate = 44100
        container.mux(stream.encode(block))
        container.mux(stream.encode(None))
    causes = {"missing": "no such file", "empty": "empty", "folder": "a folder"}
    for name, cause in {**causes, "text": "no video", "sound": "no video"}.items():
        with pytest.raises(UnreadableVideoError, match=rf"{name}\.mp4: .*{cause}"):
            read(tmp_path / f"{name}.mp4")


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_a_file_cut_short_is_refused(tmp_path, suffix, share):
    pictures = list(np.random.default_rng(0).integers(0, 255, (50, 64, 64, 3), np.uint8))
    whole = encode(tmp_path / f"a.{suffix}", pictures, container={"movflags": "faststart"} if suffix == "mp4" else {})
    content = whole.read_bytes()
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(content[: int(share * len(content))])
    assert len(read(whole)) == 50
    with pytest.raises(UnreadableVideoError, match="cut short|damaged"):
        read(cut)


def test_damaged_bytes_are_told(tmp_path):
    pictures = list(np.random.default_rng(0).integers(0, 255, (50, 64, 64, 3), np.uint8))
    clip = encode(tmp_path / "a.mp4", pictures)
    content = bytearray(clip.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 20_000] = b"\xa5" * 20_000
    clip.write_bytes(content)
    with pytest.raises(UnreadableVideoError, match="damaged"):
        read(clip)


def test_what_cannot_be_written_is_told(tmp_path):
    clip = encode(tmp_path / "a.mp4", ramp())
    for target, more, cause in (
        ("b.xyz", {}, "unknown file type '.xyz'"),
        ("b.mp4", {"codec": "nonsense"}, "nonsense is no video codec that"),
        ("b.webm", {"codec": "libx264"}, "libx264 is no video codec that .webm holds"),
        ("b.mp4", {"codec": "aac"}, "aac is no video codec"),
        ("nowhere/b.mp4", {}, "No such file"),
    ):
        with pytest.raises(UnwritableVideoError, match=cause):
            rewrite(clip, tmp_path / target, **more)
    with pytest.raises(ValueError, match="`quality` can be set for"):
        rewrite(clip, tmp_path / "b.mkv", codec="ffv1", quality=50)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_no_space_left(tmp_path):
    pictures = list(np.random.default_rng(0).integers(0, 255, (30, 64, 64, 3), np.uint8))
    clip = encode(tmp_path / "a.mp4", pictures)
    (tmp_path / "b.mp4").write_bytes(b"what was there")
    with full_disk(20_000), pytest.raises(UnwritableVideoError, match=r"b\.mp4: File too large"):
        rewrite(clip, tmp_path / "b.mp4")
    assert (tmp_path / "b.mp4").read_bytes() == b"what was there"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]


PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{0}\n#EXT-X-ENDLIST\n"
LISTS = {
    "a.m3u8": PLAYLIST,
    "a.mp4": PLAYLIST,
    "b.m3u8": '#EXTM3U\n#EXT-X-MAP:URI="{0}"\n#EXTINF:1,\nfile://{0}\n#EXT-X-ENDLIST\n',
    "a.ffconcat": "ffconcat version 1.0\nfile {0}\n",
    "b.mp4": "ffconcat version 1.0\nfile {0}\n",
    "a.sdp": "v=0\nm=video 5004 RTP/AVP 96\n",
    "a.mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period><AdaptationSet>'
    "<Representation><BaseURL>{0}</BaseURL></Representation></AdaptationSet></Period></MPD>",
}


@pytest.mark.parametrize("name", LISTS)
def test_what_names_other_files_is_no_video(tmp_path, name):
    other = encode(tmp_path / "other.ts", ramp())
    path = tmp_path / name
    path.write_text(LISTS[name].format(other))
    with pytest.raises(UnreadableVideoError) as caught:
        read(path)
    assert str(path) in str(caught.value) and "playlist" in str(caught.value) or "no video" in str(caught.value)


def test_a_suffix_says_nothing(tmp_path):
    clip = encode(tmp_path / "a.mkv", ramp())
    assert len(read(clip.rename(tmp_path / "a.m3u8"))) == 12


def test_an_unknown_codec_is_told(tmp_path):
    content = encode(tmp_path / "a.mp4", ramp()).read_bytes()
    assert content.count(b"avc1") == 2  # brand and sample entry
    place = content.rindex(b"avc1")
    (tmp_path / "b.mp4").write_bytes(content[:place] + b"zzzz" + content[place + 4 :])
    with pytest.raises(UnreadableVideoError, match="b.mp4: its codec is not known"):
        read(tmp_path / "b.mp4")


NOISE = np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8).repeat(4, 0).repeat(4, 1)


@pytest.mark.parametrize(
    ("suffix", "codec"), [("mp4", "libx264"), ("mkv", "libvpx-vp9"), ("mkv", "libsvtav1"), ("avi", "libx264")]
)
def test_no_frame_is_lost_in_silence(tmp_path, suffix, codec):
    pictures = [np.roll(NOISE, 2 * n, 1) for n in range(12)]
    if codec == "libsvtav1":  # by the writer, which keeps it from changing priorities
        rewrite(encode(tmp_path / "x264.mkv", pictures), tmp_path / "a.mkv", codec=codec)
    else:
        encode(tmp_path / f"a.{suffix}", pictures, codec=codec)
    content = (tmp_path / f"a.{suffix}").read_bytes()
    seen = set()
    for number in range(60):
        dice, path = random.Random(number), tmp_path / f"b.{suffix}"
        damaged, start = bytearray(content), int(len(content) * dice.uniform(0.2, 1))
        for _ in range(6):
            damaged[min(len(content) - 1, start + dice.randrange(40))] = dice.randrange(256)
        path.write_bytes(damaged)
        try:
            frames = len(read(path))
        except UnreadableVideoError:
            seen.add("refused")
            continue
        with av.open(str(path)) as container:
            assert frames == sum(packet.size > 0 for packet in container.demux(video=0))
        seen.add("read")
    # SVT-AV1 writes other bytes from run to run: that some damage can be played is up to chance.
    assert "refused" in seen and (codec == "libsvtav1" or "read" in seen)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_the_same_is_written_again(tmp_path, suffix):
    large = np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    clip = encode(tmp_path / "a.mkv", [np.roll(large, 3 * n, 1) for n in range(40)], sound=True)
    for number in range(8):
        rewrite(clip, tmp_path / f"{number}.{suffix}")
    assert len({(tmp_path / f"{number}.{suffix}").read_bytes() for number in range(8)}) == 1


SECRET = base64.b64encode(np.random.default_rng(0).bytes(3000))


def tone(path, codec, header=None, prefix=b"", **tags):
    """A clip with sound in a codec, its header changed and something before the first packet's content."""
    with av.open(str(path), "w") as container:
        picture = stream_of(container)
        sound = container.add_stream(codec, 48000)
        sound.codec_context.layout = "stereo"
        sound.codec_context.options = {"strict": "-2"}
        kind = sound.codec_context.codec.audio_formats[0].name
        packets = []
        for number in range(24):
            wave = (np.sin(np.arange(1024) / 20) * 9000).astype(np.int16)[None].repeat(2, 1)
            block = av.AudioFrame.from_ndarray(wave, "s16", "stereo")
            block.sample_rate, block.pts, block.time_base = 48000, 1024 * number, Fraction(1, 48000)
            (block,) = av.AudioResampler(kind, "stereo", 48000).resample(block)
            packets += sound.encode(block)
        packets += sound.encode(None) + packets_of(picture, ramp())
        if header is not None:
            sound.codec_context.extradata = header(bytes(sound.codec_context.extradata or b""))
        sound.metadata.update(tags)
        first = next(number for number, packet in enumerate(packets) if packet.stream is sound)
        if prefix:
            old = packets[first]
            new = av.Packet(prefix + bytes(old))
            new.pts, new.dts, new.time_base, new.stream = old.pts, old.dts, old.time_base, sound
            packets.insert(first, new)
        container.mux(packets)
    assert SECRET[:60] in path.read_bytes()
    return path


def with_comments(header):
    first, _, setup = copied._unlaced(header)
    vendor, tags = b"LOCATION", [b"ARTIST=Zoe", b"METADATA_BLOCK_PICTURE=" + SECRET]
    coded = b"".join(len(tag).to_bytes(4, "little") + tag for tag in tags)
    comments = b"\x03vorbis" + len(vendor).to_bytes(4, "little") + vendor + (2).to_bytes(4, "little") + coded + b"\1"
    return copied._laced(first, comments, setup)


def behind_setup(header):
    first, comments, setup = copied._unlaced(header)
    return copied._laced(first, comments, setup + SECRET)


def sounds(path):
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], 1)


@pytest.mark.parametrize("suffix", ["mkv", "webm"])
@pytest.mark.parametrize("hidden", [with_comments, behind_setup])
def test_the_header_of_vorbis_keeps_nothing_but_codebooks(tmp_path, suffix, hidden):
    clip = tone(tmp_path / "a.mkv", "vorbis", hidden)
    rewrite(clip, tmp_path / f"b.{suffix}")
    content = (tmp_path / f"b.{suffix}").read_bytes()
    assert not any(word in content for word in (SECRET[:60], b"ARTIST", b"LOCATION", b"METADATA_BLOCK_PICTURE"))
    np.testing.assert_array_equal(sounds(tmp_path / f"b.{suffix}"), sounds(clip))


@pytest.mark.parametrize("codec", ["aac", "alac"])
def test_sound_whose_header_may_hold_a_picture_is_refused(tmp_path, codec):
    clip = tone(tmp_path / "a.mkv", codec, lambda header: header + SECRET)
    with pytest.raises(UnwritableVideoError, match=rf"sound in {codec} .* hold a picture: leave it out by --voice"):
        rewrite(clip, tmp_path / "b.mkv")
    rewrite(clip, tmp_path / "c.mkv", voice="drop")
    assert SECRET[:60] not in (tmp_path / "c.mkv").read_bytes()


@pytest.mark.parametrize("codec", ["libmp3lame", "flac", "libopus", "aac", "ac3", "pcm_s16le", "mp2"])
def test_sound_of_every_usual_codec_is_copied(tmp_path, codec):
    clip = tone(tmp_path / "a.mkv", codec, title=SECRET.decode(), language=SECRET.decode())
    rewrite(clip, tmp_path / "b.mkv")
    assert SECRET[:60] not in (tmp_path / "b.mkv").read_bytes()
    np.testing.assert_array_equal(sounds(tmp_path / "b.mkv"), sounds(clip))


def test_a_tag_among_packets_of_sound_is_left_out(tmp_path):
    clip = tone(tmp_path / "a.mkv", "libmp3lame", prefix=b"ID3\4\0\0\0\0\x10\0APIC" + SECRET)
    (note,) = rewrite(clip, tmp_path / "b.mkv")
    assert "may hold a picture" in note and SECRET[:60] not in (tmp_path / "b.mkv").read_bytes()


def ebml(name, *parts):
    """An element of Matroska: its number, and bytes, numbers or elements in it."""
    content = b"".join(part if isinstance(part, bytes) else part.to_bytes(4, "big") for part in parts)
    return bytes.fromhex(name) + (len(content) | 1 << 56).to_bytes(8, "big") + content


def test_side_data_of_packets_is_not_copied(tmp_path):
    with av.open(str(tone(tmp_path / "a.mkv", "libopus", title=SECRET.decode()))) as container:
        streams, tracks, blocks = (container.streams.video[0], container.streams.audio[0]), b"", b""
        for number, (stream, codec) in enumerate(zip(streams, (b"V_MPEG4/ISO/AVC", b"A_OPUS"), strict=True), 1):
            shape = ebml("e0", ebml("b0", 64), ebml("ba", 48)) if number == 1 else ebml("e1", ebml("9f", 2))
            private = ebml("63a2", bytes(stream.codec_context.extradata))
            numbers = ebml("d7", number), ebml("73c5", number), ebml("83", number)
            tracks += ebml("ae", *numbers, ebml("86", codec), private, shape)
        for packet in container.demux():
            if packet.size:
                time, track = round(packet.pts * packet.time_base * 1000), 1 + (packet.stream is streams[1])
                head = bytes([0x80 | track]) + time.to_bytes(2, "big", signed=True) + b"\0"
                block = ebml("a1", head + bytes(packet))
                more = ebml("75a1", ebml("a6", ebml("ee", 1), ebml("a5", SECRET)))
                blocks += ebml("a0", block, more) if track == 2 else ebml("a0", block)
    info = ebml("1549a966", ebml("2ad7b1", 1_000_000))
    whole = ebml("18538067", info, ebml("1654ae6b", tracks), ebml("1f43b675", ebml("e7", 0), blocks))
    (tmp_path / "b.mkv").write_bytes(ebml("1a45dfa3", ebml("4282", b"matroska")) + whole)
    rewrite(tmp_path / "b.mkv", tmp_path / "c.mkv")
    assert len(read(tmp_path / "c.mkv")) == 12 and sounds(tmp_path / "c.mkv").any()
    assert SECRET[:60] in (tmp_path / "b.mkv").read_bytes() and SECRET[:60] not in (tmp_path / "c.mkv").read_bytes()


ASS = """[Script Info]
; Made by Zoe
Title: {0}
Original Script: Zoe
ScriptType: v4.00+
PlayResX: 640

[Aegisub Project Garbage]
Video File: /home/zoe/party.mp4

[V4+ Styles]
Format: Name, Fontname, Fontsize
Style: Default,Arial,20

[Fonts]
fontname: face.ttf
{0}

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:00.10,0:00:00.50,Default,,0,0,0,,Good evening
Dialogue: 0,0:00:00.50,0:00:00.70,Default,,0,0,0,,{0}
"""


def test_subtitles_keep_styles_and_words_alone(tmp_path):
    (tmp_path / "a.ass").write_text(ASS.format(SECRET.decode()))
    encode(tmp_path / "a.mkv", ramp(25), words=tmp_path / "a.ass")
    content = (tmp_path / "a.mkv").read_bytes()
    assert SECRET[:60] in content and b"party.mp4" in content
    (note,) = rewrite(tmp_path / "a.mkv", tmp_path / "b.mkv")
    content = (tmp_path / "b.mkv").read_bytes()
    assert "may hold a picture" in note and not any(word in content for word in (SECRET[:60], b"party", b"Zoe"))
    with av.open(str(tmp_path / "b.mkv")) as container:
        (stream,) = container.streams.subtitles
        assert b"Style: Default,Arial,20" in stream.codec_context.extradata
        assert any(b"Good evening" in bytes(packet) for packet in container.demux(stream))


def with_words(path, codec, texts):
    """A video with packets of subtitles."""
    with av.open(str(path), "w") as container:
        stream, words = stream_of(container), container.add_stream(codec)
        words.codec_context.time_base = Fraction(1, 1000)
        if codec != "dvdsub":
            words.codec_context.subtitle_header = ASS[ASS.index("[V4+") : ASS.index("[Fonts")].encode() + b"[Events]\n"
        container.start_encoding()
        for number, text in enumerate(texts):
            packet = av.Packet(text)
            packet.pts = packet.dts = 200 * number
            packet.duration, packet.time_base, packet.stream = 150, Fraction(1, 1000), words
            container.mux(packet)
        container.mux(packets_of(stream, ramp()))
    assert SECRET[:60] in path.read_bytes()
    return path


@pytest.mark.parametrize(("codec", "suffix"), [("mov_text", "mp4"), ("webvtt", "mkv")])
def test_other_subtitles_keep_words_alone(tmp_path, codec, suffix):
    texts = [b"Good evening", SECRET]
    if codec == "mov_text":  # a text and its length; a box of styles may follow
        texts = [len(text).to_bytes(2, "big") + text for text in texts]
        texts[0] += (8 + len(SECRET)).to_bytes(4, "big") + b"styl" + SECRET
    (note,) = rewrite(with_words(tmp_path / f"a.{suffix}", codec, texts), tmp_path / f"b.{suffix}")
    assert "may hold a picture" in note and SECRET[:60] not in (tmp_path / f"b.{suffix}").read_bytes()
    with av.open(str(tmp_path / f"b.{suffix}")) as container:
        assert b"Good evening" in b"".join(bytes(packet) for packet in container.demux(subtitles=0))


def test_subtitles_that_are_pictures_are_left_out(tmp_path):
    (note,) = rewrite(with_words(tmp_path / "a.mkv", "dvdsub", [SECRET]), tmp_path / "b.mkv")
    assert "subtitle stream 1 is left out" in note and SECRET[:60] not in (tmp_path / "b.mkv").read_bytes()


def test_titles_of_chapters_are_words(tmp_path):
    base = {"time_base": Fraction(1, 1000)}
    chapters = [{"id": 1, "start": 0, "end": 400, "metadata": {"title": SECRET.decode()}, **base}]
    chapters += [{"id": 2, "start": 400, "end": 800, "metadata": {"title": "Two"}, **base}]
    clip = encode(tmp_path / "a.mkv", ramp(25), chapters=chapters)
    rewrite(clip, tmp_path / "b.mkv")
    with av.open(str(tmp_path / "b.mkv")) as container:
        assert [chapter["metadata"].get("title", "") for chapter in container.chapters()] == ["", "Two"]
    assert SECRET[:60] not in (tmp_path / "b.mkv").read_bytes()


def test_transparency_of_a_video_is_not_written(tmp_path):
    hidden = np.dstack([np.full((48, 64, 3), 90, np.uint8), NOISE[..., 0]])
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        container.mux(packets_of(stream_of(container, "ffv1", "bgra"), [hidden] * 4, "rgba"))
    assert np.ptp(read(tmp_path / "a.mkv")[0].pixels.astype(int)) <= 2
    suffixes = {"ffv1": "mkv", "png": "mov", "qtrle": "mov", "prores_ks": "mov", "libvpx-vp9": "webm"}
    for codec, suffix in suffixes.items():
        rewrite(tmp_path / "a.mkv", tmp_path / f"{codec}.{suffix}", codec=codec)
        with av.open(str(tmp_path / f"{codec}.{suffix}")) as container:
            frame = next(container.decode(video=0))
            assert np.ptp(frame.to_ndarray(format="rgba").reshape(-1, 4).astype(int), axis=0)[3] == 0

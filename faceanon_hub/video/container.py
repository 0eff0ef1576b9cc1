"""Videos in and out: upright 8-bit frames with their times, and the sound, subtitles and chapters beside them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import MissingDependencyError, UnreadableVideoError, UnwritableVideoError
from ..files import open_regular
from ..io.profiles import HDR
from . import copied
from .voice import RATE, DisguisedTrack, Voice

if TYPE_CHECKING:
    import av

VIDEO_SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".vob"}
    | {".webm", ".wmv"}
)
# FFmpeg's names of the containers that are opened, recognized by their content: none that names other files.
DEMUXERS = ("mov", "matroska", "avi", "flv", "mpegts", "mpeg", "ogg", "asf")
TO_SDR = "HDR ({}): convert it to SDR first, as with ffmpeg's zscale and tonemap filters"
# Of these, where not interlaced, each packet with a picture gives a frame.
ONE_TO_ONE = {"h264", "hevc", "vp9", "av1", "mjpeg", "ffv1"}
LOST = 0.5  # seconds that may be missing at the end of a file before it counts as cut short
# ITU-T H.273's matrices as swscale counts them; it takes what is not stated for BT.601, there and back.
MATRICES = {1: 1, 4: 4, 7: 7, 9: 9}
BT709, BT601 = 1, 5
LIMITED, FULL = 1, 2
ENCODERS = {"h264": "libx264", "hevc": "libx265", "vp9": "libvpx-vp9", "vp8": "libvpx", "av1": "libsvtav1"}
QUALITY = 65
BITEXACT = 1 << 23  # of a codec's flags: no version in what it writes
# Option that sets the quality of a codec, and its worst and best value.
SCALES = {
    "libx264": ("crf", 51, 0),
    "libx265": ("crf", 51, 0),
    "libvpx-vp9": ("crf", 63, 0),
    "libvpx": ("crf", 63, 4),
    "libsvtav1": ("crf", 63, 1),
    "mpeg4": ("qscale", 31, 1),
    "mjpeg": ("qscale", 31, 1),
    "mpeg2video": ("qscale", 31, 1),
}
CODEC_OPTIONS = {
    "libvpx": {"b": "0"},
    "libvpx-vp9": {"b": "0"},
    # Without it, x264's result depends on code paths of the processor and differs from run to run.
    "libx264": {"x264-params": "cpu-independent=1"},
}
# Containers that store when a packet is decoded, not when its picture is shown.
UNTIMED = ("avi", "asf")
# Sound of those muxers that take any, and then lose it or end the process.
SOUND = {
    "mpegts": {"aac", "ac3", "dts", "eac3", "mp2", "mp3", "opus", "truehd"},
    "flv": {"aac", "ac3", "eac3", "flac", "mp3", "opus"},
}
NO_SOUND = "{} holds no {} sound: write .mkv, or leave it out by --voice drop"
CHAPTERS = {"mp4", "mov", "ipod", "matroska", "webm", "ogg"}


@dataclass(eq=False)
class Frame:
    """A frame of a video, counted from 0: its time from the start of what is read, in seconds and units of the video's
    time base, and its upright pixels `(H, W, 3)`, uint8, RGB.
    """

    number: int
    time: float
    pts: int
    pixels: np.ndarray


def _end_of(packet: av.Packet) -> float:
    """Seconds at which a packet ends; 0 where it has no time."""
    return 0.0 if packet.pts is None else float((packet.pts + (packet.duration or 0)) * packet.stream.time_base)


class VideoReader:
    """Reads a video from its first frame to its last, whole or not at all.

    Rotation is applied; frames of more than 8 bits are rounded to 8. Of several pictures, as of a cover, the one that
    a player shows is read.

    Args:
        source (`str` or `os.PathLike`):
            File in one of the containers of `DEMUXERS`, in any codec that PyAV reads.
        start, end (`float`, *optional*):
            Seconds between which to read.

    Raises:
        MissingDependencyError: PyAV is not installed.
        UnreadableVideoError: missing, no regular file, empty, no such container or codec, damaged, cut short, or HDR.
    """

    def __init__(self, source: str | os.PathLike[str], start: float | None = None, end: float | None = None) -> None:
        self.source, self.start, self.end = str(source), start, end
        self._av = load_av()
        self.container = self._open()
        cover = self._av.stream.Disposition.attached_pic
        videos = [stream for stream in self.container.streams.video if not stream.disposition & cover]
        if not videos:
            self.container.close()
            raise UnreadableVideoError(self.source, "no video in it")
        videos = [stream for stream in videos if stream.codec_context is not None]
        if not videos:
            self.container.close()
            raise UnreadableVideoError(self.source, "its codec is not known")
        best = self.container.streams.best("video")
        self.stream = best if best in videos else videos[0]
        # Decoders of several frames at a time swallow errors of the last ones.
        self.stream.thread_type = "SLICE"
        # Damage is to be an error, not guessed pixels.
        self.stream.codec_context.options = {"err_detect": "explode"}
        began = (self.container.start_time or 0) / self._av.time_base
        # A file that begins late, as a recording of a broadcast does, is moved to 0; what begins early is left.
        self.origin = max(0.0, began) + (start or 0.0)
        length = (self.container.duration or 0) / self._av.time_base
        self.length = max(0.0, min(length, end or length) - (start or 0.0))
        if start and length and start >= length:
            self.container.close()
            raise ValueError(f"`start` is {start:g} s, but {self.source} lasts {length:g} s")

    def _open(self) -> av.container.InputContainer:
        try:
            with open_regular(self.source) as file:
                if os.fstat(file.fileno()).st_size == 0:
                    raise UnreadableVideoError(self.source, "the file is empty")
                # FFmpeg gets the open file, not its name, and may open nothing else: what the file is, its content
                # tells, and what it names stays closed.
                options = {"fd": str(file.fileno()), "protocol_whitelist": "fd"}
                options["format_whitelist"] = ",".join(DEMUXERS)
                return self._av.open("fd:", options=options, metadata_errors="ignore")
        except FileNotFoundError as error:
            raise UnreadableVideoError(self.source, "no such file") from error
        except IsADirectoryError as error:
            raise UnreadableVideoError(self.source, "a folder, not a video file") from error
        except PermissionError as error:
            raise UnreadableVideoError(self.source, "no permission to read it") from error
        except self._av.ArgumentError as error:
            known = ", ".join(sorted(VIDEO_SUFFIXES))
            cause = f"a playlist, a list of files, or another format that is not opened; known are {known}"
            raise UnreadableVideoError(self.source, cause) from error
        except self._av.FFmpegError as error:
            raise UnreadableVideoError(self.source, f"damaged, or no video ({error.strerror})") from error
        except (OSError, ValueError) as error:
            raise UnreadableVideoError(self.source, getattr(error, "strerror", None) or str(error)) from error

    def beside(self, audio: bool) -> tuple[list[Any], list[str]]:
        """Streams to be copied, and which ones are not, in words."""
        kinds = ("audio", "subtitle") if audio else ("subtitle",)
        kept = [s for s in self.container.streams if s.type in kinds and s.codec_context is not None]
        kept = [s for s in kept if s.type == "audio" or copied.codec_of(s) in copied.TEXTS]
        left = [s for s in self.container.streams if s not in kept and s is not self.stream]
        left = [s for s in left if audio or s.type != "audio"]
        return kept, [f"{s.type} stream {s.index} is left out: it may show people or places" for s in left]

    def read(self, beside: list[Any]) -> Iterator[Frame | av.Packet]:
        """Frames, and between them the packets of other streams, their times counted from the start."""
        number, latest, corrupt = 0, 0.0, False
        size: tuple[int, ...] | None = None
        clock = _Clock(self)
        open_streams = {self.stream.index, *(s.index for s in beside if s.type == "audio")}
        last_pts = -1
        awaited = _Awaited(self)
        try:
            self._seek_start()
            for packet in self.container.demux(self.stream, *beside):
                corrupt |= packet.is_corrupt
                latest = max(latest, _end_of(packet))
                if packet.stream.index != self.stream.index:
                    if self._within(packet, open_streams):
                        yield packet
                elif self.stream.index in open_streams:
                    awaited.enter(packet)
                    clock.enter(packet)
                    for decoded in self._decode(packet, number):
                        awaited.leave(decoded)
                        frame = self._frame(decoded, clock.read(decoded), number, last_pts)
                        if frame is None:
                            continue
                        if self.end is not None and frame.time >= self.end - (self.start or 0.0):
                            open_streams.discard(self.stream.index)
                            break
                        size = size or frame.pixels.shape
                        self._check_frame(decoded, frame, size)
                        number, last_pts = number + 1, frame.pts
                        yield frame
                if not open_streams:
                    break
        except self._av.FFmpegError as error:
            raise UnreadableVideoError(self.source, f"damaged at {latest:.2f} s ({error.strerror})") from error
        if number == 0:
            raise UnreadableVideoError(self.source, "no frame in it can be decoded")
        if self.stream.index in open_streams:
            awaited.finish()
        if open_streams:
            self._check_whole(latest, corrupt)

    def _check_frame(self, decoded: av.VideoFrame, frame: Frame, size: tuple[int, ...]) -> None:
        if decoded.is_corrupt:
            raise UnreadableVideoError(self.source, f"damaged at {frame.time:.2f} s")
        if frame.pixels.shape != size:
            raise UnreadableVideoError(self.source, f"the size changes at {frame.time:.2f} s")

    def _decode(self, packet: av.Packet, number: int) -> list[av.VideoFrame]:
        try:
            return packet.decode()
        except self._av.FFmpegError:
            if self.start and number == 0:  # frames before the start lack those they refer to
                return []
            raise

    def _seek_start(self) -> None:
        if self.start:
            self.container.seek(int(self.origin * self._av.time_base))

    def _check_whole(self, latest: float, corrupt: bool) -> None:
        whole = (self.container.duration or 0) / self._av.time_base
        end = whole + (self.container.start_time or 0) / self._av.time_base
        if self.end is None and latest < end - LOST:
            raise UnreadableVideoError(self.source, f"cut short: it ends at {latest:.2f} s of {whole:.2f} s")
        if corrupt:
            raise UnreadableVideoError(self.source, "damaged, or cut short")

    def _within(self, packet: av.Packet, open_streams: set[int]) -> bool:
        """Whether a packet lies in what is wanted; its times are then counted from there."""
        if packet.pts is None:
            return False
        base = packet.stream.time_base
        time = float(packet.pts * base) - self.origin
        if self.end is not None and time >= self.end - (self.start or 0.0):
            open_streams.discard(packet.stream.index)
            return False
        if self.start and time < 0:
            return False
        shift = round(Fraction(self.origin) / base)
        packet.pts -= shift
        if packet.dts is not None:
            packet.dts -= shift
        return True

    def _frame(self, decoded: av.VideoFrame, shown: int | None, number: int, last_pts: int) -> Frame | None:
        if decoded.color_trc in HDR:
            raise UnreadableVideoError(self.source, TO_SDR.format(HDR[decoded.color_trc]))
        base = self.stream.time_base
        if shown is None:
            rate = self.stream.average_rate or 25
            pts = last_pts + round(1 / (rate * base)) if number else 0
        else:
            pts = shown - round(Fraction(self.origin) / base)
            if self.start and pts < 0:
                return None
        pts = max(pts, last_pts + 1)
        pixels = np.ascontiguousarray(_upright(decoded), np.uint8)
        return Frame(number, float(pts * base), pts, pixels)

    def close(self) -> None:
        """Closes the file."""
        self.container.close()


def _upright(decoded: av.VideoFrame) -> np.ndarray:
    """A frame's pixels as its display matrix shows them, turned by the nearest quarter and mirrored."""
    pixels = decoded.to_ndarray(format="rgb24")
    matrix = decoded.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return pixels
    # A pixel (x, y) is shown at (a x + c y, b x + d y).
    a, b, _, c, d = np.frombuffer(matrix, np.int32, 5)
    if abs(int(b)) + abs(int(c)) > abs(int(a)) + abs(int(d)):
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    return pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


class _Clock:
    """Tells when frames are shown. Where that is not stored, they come as evenly as their packets do."""

    def __init__(self, reader: VideoReader) -> None:
        self.timed = reader.container.format.name not in UNTIMED
        self.first: int | None = None  # of the packets
        self.delay: int | None = None  # of the decoder

    def enter(self, packet: av.Packet) -> None:
        """A packet goes to the decoder."""
        if self.first is None and packet.size:
            self.first = packet.dts

    def read(self, frame: av.VideoFrame) -> int | None:
        """When a frame is shown, in units of the stream's time base; None where it is unknown."""
        if self.timed:
            return frame.pts
        if frame.dts is None or self.first is None:
            return None
        if self.delay is None:
            self.delay = frame.dts - self.first
        return frame.dts - self.delay


class _Awaited:
    """Keeps track of packets whose frames have not come yet: decoders drop frames without an error."""

    def __init__(self, reader: VideoReader) -> None:
        self.source, self.base = reader.source, reader.stream.time_base
        self.known = reader.stream.codec_context.codec.canonical_name in ONE_TO_ONE
        # Where times are not stored, frames are known by their number alone.
        self.timed = reader.container.format.name not in UNTIMED
        self.known &= self.timed or not reader.start
        self.pts: set[int] = set()
        self.missing, self.begun = 0, False

    def enter(self, packet: av.Packet) -> None:
        """A packet goes to the decoder."""
        if self.known and packet.size and packet.pts is not None and not packet.is_discard:
            self.pts.add(packet.pts)
            self.missing += 1

    def leave(self, frame: av.VideoFrame) -> None:
        """A frame has come; they come in the order of their times."""
        self.missing -= 1
        self.known &= not frame.interlaced_frame and frame.pts is not None
        if self.known and self.timed:
            if self.begun and min(self.pts, default=frame.pts) < frame.pts:
                self._refuse()
            # What precedes the first one refers to what came before the beginning.
            self.pts = {pts for pts in self.pts if pts > frame.pts}
            self.begun = True

    def finish(self) -> None:
        """No more frames will come."""
        if self.known and (self.pts if self.timed else self.missing > 0):
            self._refuse()

    def _refuse(self) -> None:
        where = f"the frame at {float(min(self.pts) * self.base):.2f} s is" if self.timed else "frames are"
        raise UnreadableVideoError(self.source, f"damaged: {where} lost")


class VideoWriter:
    """Writes a video beside its target; only [`finish`] puts it in its place.

    yuv420p needs even sides: an odd one is filled up by repeating its last row or column of pixels.

    Args:
        path (`Path`):
            Temporary file, its suffix that of the target.
        target (`Path`):
            For messages.
        reader (`VideoReader`):
            Whose times, colours and other streams the new video gets; of its metadata, only languages and chapters.
        frame (`Frame`):
            The first one, for its size.
        voice (`str`, *optional*, defaults to `"keep"`):
            `"keep"` copies the sound, `"drop"` leaves it out, `"disguise"` see [`voice.VoiceDisguise`].
        seed (`int`, *optional*, defaults to `0`):
            Of the disguise.
        codec (`str`, *optional*):
            FFmpeg's name of an encoder.
        quality (`int`, *optional*):
            1 to 100, of lossy codecs.

    Raises:
        UnwritableVideoError: unknown suffix or codec, a stream that does not fit, no permission, no space left.
        ValueError: the codec has no quality to set.
    """

    def __init__(
        self,
        path: Path,
        target: Path,
        reader: VideoReader,
        frame: Frame,
        voice: Voice = "keep",
        codec: str | None = None,
        quality: int | None = None,
        seed: int = 0,
    ) -> None:
        self._av = load_av()
        self.target = target
        # As every run would give other numbers and dates, none are written.
        options = {"fflags": "+bitexact"}
        try:
            self.container = self._av.open(f"file:{path}", "w", container_options=options)
        except (ValueError, self._av.FFmpegError, OSError) as error:
            known = f"unknown file type '{target.suffix}'; known are {', '.join(sorted(VIDEO_SUFFIXES))}"
            cause = known if isinstance(error, ValueError) else error.strerror or str(error)
            raise UnwritableVideoError(target, cause) from error
        try:
            self.notes: list[str] = []
            self._base, self._pts = reader.stream.time_base, -1
            self.stream = self._add_video(reader, frame, codec, quality)
            self.voices: dict[int, DisguisedTrack] = {}
            self.copies = self._add_copies(reader, voice, seed)
            self._add_chapters(reader)
            self._begin()
        except BaseException as error:
            self.abandon()
            if isinstance(error, self._av.FFmpegError | OSError):
                raise UnwritableVideoError(target, error.strerror or str(error)) from error
            raise

    def _add_video(self, reader: VideoReader, frame: Frame, codec: str | None, quality: int | None) -> Any:
        container = self.container
        if codec is None:
            usual = "libx264" if "libx264" in container.supported_codecs else container.default_video_codec
            codec = ENCODERS.get(usual, usual)
        if quality is not None and not 1 <= quality <= 100:
            raise ValueError(f"`quality` must lie between 1 and 100, not {quality}")
        if quality is not None and codec not in SCALES:
            raise ValueError(f"`quality` can be set for {', '.join(SCALES)}, not for {codec}")
        rate = reader.stream.average_rate or Fraction(25)
        try:
            stream = container.add_stream(codec, rate)
        except (ValueError, TypeError, self._av.FFmpegError) as error:  # TypeError: a codec for sound
            cause = f"{codec} is no video codec that {self.target.suffix} holds: try --codec libx264 and .mp4"
            raise UnwritableVideoError(self.target, cause) from error
        context, source = stream.codec_context, reader.stream.codec_context
        height, width = frame.pixels.shape[:2]
        context.width, context.height = width + width % 2, height + height % 2
        formats = [known.name for known in context.codec.video_formats or []]
        context.pix_fmt = "yuv420p" if "yuv420p" in formats and codec != "mjpeg" else formats[0]
        context.framerate = rate
        steady = codec in ("mpeg4", "mpeg2video", "mjpeg") or container.format.name in ("avi", "mpeg", "ogv", "vob")
        context.time_base = 1 / rate if steady else reader.stream.time_base
        if container.format.name in UNTIMED:
            context.max_b_frames = 0
        aspect = source.sample_aspect_ratio
        if aspect:
            turned = (height, width) != (source.height, source.width)
            context.sample_aspect_ratio = 1 / aspect if turned else aspect
        # RGB has no matrix of its own; full range is written as the usual limited one, where the codec has it.
        self.matrix = BT709 if source.colorspace == 0 else source.colorspace
        self.range = FULL if context.pix_fmt.startswith("yuvj") else LIMITED
        context.colorspace, context.color_range = self.matrix, self.range
        context.color_primaries, context.color_trc = source.color_primaries, source.color_trc
        if codec in SCALES:
            name, worst, best = SCALES[codec]
            value = round(worst + (best - worst) * (QUALITY if quality is None else quality) / 100)
            if name == "qscale":
                context.qscale, context.global_quality = True, value * 118
                context.flags |= 2
            else:
                context.options = {name: str(value)} | CODEC_OPTIONS.get(codec, {})
        return stream

    def _add_copies(self, reader: VideoReader, voice: Voice, seed: int) -> dict[int, Any]:
        wanted, self.notes = reader.beside(voice != "drop")
        copies = {}
        for source in wanted:
            if source.type == "audio" and voice == "disguise":
                self.voices[source.index] = DisguisedTrack(self._add_voice(source), seed)
                continue
            name = copied.codec_of(source)
            try:
                header = copied.header(name, source.codec_context.extradata)
            except ValueError as error:
                if source.type == "audio":
                    cause = f"sound in {name} cannot be copied, as {error}: leave it out by --voice drop"
                    raise UnwritableVideoError(self.target, cause) from error
                self.notes.append(f"subtitles in {name} are left out: {error}")
                continue
            try:
                held = SOUND.get(self.container.format.name)
                if source.type == "audio" and held and name not in held:
                    raise ValueError(name)
                copy = self.container.add_stream_from_template(source)
            except (ValueError, self._av.FFmpegError) as error:
                if source.type == "audio":
                    raise UnwritableVideoError(self.target, NO_SOUND.format(self.target.suffix, name)) from error
                self.notes.append(f"subtitles in {name} are left out: {self.target.suffix} does not hold them")
                continue
            context = copy.codec_context
            if source.type == "audio" and context.layout.name == f"{context.channels} channels":
                # Which channel is which is not stored. Players take the usual order; some muxers refuse none.
                context.layout = f"{context.channels}c"
            context.extradata = header
            if language := copied.language(source.metadata):
                copy.metadata["language"] = language
            copy.disposition = source.disposition
            copies[source.index] = copy
        return copies

    def _add_voice(self, source: Any) -> Any:
        """A stream of mono sound, in the usual codec of the container."""
        known = self.container.supported_codecs
        codec = next((name for name in ("aac", "libopus") if name in known), self.container.default_audio_codec)
        try:
            stream = self.container.add_stream(codec, RATE, layout="mono")
            stream.codec_context.flags |= BITEXACT
        except (ValueError, self._av.FFmpegError) as error:
            raise UnwritableVideoError(self.target, NO_SOUND.format(self.target.suffix, codec)) from error
        if language := copied.language(source.metadata):
            stream.metadata["language"] = language
        return stream

    def _begin(self) -> None:
        """Writes the header; some muxers say only then that they do not hold the sound."""
        try:
            with _usual_priority():
                self.container.start_encoding()
        except self._av.FFmpegError as error:
            sound = ", ".join(copy.codec_context.name for copy in self.copies.values() if copy.type == "audio")
            if not sound:
                raise
            raise UnwritableVideoError(self.target, NO_SOUND.format(self.target.suffix, sound)) from error

    def _add_chapters(self, reader: VideoReader) -> None:
        begin, end = reader.start or 0.0, float("inf") if reader.end is None else reader.end
        chapters = []
        for chapter in reader.container.chapters():
            base = chapter["time_base"]
            first, last = max(float(chapter["start"] * base), begin), min(float(chapter["end"] * base), end)
            if last > first:
                title = {"title": copied.title(chapter["metadata"])}
                span = {"start": round((first - begin) / base), "end": round((last - begin) / base)}
                chapters.append({**chapter, **span, "metadata": title})
        if chapters and not CHAPTERS & set(self.container.format.name.split(",")):
            self.notes.append(f"chapters are left out: {self.target.suffix} does not hold them")
        elif chapters:
            self.container.set_chapters(chapters)

    def write(self, frame: Frame) -> None:
        """Encodes a frame."""
        height, width = frame.pixels.shape[:2]
        pixels = np.pad(frame.pixels, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
        picture = self._av.VideoFrame.from_ndarray(pixels, "rgb24")
        context = self.stream.codec_context
        picture = picture.reformat(
            format=context.pix_fmt,
            dst_colorspace=MATRICES.get(self.matrix, BT601),
            dst_color_range=self.range,
            threads=1,
        )
        picture.colorspace, picture.color_range = self.matrix, self.range
        picture.color_primaries, picture.color_trc = context.color_primaries, context.color_trc
        # Where the clock is coarse, as in AVI, two frames must not fall on one of its ticks.
        self._pts = max(round(frame.pts * self._base / context.time_base), self._pts + 1)
        picture.pts, picture.time_base = self._pts, context.time_base
        with self._writing():
            self.container.mux(self.stream.encode(picture))

    def copy(self, packet: av.Packet) -> None:
        """Passes on a packet of another stream."""
        if (track := self.voices.get(packet.stream.index)) is not None:
            with self._writing():
                for new in track.packets(packet):
                    self.container.mux(new)
            return
        copy, name = self.copies.get(packet.stream.index), copied.codec_of(packet.stream)
        if copy is None or packet.dts is None:
            return
        new = copied.packet(packet, name)
        if new is not None:
            new.stream = copy
            with self._writing():
                self.container.mux_one(new)
        elif (note := f"parts of a stream in {name} are left out: they may hold a picture") not in self.notes:
            self.notes.append(note)

    def finish(self) -> None:
        """Writes what is left, and closes the file."""
        with self._writing():
            for track in self.voices.values():
                for new in track.packets(None):
                    self.container.mux(new)
            self.container.mux(self.stream.encode(None))
            self.container.close()

    def abandon(self) -> None:
        """Closes the file, whatever state it is in."""
        with suppress(Exception):
            self.container.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (self._av.FFmpegError, OSError) as error:
            raise UnwritableVideoError(self.target, error.strerror or str(error)) from error


def load_av() -> Any:
    """PyAV, imported on first use.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise MissingDependencyError("av", "faceanon-hub[video]") from error
    return av


@contextmanager
def _usual_priority() -> Iterator[None]:
    """Undoes what SVT-AV1 does where root runs it: it gives the caller's thread and its own real-time priority.

    With such threads at work on every core, nothing else on the machine runs.
    """
    threads = Path("/proc/self/task")
    if not threads.is_dir():
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    before = {int(thread.name) for thread in threads.iterdir()} - {threading.get_native_id()}
    try:
        yield
    finally:
        for thread in {int(thread.name) for thread in threads.iterdir()} - before:
            with suppress(ProcessLookupError):
                os.sched_setscheduler(thread, policy, parameters)

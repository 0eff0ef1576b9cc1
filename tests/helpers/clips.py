"""Little videos, written and read back."""

from fractions import Fraction

import av
import numpy as np

from faceanon_hub.errors import UnwritableVideoError
from faceanon_hub.files import replacing
from faceanon_hub.video.container import Frame, VideoReader, VideoWriter


def encode(path, pictures, *, codec="libx264", times=None, rate=25, pix_fmt="yuv420p", sound=False, **more):
    """Writes pictures, at times in ticks of 1/1000 s where given, and what else the tests ask for."""
    with av.open(str(path), "w", container_options=more.get("container", {})) as container:
        container.metadata.update(more.get("metadata", {}))
        stream = container.add_stream(codec, rate)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pix_fmt
        stream.options = {"crf": "5"} if codec.startswith("libx26") else {}
        if times:
            stream.codec_context.time_base = Fraction(1, 1000)
        stream.codec_context.color_trc = more.get("transfer", 2)
        if {"rotation", "mirrored"} & set(more):
            stream.set_display_rotation(more.get("rotation", 0), **more.get("mirrored", {}))
        audio = container.add_stream("aac", 44100) if sound else None
        if more.get("chapters"):
            container.set_chapters(more["chapters"])
        if more.get("words"):
            with av.open(str(more["words"])) as words:
                copy = container.add_stream_from_template(words.streams[0])
                copy.metadata["language"] = "eng"
                for packet in words.demux():
                    if packet.dts is not None:
                        packet.stream = copy
                        container.mux(packet)
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.color_trc = more.get("transfer", 2)
            if times:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if audio is not None:
            for number in range(len(pictures) * 44100 // rate // 1024):
                tone = np.sin(np.arange(1024) / 20).astype(np.float32)[None].repeat(2, 0)
                block = av.AudioFrame.from_ndarray(tone, "fltp", "stereo")
                block.sample_rate, block.pts, block.time_base = 44100, 1024 * number, Fraction(1, 44100)
                container.mux(audio.encode(block))
            container.mux(audio.encode(None))
    return path


def stream_of(container, codec="libx264", pix_fmt="yuv420p"):
    """A stream for pictures of the size of `ramp`."""
    stream = container.add_stream(codec, 25)
    stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
    return stream


def packets_of(stream, pictures, kind="rgb24"):
    frames = [av.VideoFrame.from_ndarray(picture, kind) for picture in pictures]
    return [packet for frame in (*frames, None) for packet in stream.encode(frame)]


def ramp(count=12, height=48, width=64):
    """Frames that tell their number, their top red and their left dark."""
    pictures = np.zeros((count, height, width, 3), np.uint8)
    pictures[:, :, width // 2 :] = (20 + 10 * np.arange(count, dtype=np.uint8))[:, None, None, None]
    pictures[:, : height // 4, :, 0] = 250
    return list(pictures)


def read(path, **span):
    reader = VideoReader(path, **span)
    try:
        return [event for event in reader.read([]) if isinstance(event, Frame)]
    finally:
        reader.close()


def rewrite(source, target, voice="keep", codec=None, quality=None, **span):
    """Through the reader and the writer, unchanged."""
    reader, writer, waiting = VideoReader(source, **span), None, []
    try:
        with replacing(target, UnwritableVideoError) as temporary:
            for event in reader.read(reader.beside(voice != "drop")[0]):
                if isinstance(event, Frame):
                    writer = writer or VideoWriter(temporary, target, reader, event, voice, codec, quality)
                    writer.write(event)
                else:
                    waiting.append(event)
            for packet in waiting:
                writer.copy(packet)
            writer.finish()
    finally:
        if writer is not None:
            writer.abandon()
        reader.close()
    return writer.notes

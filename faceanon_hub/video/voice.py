"""The voices of a video disguised: pitch and formants moved, words still understood, by the vocoder WORLD."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Literal, get_args

import numpy as np

from ..errors import MissingDependencyError

Voice = Literal["keep", "drop", "disguise"]
VOICES: tuple[str, ...] = get_args(Voice)

RATE = 24_000  # samples a second: all that speech needs
SPAN, CONTEXT = 8.0, 0.25  # seconds that are worked on at a time, and those seen beside them
FADE = 0.05  # seconds in which one span passes into the next
SEMITONES, FORMANTS = (3.0, 5.0), (1.12, 1.2)  # how far pitch, and formants by a factor, are moved
MELODY = 0.8  # of what the pitch rises and falls
LOW = 165.0  # Hz: voices below are raised, those above are lowered
VOICED = 100  # frames of 5 ms with a pitch, from which on it is known
GAP = 0.1  # seconds that may be missing before silence is put in
FLOOR = 1e-16  # power below which there is silence


class VoiceDisguise:
    r"""Moves pitch and formants of a mono recording of speech, span by span.

    WORLD (Morise, Yokomori, Ozawa 2016) takes speech apart into pitch, envelope and noise, and puts it together again.
    The pitch is moved by 3 to 5 semitones and made flatter, the envelope is stretched by 12 to 20 percent, upwards for
    low voices, downwards for high ones. The seed says how far. What is no speech comes out distorted.

    It is no proof against a listener who tries: rhythm, accent and words stay, and who knows the method can undo it
    roughly.

    Args:
        seed (`int`, *optional*, defaults to `0`):
            Says how far.

    Raises:
        MissingDependencyError: pyworld is not installed.

    Example:
        ```py
        >>> disguise = VoiceDisguise(seed=3)
        >>> sound = np.concatenate([disguise.feed(sound), disguise.finish()])
        ```
    """

    def __init__(self, seed: int = 0) -> None:
        self._world = load_world()
        random = np.random.default_rng(seed)
        self.pitch = float(2 ** (random.uniform(*SEMITONES) / 12))
        self.formants = float(random.uniform(*FORMANTS))
        self._median: float | None = None
        self._waiting = np.zeros(0)
        self._before = 0  # samples of context that come first in what is waiting
        self._tail = np.zeros(0)  # how the last span went on

    def feed(self, sound: np.ndarray) -> np.ndarray:
        """Takes samples `(N,)` of `RATE` in -1 to 1; returns those that are done, `(M,)`, float32."""
        self._waiting = np.concatenate([self._waiting, sound.astype(np.float64)])
        done = [np.zeros(0, np.float32)]
        span, context = round(SPAN * RATE), round(CONTEXT * RATE)
        while len(self._waiting) >= self._before + span + context:
            done.append(self._next(span, context))
        return np.concatenate(done)

    def finish(self) -> np.ndarray:
        """What is left, `(M,)`, float32: as many samples come out as went in."""
        rest = len(self._waiting) - self._before
        return self._next(rest, 0) if rest else np.zeros(0, np.float32)

    def _next(self, span: int, context: int) -> np.ndarray:
        end = self._before + span
        changed = self._changed(self._waiting[: end + context])
        done, fade = changed[self._before : end], min(round(FADE * RATE), len(self._tail), span)
        share = np.linspace(0, 1, fade)
        done[:fade] = (1 - share) * self._tail[:fade] + share * done[:fade]
        self._tail = changed[end:]
        kept = round(CONTEXT * RATE)
        self._waiting, self._before = self._waiting[max(0, end - kept) :], min(end, kept)
        return done.clip(-1, 1).astype(np.float32)

    def _changed(self, sound: np.ndarray) -> np.ndarray:
        """A piece of sound with other pitch and formants, as long as it was."""
        world = self._world
        pitch, times = world.harvest(sound, RATE)
        envelope = world.cheaptrick(sound, pitch, times, RATE)
        noise = world.d4c(sound, pitch, times, RATE)
        voiced = pitch > 0
        if self._median is None and voiced.sum() >= VOICED:
            self._median = float(np.median(pitch[voiced]))
        median = self._median or LOW
        sign = 1 if median < LOW else -1
        pitch[voiced] = median * self.pitch**sign * (pitch[voiced] / median) ** MELODY
        bins = envelope.shape[1]
        where = (np.arange(bins) / self.formants**sign).clip(0, bins - 1)
        low = where.astype(int).clip(0, bins - 2)
        share = where - low

        def moved(rows: np.ndarray) -> np.ndarray:
            return np.ascontiguousarray((1 - share) * rows[:, low] + share * rows[:, low + 1])

        envelope = np.exp(moved(np.log(envelope + FLOOR)))
        made = world.synthesize(pitch, envelope, moved(noise), RATE)
        return np.pad(made, (0, max(0, len(sound) - len(made))))[: len(sound)]


class DisguisedTrack:
    """A stream of sound in a new file, its voices disguised."""

    def __init__(self, stream: Any, seed: int) -> None:
        import av

        self._av, self.stream = av, stream
        self._resampler = av.AudioResampler("flt", "mono", RATE)
        self._disguise = VoiceDisguise(seed)
        self._start: int | None = None  # all in samples
        self._heard = self._written = 0

    def packets(self, packet: Any | None) -> Iterator[Any]:
        """The packets of the new stream that a packet of the old one, or its end, brings forth.

        What cannot be decoded is silence.
        """
        for sound in self._decoded(packet):
            yield from self._encoded(self._disguise.feed(sound))
        if packet is None:
            yield from self._encoded(self._disguise.finish())
            yield from self.stream.encode(None)

    def _decoded(self, packet: Any | None) -> Iterator[np.ndarray]:
        try:
            frames = [] if packet is None else packet.decode()
        except self._av.FFmpegError:
            return
        for frame in frames:
            at = 0 if frame.pts is None else round(Fraction(frame.pts) * frame.time_base * RATE)
            if self._start is None:
                self._start = at
            missing = at - self._start - self._heard
            frame.pts = None
            parts = [part.to_ndarray()[0] for part in self._resampler.resample(frame)]
            if missing > GAP * RATE:
                parts.insert(0, np.zeros(missing, np.float32))
            for part in parts:
                self._heard += len(part)
                yield part

    def _encoded(self, sound: np.ndarray) -> Iterator[Any]:
        if not len(sound):
            return
        frame = self._av.AudioFrame.from_ndarray(np.ascontiguousarray(sound[None]), "flt", "mono")
        frame.sample_rate, frame.time_base = RATE, Fraction(1, RATE)
        frame.pts = max(self._start or 0, 0) + self._written
        self._written += len(sound)
        yield from self.stream.encode(frame)


def load_world() -> Any:
    """pyworld, imported on first use.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import pyworld
    except ImportError as error:
        raise MissingDependencyError("pyworld-prebuilt", "faceanon-hub[voice]") from error
    return pyworld

"""A wanted look to the style of a drawn person who shows it: draw, render, look, step."""

from __future__ import annotations

import math
import os
import reprlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import torch

from .component import Network
from .diffusion import register_to_config
from .landmarks import FaceMesh
from .look import ANGLES, AT, LIGHT, ROWS, SEEN, SKIN, Estimator, look
from .ranges import check_number

if TYPE_CHECKING:
    from .generators.generator import Prior

EMBEDDING = 256
LINEARIZED = 3  # times within a step: looks bend, see `_Model.jacobian`
STEP_NOISE = 1.0  # of what a row's fit misses: the picture is looked at again
PUSH_NOISE, LEAVE_NOISE = 0.2, 0.3
# Cosine of embeddings that a drawn face may have to the original's, at `privacy` 0 and 1; standard deviations of push
# for each that it is off, and at most so many of them in a round, back and forth; what it counts beside the error.
LIKENESS, PUSH_SLOPE, PUSH_STEPS, LIKENESS_WEIGHT = (0.2, -0.1), 22.0, (-1.0, 2.5), 3.0
POSE_TRUST = 4.0  # a wrong angle tears the placed face
LEAST_TRUST, MOST_TRUST = 0.3, 3.0  # in a blendshape, by how far its score moves about what is asked for
POSE_LIMIT, ROW_LIMIT, AGE_LIMIT = 2.6, 2.5, 4.0  # standard deviations of a row that are asked for at most
AGED = 1.3  # times as far from the mean is asked for of an age: faces come out too near to it
UNPREDICTED = 0.95  # a row of which more than this share is missed is left free
ONE_SIDED = ("glasses",)  # rows that may be clearer than what is asked for
FOLLOWED, CANDIDATES = ("age", *SKIN, *LIGHT), 24  # rows in which photos can be followed; people drawn for one
SHRINK = 0.8  # of a style whose picture shows no face

# Styles (F, 512) float32 to pictures (F, S, S, 3) uint8; a picture to its mesh; both to an embedding (256,).
Render = Callable[[torch.Tensor], np.ndarray]
Read = Callable[[np.ndarray], FaceMesh | None]
Describe = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Drawn:
    """A drawn person.

    Args:
        style (`torch.Tensor` of shape `(512,)`, float32):
            What the generator renders.
        picture (`np.ndarray` of shape `(S, S, 3)`, uint8):
            As rendered.
        mesh ([`FaceMesh`]):
            Of the picture, in its pixels.
        look (`np.ndarray` of shape `(R,)`):
            What the picture shows, see [`look.look`]; NaN where it was not looked at.
        error (`float`):
            Root mean square of the residuals of pose and expression, in standard deviations of drawn faces; what
            shows most counts most.
        likeness (`float`):
            Cosine of its embedding to the original's; NaN where nothing is pushed away from.
    """

    style: torch.Tensor
    picture: np.ndarray
    mesh: FaceMesh
    look: np.ndarray
    error: float
    likeness: float = math.nan


class StyleSampler(Network):
    r"""Finds styles of people who do not exist and look as asked.

    The look of a style is predicted by a fit to drawn faces, a linear map and a small network: `look = f(w) + e`. A
    step moves a style by the least, in the prior's own covariance, that brings the look to the goal: the conditional
    mean of a Gaussian, linearized anew at what it gives (the iterated extended Kalman filter, Bell and Cathey 1993).
    Then the picture is looked at, and what the fit misses there is taken off in the next step.

    The style is pushed away from an identity by one more row: the direction along which the embedding grows like the
    original's. How like the picture came out says how hard it is pushed in the next step.

    Args:
        rows (`list[str]`, *optional*, defaults to `ROWS`):
            Names of a look's rows.
        hidden_size (`int`, *optional*, defaults to `384`):
            Width of the network.
        rounds (`int`, *optional*, defaults to `2`):
            Steps after the first picture; one more picture each.
        truncation (`float`, *optional*, defaults to `0.6`):
            Distance of a drawn style from the mean, 0 (one average face) to 1 (full variety).
        reach (`float`, *optional*, defaults to `0.9`):
            Longest style, in root mean squares of all: beyond it faces fall apart.
        push (`float`, *optional*, defaults to `2.5`):
            Standard deviations of the style that a face is pushed away by in the first step at `privacy=1`.
        leave (`float`, *optional*, defaults to `0.0`):
            How far the push leaves the expression alone, 0 (not at all) to 1; pose, age, sex, skin and the like it
            always does.
        style_size (`int`, *optional*, defaults to `512`):
            Length of the generator's style.
        bank (`int`, *optional*, defaults to `0`):
            How many drawn faces it was fitted to; 0 is unknown.
        photos (`int`, *optional*, defaults to `0`):
            How many faces of photos the ages, tones and light of [`people`] follow; 0 follows none.

    Raises:
        ValueError: a value is out of its range.

    Example:
        ```py
        >>> people = sampler.people(generator, [0])
        >>> (drawn,) = sampler.sample(goals, identities, people, generator.render, extractor.read)
        ```
    """

    mean: torch.Tensor
    factor: torch.Tensor
    linear: torch.Tensor
    inner: torch.Tensor
    bias: torch.Tensor
    outer: torch.Tensor
    offset: torch.Tensor
    middle: torch.Tensor
    spread: torch.Tensor
    missed: torch.Tensor
    identity: torch.Tensor
    stranger: torch.Tensor

    @register_to_config
    def __init__(
        self,
        rows: Sequence[str] = ROWS,
        hidden_size: int = 384,
        rounds: int = 2,
        truncation: float = 0.6,
        reach: float = 0.9,
        push: float = 2.5,
        leave: float = 0.0,
        style_size: int = 512,
        bank: int = 0,
        photos: int = 0,
    ) -> None:
        super().__init__()
        if not isinstance(rows, list | tuple) or not rows or len(set(rows)) < len(rows) or set(rows) - set(ROWS):
            raise ValueError(f"`rows` must be names of a look's rows, not {reprlib.repr(rows)}")
        check_number("hidden_size", hidden_size, 1, 1024, whole=True)
        check_number("rounds", rounds, 0, 8, whole=True)
        check_number("truncation", truncation, 0, 1)
        check_number("reach", reach, 0.1, 10)
        check_number("push", push, 0, 10)
        check_number("leave", leave, 0, 1)
        check_number("style_size", style_size, 1, 1024, whole=True)
        check_number("bank", bank, 0, 10**9, whole=True)
        check_number("photos", photos, 0, 10**9, whole=True)
        if photos and set(FOLLOWED) - set(rows):
            raise ValueError(f"to follow photos, `rows` must hold {', '.join(FOLLOWED)}")
        count, size = len(rows), style_size
        self._known: _Model | None = None
        for name, shape in {
            "mean": (size,),  # of all styles
            "factor": (size, size),  # times its transpose is the covariance of styles
            "linear": (size, count),
            "inner": (size, hidden_size),  # the network takes styles, less their mean
            "bias": (hidden_size,),
            "outer": (hidden_size, count),
            "offset": (count,),
            "middle": (count,),  # of looks
            "spread": (count,),  # standard deviations of looks
            "missed": (count,),  # share of the variance that the fit misses, held out
            "identity": (size, EMBEDDING),
            "stranger": (EMBEDDING,),  # mean embedding
        }.items():
            self.register_buffer(name, torch.zeros(shape))
        if photos:  # logarithm of how much more often photos show a look than this prior: y @ line + y @ square @ y
            self.register_buffer("line", torch.zeros(len(FOLLOWED)))
            self.register_buffer("square", torch.zeros(len(FOLLOWED), len(FOLLOWED)))

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], subfolder: str | None = None, **kwargs: Any
    ) -> Any:
        """As [`~component.Network.from_pretrained`], in float32 whatever type is asked for."""
        for name in ("dtype", "torch_dtype"):
            kwargs.pop(name, None)
        return super().from_pretrained(pretrained_model_name_or_path, subfolder, **kwargs).float()

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Stays where it is: it calculates on the CPU in double precision, and its numbers bear no rounding."""
        return self

    @torch.no_grad()
    def people(self, generator: Prior, seeds: Sequence[int]) -> torch.Tensor:
        """Styles `(B, style_size)` of people, one a seed, not truncated: where [`sample`] starts.

        Where photos are followed, a seed draws several people, and chance takes one of them, each as likely as photos
        show such people more often than the prior: sampling, importance resampling (Rubin 1987).
        """
        if not self.config.photos:
            return generator.style(generator.latents(list(seeds)))
        chosen = []
        for seed in seeds:
            random = np.random.default_rng([seed, CANDIDATES])
            drawn = generator.style(generator.latents(random.integers(2**62, size=CANDIDATES).tolist()))
            odds = self.odds(drawn.double().cpu().numpy()) + random.gumbel(size=CANDIDATES)
            chosen.append(drawn[int(odds.argmax())])
        return torch.stack(chosen)

    def odds(self, styles: np.ndarray) -> np.ndarray:
        """Logarithm, less a constant, of how much more often the followed photos show such faces than the prior.

        Args:
            styles (`np.ndarray` of shape `(B, style_size)`):
                Of the faces.
        """
        model = self._model()
        shown = model.predict(styles - model.mean)[:, [list(self.config.rows).index(name) for name in FOLLOWED]]
        line, square = (self.get_buffer(name).double().numpy() for name in ("line", "square"))
        return shown @ line + ((shown @ square) * shown).sum(1)

    def sample(
        self,
        goals: np.ndarray,
        identities: np.ndarray | None,
        people: torch.Tensor,
        render: Render,
        read: Read,
        privacy: float = 1.0,
        estimator: Estimator | None = None,
        truncation: float | None = None,
        describe: Describe | None = None,
    ) -> list[Drawn | None]:
        """Draws a person for each goal; each face comes out the same whatever others are in the call.

        Args:
            goals (`np.ndarray` of shape `(F, R)`):
                Looks that are wanted, in the units of [`look.look`]; NaN leaves a row free.
            identities (`np.ndarray` of shape `(F, 256)`, *optional*):
                Embeddings by [`FaceRecognizer`] to be pushed away from; None or a row of NaN pushes nowhere.
            people (`torch.Tensor` of shape `(F, 512)`):
                Styles to start from, from [`people`].
            render (`Render`):
                [`Prior.render`] at any one size.
            read (`Read`):
                [`LandmarkExtractor.read`].
            privacy (`float`, *optional*, defaults to `1.0`):
                Strength of the push, 0 to 1.
            estimator (`Estimator`, *optional*):
                Tells the sex and age of pictures; without it, they are believed to be as the fit says.
            truncation (`float`, *optional*):
                In place of the configured one.
            describe (`Describe`, *optional*):
                [`FaceRecognizer.describe`], which compares a picture with the identity; without it, the first
                push is believed to do.

        Returns:
            `list[Drawn | None]`: None where no picture showed a face.
        """
        model = self._model()
        truncation = self.config.truncation if truncation is None else truncation
        rows = np.array([AT[name] for name in self.config.rows])
        one_sided = np.isin(self.config.rows, ONE_SIDED)
        jobs = []
        for number, style in enumerate(people.detach().double().cpu().numpy()):
            drawn = style - model.mean
            identity = None if identities is None else identities[number]
            goal = model.goal(goals[number][rows])
            direction = model.away(identity, goal, self.config.leave)
            job = _Job(truncation * drawn, goal, model.trust(goal), direction, privacy * self.config.push)
            job.style = model.step(job, model.predict(job.style))
            jobs.append(job)
        best: list[Drawn | None] = [None] * len(jobs)
        scores = [np.inf] * len(jobs)
        allowed = LIKENESS[0] + privacy * (LIKENESS[1] - LIKENESS[0])
        for k in range(self.config.rounds + 1):
            for job in jobs:
                job.style *= min(1, self.config.reach * model.size / np.linalg.norm(job.style))
            styles = torch.from_numpy(np.array([model.mean + job.style for job in jobs])).float()
            for number, (job, picture) in enumerate(zip(jobs, render(styles), strict=True)):
                mesh = read(picture)
                if mesh is None:
                    job.style *= SHRINK
                    continue
                seen = look(picture, mesh, estimator)
                shown = (seen[rows] - model.middle) / model.spread
                # No step back towards glasses that are less clear: half of a frame would be left.
                shown = np.where(one_sided & (np.sign(goals[number][rows]) * (shown - job.goal) > 0), job.goal, shown)
                missed = shown - job.goal
                error = model.error(missed, job.trust)
                score, likeness = error, math.nan
                if describe is not None and identities is not None and job.direction.any() and privacy:
                    likeness = float(describe(picture, mesh.points) @ identities[number])
                    excess = likeness - allowed
                    job.push = max(0.0, job.push + float(np.clip(PUSH_SLOPE * excess, *PUSH_STEPS)))
                    score += LIKENESS_WEIGHT * max(0.0, excess)
                if score < scores[number]:
                    best[number], scores[number] = Drawn(styles[number], picture, mesh, seen, error, likeness), score
                if k < self.config.rounds:
                    # Rows that were not measured are taken as predicted.
                    shown = np.where(np.isnan(shown), model.predict(job.style), shown)
                    job.style = model.step(job, shown)
        return best

    def tempered(self, goal: np.ndarray, limit: float) -> np.ndarray:
        """A goal `(R,)` whose expression is within so many standard deviations of drawn faces."""
        model, goal = self._model(), goal.copy()
        rows = np.array([AT[name] for name in self.config.rows])[model.seen & ~model.pose]
        middle, reach = (values[model.seen & ~model.pose] for values in (model.middle, limit * model.spread))
        goal[rows] = goal[rows].clip(middle - reach, middle + reach)
        return goal

    def vary(
        self,
        drawn: Drawn,
        goal: np.ndarray,
        layers: tuple[int, int, int],
        render: Render,
        read: Read,
        estimator: Estimator | None = None,
    ) -> tuple[torch.Tensor, np.ndarray, FaceMesh] | None:
        """The same person with another look: only styles of coarse layers are moved, which hold pose and expression.

        Args:
            drawn ([`Drawn`]):
                The person.
            goal (`np.ndarray` of shape `(R,)`):
                Look that is wanted; NaN leaves a row free.
            layers (`tuple[int, int, int]`):
                First layer that is moved, the first after it that is not, and how many there are.
            render (`Render`):
                [`FaceAnonGenerator.render`], of styles of each layer, `(1, L, 512)`.
            read, estimator:
                As of [`sample`].

        Returns:
            `tuple`: styles `(L, 512)`, picture and mesh of the last step that shows a face; None where none does.
        """
        model = self._model()
        rows = np.array([AT[name] for name in self.config.rows])
        wanted = model.goal(goal[rows])
        start = drawn.style.double().numpy() - model.mean
        job = _Job(start, wanted, model.trust(wanted), np.zeros_like(start), 0.0)
        job.style = model.step(job, model.predict(job.style))
        found = None
        for _ in range(self.config.rounds + 1):
            job.style *= min(1, self.config.reach * model.size / np.linalg.norm(job.style))
            styles = drawn.style.expand(layers[2], -1).clone()
            styles[layers[0] : layers[1]] = torch.from_numpy(model.mean + job.style).float()
            picture = render(styles[None])[0]
            mesh = read(picture)
            if mesh is None:
                job.style *= SHRINK
                continue
            found = styles, picture, mesh
            shown = (look(picture, mesh, estimator)[rows] - model.middle) / model.spread
            job.style = model.step(job, np.where(np.isnan(shown), model.predict(job.style), shown))
        return found

    def _model(self) -> _Model:
        if self._known is None:
            arrays = {name: buffer.detach().double().cpu().numpy() for name, buffer in self.named_buffers()}
            arrays = {name: array for name, array in arrays.items() if name not in ("line", "square")}
            pose = np.isin(self.config.rows, ANGLES)
            seen, age = (np.isin(self.config.rows, names) for names in (ROWS[SEEN], "age"))
            size = float(np.linalg.norm(arrays["factor"]))
            self._known = _Model(**arrays, pose=pose, seen=seen, age=age, size=size)
        return self._known


@dataclass
class _Job:
    style: np.ndarray  # less the mean
    goal: np.ndarray  # in standard deviations
    trust: np.ndarray
    direction: np.ndarray
    push: float


class _Model(NamedTuple):
    """The buffers of a [`StyleSampler`] in float64. Styles are less the mean, looks in standard deviations."""

    mean: np.ndarray
    factor: np.ndarray
    linear: np.ndarray
    inner: np.ndarray
    bias: np.ndarray
    outer: np.ndarray
    offset: np.ndarray
    middle: np.ndarray
    spread: np.ndarray
    missed: np.ndarray
    identity: np.ndarray
    stranger: np.ndarray
    pose: np.ndarray
    seen: np.ndarray
    age: np.ndarray
    size: float

    def goal(self, look: np.ndarray) -> np.ndarray:
        scaled = (look - self.middle) / self.spread
        scaled[self.missed > UNPREDICTED] = np.nan
        scaled[self.age] *= AGED
        limit = np.where(self.pose, POSE_LIMIT, np.where(self.age, AGE_LIMIT, ROW_LIMIT))
        return scaled.clip(-limit, limit)

    def trust(self, goal: np.ndarray) -> np.ndarray:
        """What each row counts: a blendshape that hardly shows at the goal counts less than one that does."""
        low, high = (1 / (1 + np.exp(-(self.middle + self.spread * (goal + side)))) for side in (-1, 1))
        moved = np.where(self.seen & ~self.pose, high - low, np.nan)
        shapes = (moved / np.nanmean(moved)).clip(LEAST_TRUST, MOST_TRUST) if (~np.isnan(moved)).any() else moved
        return np.where(self.pose, POSE_TRUST, np.where(np.isnan(shapes), 1.0, shapes))

    def error(self, missed: np.ndarray, trust: np.ndarray) -> float:
        """Root mean square of what is missed of pose and expression, weighted."""
        use = self.seen & ~np.isnan(missed)
        return float(np.sqrt(np.average(missed[use] ** 2, weights=trust[use]))) if use.any() else 0.0

    def predict(self, style: np.ndarray) -> np.ndarray:
        x = style @ self.inner + self.bias
        return style @ self.linear + (x / (1 + np.exp(-x))) @ self.outer + self.offset

    def jacobian(self, style: np.ndarray) -> np.ndarray:
        """Slopes of the look, `(512, R)`."""
        x = style @ self.inner + self.bias
        gate = 1 / (1 + np.exp(-x))
        return self.linear + (self.inner * (gate + x * gate * (1 - gate))) @ self.outer

    def away(self, identity: np.ndarray | None, goal: np.ndarray, leave: float) -> np.ndarray:
        """The direction, of unit deviation, along which faces grow like an identity and what is asked for stays."""
        if identity is None or np.isnan(identity).any():
            return np.zeros(len(self.mean))
        direction = self.identity @ (identity - self.stranger)
        # What is not expression is left alone in full: a woman must not become a man to be hidden.
        weight = np.where(self.seen & ~self.pose, leave, 1.0)
        asked = ~np.isnan(goal) & (weight > 0)
        slopes = self.linear[:, asked]
        rows = self.factor.T @ slopes
        noise = np.diag(LEAVE_NOISE * self.missed[asked] / weight[asked])
        direction -= slopes @ np.linalg.solve(rows.T @ rows + noise, rows.T @ (self.factor.T @ direction))
        return direction / max(np.linalg.norm(self.factor.T @ direction), 1e-9)

    def step(self, job: _Job, shown: np.ndarray) -> np.ndarray:
        """The style nearest to the job's, as the prior measures, that is expected to show the goal."""
        use = ~np.isnan(job.goal)
        noise = STEP_NOISE * self.missed[use] / job.trust[use]
        bent = shown - self.predict(job.style)  # what the fit misses here, and as likely nearby
        pushed = bool(job.direction.any()) and job.push > 0
        if pushed:
            noise = np.append(noise, PUSH_NOISE)
        white = moved = np.zeros(len(self.mean))
        for _ in range(LINEARIZED):
            at = job.style + moved
            rows = self.factor.T @ self.jacobian(at)[:, use]
            wanted = (job.goal - bent - self.predict(at))[use] + white @ rows
            if pushed:
                rows = np.column_stack([rows, self.factor.T @ job.direction])
                wanted = np.append(wanted, -job.push - job.style @ job.direction)
            white = rows @ np.linalg.solve(rows.T @ rows + np.diag(noise), wanted)
            moved = self.factor @ white
        return job.style + moved

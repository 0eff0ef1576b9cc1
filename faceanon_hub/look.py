"""What a picture of a face shows, in a few dozen numbers: all that is taken from the original for the new face."""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from .landmarks import BLENDSHAPES, FaceMesh
from .lighting import fit_lamp, skin_luminance, vertex_normals

ANGLES = ("yaw", "pitch", "roll")
SKIN = ("skinL", "skinA", "skinB")
LIGHT = ("lightX", "lightY", "lightZ")
ESTIMATED = ("sex", "age", "glasses")  # by an estimator of the caller's
ROWS = (*ANGLES, *BLENDSHAPES, *SKIN, *LIGHT, "forehead", "beard", *ESTIMATED)
AT = {name: number for number, name in enumerate(ROWS)}
SEEN = slice(0, len(ANGLES) + len(BLENDSHAPES))  # pose and expression

SIZE = 512  # pixels of the picture that is looked at; a larger one is shrunk
FLOOR = 0.02  # added to a blendshape at both ends, so that its log odds end somewhere
CHEEKS = [50, 280, 205, 425, 36, 266]
FOREHEAD = [10, 151, 67, 297, 109, 338, 69, 299, 108, 337]
# Upper lip and chin; and the cheeks under any glasses, which a beard is compared with.
BEARD, CHEEKS_BELOW = [164, 57, 287, 18, 200, 199, 140, 369, 32, 262, 211, 431], [205, 425, 36, 266, 207, 427]
FREE_FOREHEAD = 5.0  # of a new face: the original's own hair stays in front
COVERED_FOREHEAD = 18.0  # of a drawn face: above, hair or a hat lies on it
SURE_BEARD, NO_BEARD, BEARDED = -18.0, -8.0, -16.0  # below, and above this; and a drawn face below this
SURE_SEX = 2.0  # log odds of a drawn face
CHILD, ADULT = 14, 20  # ages
# Blendshapes of a face at rest, and of one that shows its teeth.
REST = {"jawOpen": 0.01, "eyeBlinkLeft": 0.05, "eyeBlinkRight": 0.05, "mouthSmileLeft": 0.05, "mouthSmileRight": 0.05}
REST |= dict.fromkeys(("mouthUpperUpLeft", "mouthUpperUpRight", "mouthLowerDownLeft", "mouthLowerDownRight"), 0.0)
REST |= {f"eyeLook{way}{side}": 0.05 for way in ("Down", "In", "Out", "Up") for side in ("Left", "Right")}
OPENED = {"jawOpen": 0.5, "mouthSmileLeft": 0.6, "mouthSmileRight": 0.6}
YEARS_AWRY, CHILDS_YEARS_AWRY = 9, 6  # from so many years on an age is wrong
SKIN_AWRY = 14.0  # CIELAB distance from which on recolouring the drawn skin shows


# Picture (S, S, 3) uint8 and points (478, 3) to log odds of a man, years, and log odds of glasses.
Estimator = Callable[[np.ndarray, np.ndarray], np.ndarray]


def look(image: np.ndarray, mesh: FaceMesh, estimator: Estimator | None = None) -> np.ndarray:
    """Looks at a face.

    Args:
        image (`np.ndarray` of shape `(S, S, 3)`, uint8):
            Upright RGB crop of one face.
        mesh ([`FaceMesh`]):
            Of that face, in pixels of the crop.
        estimator (`Estimator`, *optional*):
            Tells apparent sex, age and glasses; None leaves them NaN.

    Returns:
        `np.ndarray` of shape `(66,)`, float64, in the order of `ROWS`: angles in degrees, log odds of the blendshapes
        ([`shape_logits`]), CIELAB of the skin, the lamp ([`lighting.fit_lamp`]); colour difference of forehead to skin
        (hair on it); lightness of chin and upper lip less that of the cheeks; log odds of a man, years, log odds of
        glasses.
    """
    attributes = np.full(len(ESTIMATED), np.nan) if estimator is None else estimator(image, mesh.points)
    return np.concatenate([pose_and_shapes(mesh), appearance(image, mesh.points), attributes])


def goal_of(original: np.ndarray) -> np.ndarray:
    """The look `(R,)` that is asked of a new face: that of the original, with a free forehead.

    Whether there is a beard stays open where it is not clear: chins are dark from below, too.
    """
    goal = original.copy()
    goal[AT["forehead"]] = FREE_FOREHEAD
    if SURE_BEARD < goal[AT["beard"]] < NO_BEARD or goal[AT["sex"]] < 0:
        goal[AT["beard"]] = np.nan
    return goal


def at_rest(goal: np.ndarray) -> np.ndarray:
    """The goal of a picture that is to be moved: mouth shut, eyes open and into the camera.

    Args:
        goal (`np.ndarray` of shape `(R,)`):
            From [`goal_of`].
    """
    rest = goal.copy()
    for name, score in REST.items():
        rest[AT[name]] = log_odds(score)
    return rest


def opened(shown: np.ndarray) -> np.ndarray:
    """The goal of a picture of the same person that shows the inside of the mouth.

    Args:
        shown (`np.ndarray` of shape `(R,)`):
            Look of the person's picture.
    """
    goal = shown.copy()
    for name in BLENDSHAPES:
        if name.startswith(("mouth", "jaw", "cheek")):
            goal[AT[name]] = log_odds(OPENED[name]) if name in OPENED else np.nan
    return goal


def strangeness(goal: np.ndarray, shown: np.ndarray) -> float:
    """How strange a new face would be in the original's place, by glasses, beard, sex, age and its own hair.

    Args:
        goal, shown (`np.ndarray` of shape `(R,)`):
            Looks: what was asked for, of which NaN says nothing, and what is shown.

    Returns:
        `float`: 0 where nothing is; 1 for wrong glasses, 1 for a new beard, up to 1 for a sex that is wrong or
        not clear, up to 1 for hair or a hat on the forehead, and more the farther an age or a skin colour is off.
    """
    # An unknown row is not wrong: `max` gives 0 for NaN.
    glasses = float(goal[AT["glasses"]] * shown[AT["glasses"]] < 0)
    beard = float(goal[AT["beard"]] > NO_BEARD and shown[AT["beard"]] < BEARDED)
    sex = min(1.0, max(0.0, 1 - np.sign(goal[AT["sex"]]) * shown[AT["sex"]] / SURE_SEX)) if goal[AT["sex"]] else 0.0
    years = abs(goal[AT["age"]] - shown[AT["age"]]) / (CHILDS_YEARS_AWRY if is_child(goal) else YEARS_AWRY)
    forehead = min(1.0, max(0.0, shown[AT["forehead"]] / COVERED_FOREHEAD - 1))
    skin = float(np.linalg.norm([goal[AT[name]] - shown[AT[name]] for name in SKIN])) / SKIN_AWRY
    return glasses + beard + float(sex) + float(forehead) + max(0.0, years - 1) + max(0.0, skin - 1)


def is_child(look: np.ndarray) -> bool:
    """Whether a look is a child's; no, where its age is unknown."""
    return bool(look[AT["age"]] < CHILD)


def grown_up(goal: np.ndarray, shown: np.ndarray) -> bool:
    """Whether a child would get an adult's face; arguments as of [`strangeness`]."""
    return is_child(goal) and bool(shown[AT["age"]] > ADULT)


def pose_and_shapes(mesh: FaceMesh) -> np.ndarray:
    """The rows `SEEN` of a look, `(55,)`."""
    return np.concatenate([angles_of(mesh.pose), shape_logits(mesh.blendshapes)])


def angles_of(pose: np.ndarray) -> np.ndarray:
    """Yaw, pitch and roll of a rotation `(3, 3)`, in degrees: R = Ry Rx Rz."""
    pose = pose.astype(np.float64)
    yaw, pitch = np.arctan2(pose[0, 2], pose[2, 2]), np.arcsin(np.clip(-pose[1, 2], -1, 1))
    return np.degrees([yaw, pitch, np.arctan2(pose[1, 0], pose[1, 1])])


def shape_logits(scores: np.ndarray) -> np.ndarray:
    """Log odds of blendshapes `(52,)`: nearer to linear in the style than the scores."""
    return log_odds(scores.astype(np.float64))


def log_odds(score: Any) -> Any:
    """Log odds of a blendshape's score, 0 to 1."""
    return np.log((score + FLOOR) / (1 + FLOOR - score))


def appearance(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The rows between `SEEN` and `ESTIMATED`; arguments as of [`look`]."""
    if image.shape[0] > SIZE:
        scale = SIZE / image.shape[0]
        image, points = cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_AREA), points * np.float32(scale)
    size = image.shape[0]
    smooth = cv2.boxFilter(image.astype(np.float32) / 255, -1, (7 * size // SIZE | 1,) * 2)
    lab = cv2.cvtColor(smooth, cv2.COLOR_RGB2LAB)

    def colors(group: list[int]) -> np.ndarray:
        column, row = points[group, :2].round().astype(int).T.clip(0, size - 1)
        return lab[row, column].astype(np.float64)

    skin = np.median(colors(CHEEKS), 0)
    covered = np.linalg.norm(colors(FOREHEAD) - skin, axis=1).mean()
    beard = np.median(colors(BEARD)[:, 0]) - np.median(colors(CHEEKS_BELOW)[:, 0])
    normal = vertex_normals(points)
    seen, luminance = skin_luminance(image, points, normal)
    lamp = fit_lamp(normal[seen], luminance)[1:]
    return np.concatenate([skin, lamp, [covered, beard]])

"""Measures of an anonymized face against its original, one file a property."""

from .attributes import FaceResJudge
from .bootstrap import median_interval
from .color import color_errors, median_skin, skin_tone, typology_angle
from .coverage import DlibFaces, covered, redetected
from .expression import blendshape_errors, dlib_landmarks, expression_ratios, procrustes_error, ratio_errors
from .gaze import gaze_error, iris_positions
from .identity import (
    DlibRecognizer,
    FaceResRecognizer,
    Recognizer,
    Verification,
    auc_interval,
    diversity,
    protection_rate,
    verify,
)
from .lighting import AS_DLIB, light_angle, light_distance, light_vector, side_ratio, side_ratio_error
from .pose import head_rotation, pose_error
from .realism import (
    EfficientNetFeatures,
    InceptionFeatures,
    border_gradient,
    border_gradient_ratio,
    frechet_distance,
    kernel_distance,
)
from .search import DlibSearch, Sighting

__all__ = [
    "AS_DLIB",
    "DlibFaces",
    "DlibRecognizer",
    "DlibSearch",
    "EfficientNetFeatures",
    "FaceResJudge",
    "FaceResRecognizer",
    "InceptionFeatures",
    "Recognizer",
    "Sighting",
    "Verification",
    "auc_interval",
    "blendshape_errors",
    "border_gradient",
    "border_gradient_ratio",
    "color_errors",
    "covered",
    "diversity",
    "dlib_landmarks",
    "expression_ratios",
    "frechet_distance",
    "gaze_error",
    "head_rotation",
    "iris_positions",
    "kernel_distance",
    "light_angle",
    "light_distance",
    "light_vector",
    "median_interval",
    "median_skin",
    "pose_error",
    "procrustes_error",
    "protection_rate",
    "ratio_errors",
    "redetected",
    "side_ratio",
    "side_ratio_error",
    "skin_tone",
    "typology_angle",
    "verify",
]

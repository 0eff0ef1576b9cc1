"""Attackers who try to find people again in anonymized photos, one file each, and the report on them."""

from ..errors import MissingDependencyError

try:
    import sklearn  # noqa: F401
except ImportError as error:
    raise MissingDependencyError("scikit-learn", "faceanon-hub[eval]") from error

from .capture import SETTINGS, Capture, Observations, Setting, find_people, gather, known_settings, observe
from .coefficients import identify_numbers
from .linkage import link
from .parrot import Parrot
from .recognizer import Plain, recognize
from .reconstruction import Perceptron, Ridge
from .report import attack, count_steps, in_words, plot, prepare, save_embeddings, to_markdown
from .scores import Attacker, Scores, cross_examine, folds
from .seeds import compare_seeds

__all__ = [
    "SETTINGS",
    "Attacker",
    "Capture",
    "Observations",
    "Parrot",
    "Perceptron",
    "Plain",
    "Ridge",
    "Scores",
    "Setting",
    "attack",
    "compare_seeds",
    "count_steps",
    "cross_examine",
    "find_people",
    "folds",
    "gather",
    "identify_numbers",
    "in_words",
    "known_settings",
    "link",
    "observe",
    "plot",
    "prepare",
    "recognize",
    "save_embeddings",
    "to_markdown",
]

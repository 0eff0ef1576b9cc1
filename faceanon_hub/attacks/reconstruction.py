"""An attacker who learns the way back from anonymized to original embeddings."""

import numpy as np
import torch
from sklearn import linear_model
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from .scores import folds, held_out

PENALTIES = (0.03, 0.3, 3.0, 30.0)  # of ridge regression, in photos learned from
WIDTH, DROPOUT, DECAY, RATE = 256, 0.3, 1e-2, 2e-3
STEPS, PATIENCE = 300, 40


class Ridge:
    """Linear regression with a penalty (Hoerl and Kennard 1970) from anonymized to original embeddings.

    What it predicts is compared with the enrolled by the cosine about the mean. The penalty is chosen on known
    people held back.
    """

    def fit(self, probes: np.ndarray, gallery: np.ndarray | None, people: np.ndarray) -> None:
        """See [`Attacker`]."""
        assert gallery is not None
        self.penalty = held_out(self, PENALTIES, probes, gallery, people)
        self.fit_as(self.penalty, probes, gallery, people)

    def fit_as(self, choice: float, probes: np.ndarray, gallery: np.ndarray | None, people: np.ndarray) -> None:
        """Learns with a given penalty."""
        assert gallery is not None
        self.target = gallery.mean(0)
        self.model = make_pipeline(StandardScaler(), linear_model.Ridge(choice * len(probes))).fit(probes, gallery)

    def __call__(self, probes: np.ndarray, gallery: np.ndarray | None) -> np.ndarray:
        """See [`Attacker`]."""
        assert gallery is not None
        return _cosine(self.model.predict(probes) - self.target, gallery - self.target)


class Perceptron:
    """A small network in place of [`Ridge`]: one hidden layer, cosine loss, stopped where people held back say so.

    Args:
        seed (`int`, *optional*, defaults to `0`):
            Seed of its weights.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def fit(self, probes: np.ndarray, gallery: np.ndarray | None, people: np.ndarray) -> None:
        """See [`Attacker`]."""
        assert gallery is not None
        known, held = next(folds(people, count=4))
        self.scaler, self.target = StandardScaler().fit(probes[known]), gallery[known].mean(0)
        given = torch.from_numpy(self.scaler.transform(probes)).float()
        wanted = torch.from_numpy(gallery - self.target).float()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = torch.nn.Sequential(
                torch.nn.Dropout(DROPOUT),
                torch.nn.Linear(given.shape[1], WIDTH),
                torch.nn.GELU(),
                torch.nn.Dropout(DROPOUT),
                torch.nn.Linear(WIDTH, wanted.shape[1]),
            )
            optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
            best, waited = -2.0, 0
            for _ in range(STEPS):
                network.train()
                loss = -torch.cosine_similarity(network(given[known]), wanted[known]).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                network.eval()
                with torch.no_grad():
                    alike = float(torch.cosine_similarity(network(given[held]), wanted[held]).mean())
                if alike > best:
                    best, waited = alike, 0
                    state = {name: value.clone() for name, value in network.state_dict().items()}
                else:
                    waited += 1
                    if waited > PATIENCE:
                        break
        network.load_state_dict(state)
        self.network = network

    def __call__(self, probes: np.ndarray, gallery: np.ndarray | None) -> np.ndarray:
        """See [`Attacker`]."""
        assert gallery is not None
        with torch.no_grad():
            predicted = self.network(torch.from_numpy(self.scaler.transform(probes)).float())
        return _cosine(predicted.numpy(), gallery - self.target)


def _cosine(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Cosine distances (N, M), 0 to 2."""
    first, second = (v / np.linalg.norm(v, axis=1, keepdims=True).clip(1e-9) for v in (first, second))
    return 1 - first @ second.T

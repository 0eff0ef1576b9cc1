"""The loop: it learns, it goes on exactly where it was, and what it saves can be loaded."""

from __future__ import annotations

import json
import sys
from copy import deepcopy
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
import torch
from safetensors import safe_open
from small_runs import SIZE, TINY

from faceanon_hub import CheckpointError, FaceAnonError, MissingDependencyError
from faceanon_hub.training import Trainer, TrainingConfig, UNetGenerator, train

pytestmark = pytest.mark.usefixtures("one_thread")


def weights(checkpoint) -> dict[str, torch.Tensor]:
    return UNetGenerator.from_pretrained(checkpoint).state_dict()


def lines(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def first_batch(trainer: Trainer) -> dict[str, torch.Tensor]:
    return next(trainer._batches())


@pytest.fixture(scope="module")
def straight(prepared, tmp_path_factory):
    """A run of four steps."""
    folder = tmp_path_factory.mktemp("run") / "straight"
    config = TrainingConfig(
        data=(str(prepared),), sample_size=SIZE, steps=4, batch_size=2, log_every=1, sample_every=100, save_every=4,
        validation_faces=2, **TINY,
    )  # fmt: skip
    told = []
    train(config, folder, lambda *values: told.append(values))
    assert [step for step, _, _ in told] == [1, 2, 3, 4] and all(speed > 0 for _, _, speed in told)
    return folder


def test_a_run_that_is_stopped_ends_at_the_same_weights(straight, config, tmp_path):
    train(config(steps=2), tmp_path / "run")
    with (tmp_path / "run" / "metrics.jsonl").open("a") as log:  # it was killed behind the state it goes on from
        log.write(json.dumps({"step": 3, "images": 6}) + "\n")
    (tmp_path / "run" / ".partial-state-000004").mkdir()
    train(config(steps=4), tmp_path / "run")
    states = [
        torch.load(folder / "state-000004" / "state.pt", weights_only=True) for folder in (straight, tmp_path / "run")
    ]
    for part in ("generator", "ema", "projected", "conditional", "reader"):
        assert all(torch.equal(states[0][part][name], weight) for name, weight in states[1][part].items()), part
    moments = [state["generator_optimizer"]["state"] for state in states]
    assert all(torch.equal(moments[0][n]["exp_avg_sq"], moment["exp_avg_sq"]) for n, moment in moments[1].items())
    both = [lines(folder) for folder in (straight, tmp_path / "run")]
    terms = [[line["generator"] for line in log if "generator" in line] for log in both]
    assert terms[0] == terms[1] and len(terms[0]) == 4
    assert not list((tmp_path / "run").glob(".partial-*"))
    assert [path.name for path in sorted((tmp_path / "run").glob("state-*"))] == ["state-000004"]


def test_a_seed_makes_a_run(straight, config, tmp_path):
    train(config(steps=1, save_every=1, seed=1), tmp_path / "run")
    assert lines(tmp_path / "run")[0]["generator"] != lines(straight)[0]["generator"]


def test_a_checkpoint_is_the_averaged_network_in_half_precision(straight):
    folder = straight / "checkpoint-000004"
    with safe_open(folder / "diffusion_pytorch_model.safetensors", "pt") as file:
        assert {file.get_slice(key).get_dtype() for key in file.keys()} == {"F16"}  # noqa: SIM118
    averaged = torch.load(straight / "state-000004" / "state.pt", weights_only=True)["ema"]
    saved = weights(folder)
    assert all(torch.equal(saved[name], weight.half().float()) for name, weight in averaged.items())


def test_a_run_tells_what_it_was(straight, prepared):
    record = json.loads((straight / "checkpoint-000004" / "training.json").read_text())
    assert (record["steps"], record["images"], record["started_from"]) == (4, 8, None)
    samples = json.loads((prepared / "manifest.json").read_text())["sources"]["heads"]["samples"]["train"]
    assert record["sources"] == {"heads": {"licence": "CC0-1.0", "samples": samples}}
    assert set(record["validation"]) == {"frechet", "validation_l1", "validation_color_distance"}
    assert str(prepared) not in json.dumps(record)
    with PIL.Image.open(straight / "samples" / "000004.png") as sheet:
        assert sheet.width == 6 * 64 and sheet.height % 64 == 0 and np.asarray(sheet).std() > 20
    assert list((straight / "tensorboard").glob("events.*"))
    assert {"discriminator", "adversarial", "perceptual", "l1", "latent", "diversity"} < set(lines(straight)[0])


def test_another_run_does_not_go_on_in_the_folder(straight, config):
    with pytest.raises(FaceAnonError, match="another seed"):
        train(config(seed=5), straight)


def test_nothing_is_written_beside_other_files(config, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(FaceAnonError, match="not made here"):
        train(config(), tmp_path)


def test_a_network_learns_a_handful_of_faces(config, tmp_path):
    # One batch again and again, with neither discriminators nor diversity: what is left can only fall.
    settings = config(
        adversarial_ramp=10**9, diversity_weight=0.0, latent_weight=0.0, l1_weight=9.0, learning_rate=0.01
    )
    trainer = Trainer(settings, tmp_path / "run")
    before = {name: weight.clone() for name, weight in trainer.generator.state_dict().items()}
    batch = first_batch(trainer)
    terms = [float(trainer.advance(batch)["l1"]) for _ in range(8)]
    assert min(terms[-3:]) < 0.85 * terms[0]
    changed = [not torch.equal(weight, before[name]) for name, weight in trainer.generator.state_dict().items()]
    assert all(changed)
    lag = [(a - b).abs().max() for a, b in zip(trainer.ema.parameters(), trainer.generator.parameters(), strict=True)]
    assert max(lag) > 0


def test_the_rate_rises_over_the_warmup(config, tmp_path):
    trainer = Trainer(config(warmup=3, steps=9), tmp_path / "run")
    batch, seen = first_batch(trainer), []
    for _ in range(5):
        trainer.advance(batch)
        rates = [group["lr"] for group in trainer._generator_optimizer.param_groups]
        seen.append(rates[0] / trainer._rates[0])
    assert seen == pytest.approx([0.25, 0.5, 0.75, 1, 1])


def test_discriminators_get_a_head_start(config, tmp_path):
    trainer = Trainer(config(head_start=2, warmup=1, steps=9), tmp_path / "run")
    batch, before = first_batch(trainer), deepcopy(trainer.generator.state_dict())
    judges = deepcopy(trainer._judges.state_dict())
    for _ in range(2):
        assert set(trainer.advance(batch)) == {"discriminator", "discriminator_norm"}
    assert all(torch.equal(weight, before[name]) for name, weight in trainer.generator.state_dict().items())
    assert any(not torch.equal(weight, judges[name]) for name, weight in trainer._judges.state_dict().items())
    trainer.advance(batch)
    assert trainer._generator_optimizer.param_groups[0]["lr"] == pytest.approx(trainer._rates[0] / 2)
    assert any(not torch.equal(weight, before[name]) for name, weight in trainer.generator.state_dict().items())


def test_the_rates_fall_over_the_cooldown(config, tmp_path):
    trainer = Trainer(config(cooldown=3, steps=5), tmp_path / "run")
    batch, seen = first_batch(trainer), []
    for _ in range(5):
        trainer.advance(batch)
        rates = [o.param_groups[0]["lr"] for o in (trainer._generator_optimizer, trainer._discriminator_optimizer)]
        seen.append([rates[0] / trainer._rates[0], rates[1] / trainer.config.discriminator_learning_rate])
    assert np.array(seen) == pytest.approx(np.array([1, 1, 0.75, 0.5, 0.25])[:, None].repeat(2, 1))
    # Where it ends decides what was learned.
    with pytest.raises(FaceAnonError, match="another steps"):
        Trainer(config(cooldown=3, steps=6), tmp_path / "run")


def test_frozen_parts_keep_their_weights(config, tmp_path):
    trainer = Trainer(config(frozen=("stem", "encoder")), tmp_path / "run")
    before = deepcopy(trainer.generator.state_dict())
    trainer.advance(first_batch(trainer))
    after = trainer.generator.state_dict()
    changed = [name for name, weight in after.items() if not torch.equal(weight, before[name])]
    assert any(name.startswith("decoder") for name in changed)
    assert not any(name.startswith(("stem", "encoder")) for name in changed)
    with pytest.raises(FaceAnonError, match="no part 'decode'"):
        Trainer(config(frozen=("decode",)), tmp_path / "other")


def test_what_lies_beyond_the_photo_teaches_nothing(config, tmp_path):
    trainer = Trainer(config(), tmp_path / "run")
    batch = first_batch(trainer)
    trainer.advance({**batch, "valid": torch.zeros_like(batch["valid"])})
    assert all(p.grad is None or not p.grad.abs().max() for p in trainer.generator.parameters())
    trainer.advance(batch)
    assert any(p.grad.abs().max() for p in trainer.generator.parameters())


def test_hints_are_dropped_and_only_in_training(config, tmp_path):
    trainer = Trainer(config(batch_size=48, hint_dropout=0.5), tmp_path / "run")
    batch = first_batch(trainer)
    told = trainer._tell(batch, trainer._source(0))[2]
    without = (told[:, 7:].abs().amax((1, 2, 3)) == 0).sum()
    assert 0 < without < 24
    assert (trainer._tell(batch)[2][:, 7:].abs().amax((1, 2, 3)) > 0).all()


def test_a_run_starts_from_a_folder_and_tells_its_record(straight, config, tmp_path):
    start = straight / "checkpoint-000004"
    settings = config(start=str(start), sample_size=None, channels=None)
    trainer = Trainer(settings, tmp_path / "run")
    assert all(torch.equal(weight, weights(start)[name]) for name, weight in trainer.generator.state_dict().items())
    assert trainer.start["checkpoint"] == "checkpoint-000004" and trainer.start["training"]["images"] == 8
    again = trainer.save(0.0)
    assert not [
        path for path in again.glob("*.json") if str(tmp_path) in path.read_text() or str(start) in path.read_text()
    ]
    with pytest.raises(FaceAnonError, match="paints 64 px, not 128"):
        Trainer(replace(settings, sample_size=128), tmp_path / "other")
    with pytest.raises(CheckpointError, match="nowhere"):
        Trainer(replace(settings, start=str(tmp_path / "nowhere")), tmp_path / "other")


def test_bfloat16_learns_in_float32_weights(config, tmp_path):
    trainer = Trainer(config(mixed_precision="bf16"), tmp_path / "run")
    before = [parameter.detach().clone() for parameter in trainer.generator.parameters()]
    values = trainer.advance(first_batch(trainer))
    assert all(np.isfinite(float(value)) for value in values.values())
    assert {p.dtype for p in trainer.generator.parameters()} == {torch.float32}
    assert any(not torch.equal(old, new) for old, new in zip(before, trainer.generator.parameters(), strict=True))


def test_weights_that_are_no_numbers_are_never_saved(config, tmp_path):
    trainer = Trainer(config(), tmp_path / "run")
    trainer.generator.stem.weight.data[0] = torch.nan
    with pytest.raises(FaceAnonError, match="diverged"):
        trainer.run()
    assert not list((tmp_path / "run").glob("checkpoint-*")) and not list((tmp_path / "run").glob("state-*"))


@pytest.mark.parametrize("package", ["accelerate", "tensorboard", "efficientnet_lite_pytorch"])
def test_a_missing_extra_is_named(config, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=r"faceanon-hub\[train\]"):
        train(config(), tmp_path / "run")

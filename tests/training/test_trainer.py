"""The loop: it learns, it goes on exactly where it was, and what it saves is a pipeline."""

import json
import sys
from copy import deepcopy

import numpy as np
import PIL.Image
import pytest
import torch
from safetensors import safe_open

from faceanon_hub import CheckpointError, FaceAnonError, FaceAnonPipeline, MissingDependencyError, UnmeasuredError
from faceanon_hub.hub import describe
from faceanon_hub.training import Trainer, train

pytestmark = pytest.mark.usefixtures("one_thread", "few_faces")


def lines(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def first_batch(trainer: Trainer) -> dict[str, torch.Tensor]:
    return next(trainer._batches())


@pytest.mark.slow
def test_a_run_that_is_stopped_ends_at_the_same_weights_and_its_checkpoint_is_a_pipeline(config, start, tmp_path):
    told = []
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    train(config(steps=4), straight, lambda *values: told.append(values))
    assert [step for step, _, _ in told] == [1, 2, 3, 4] and all(speed > 0 for _, _, speed in told)

    trainer = Trainer(config(steps=4), stopped)
    for number, batch in zip(range(2), trainer._batches(), strict=False):
        trainer.advance(batch)
        trainer._log({"half": number})
    trainer.save_state(1.0)
    (stopped / "checkpoint-000002").mkdir()
    with (stopped / "metrics.jsonl").open("a") as log:  # it was killed behind the state it goes on from
        log.write(json.dumps({"step": 3, "images": 6}) + "\n")
    again = Trainer(config(steps=4), stopped)
    terms = [float(again.advance(batch)["generator"]) for batch in again._batches()]
    state = torch.load(straight / "state-000004" / "state.pt", weights_only=True)
    for part in ("generator", "ema", "discriminator"):
        weights = getattr(again, part).state_dict()
        assert all(torch.equal(state[part][name], weight) for name, weight in weights.items()), part
    moments = again._generator_optimizer.state_dict()["state"]
    before = state["generator_optimizer"]["state"]
    assert all(torch.equal(before[n]["exp_avg_sq"], moment["exp_avg_sq"]) for n, moment in moments.items())
    assert (state["chance"], state["sign"]) == (again.chance, again.sign) and again.sign
    logged = [line["generator"] for line in lines(straight) if "generator" in line]
    assert terms == pytest.approx(logged[-2:], rel=1e-5)
    assert [line["step"] for line in lines(stopped)] == [1, 2]
    assert not list(straight.glob("bank*")) and len(list(straight.glob("state-*"))) == 1

    checkpoint = straight / "checkpoint-000004"
    with safe_open(checkpoint / "generator" / "diffusion_pytorch_model.safetensors", "pt") as file:
        assert {file.get_slice(key).get_dtype() for key in file.keys()} == {"F16"}  # noqa: SIM118
    pipe = FaceAnonPipeline.from_pretrained(checkpoint)
    saved = pipe.generator.state_dict()
    averaged = {name: weight for name, weight in state["ema"].items() if name != "mean_style"}
    assert all(torch.equal(saved[name], weight.half().float()) for name, weight in averaged.items())
    assert pipe.sampler.config.bank == 30 and pipe.sampler.config.truncation == 0.5 and pipe.sampler.mean.any()
    record = pipe.generator.config.record
    assert (record["steps"], record["images"], record["started_from"]) == (4, 8, "little")
    assert record["sources"]["heads"]["licence"] == "CC0-1.0"
    assert record["nearest"]["asked"] == 6
    assert record["nearest"]["most"] > 0.5  # the prior draws the one who is learned
    assert not [path for path in checkpoint.rglob("*.json") if str(tmp_path.parent) in path.read_text()]
    assert "8 photos shown" in describe(pipe)["training"] and "CC0-1.0" in describe(pipe)["data"]
    with PIL.Image.open(straight / "samples" / "000004.png") as sheet:
        assert sheet.size == (8 * 160, 3 * 160) and np.asarray(sheet).std() > 20
    assert list((straight / "tensorboard").glob("events.*"))
    with pytest.raises(UnmeasuredError, match="of 6 drawn people is known, 1000 are needed"):
        pipe.push_to_hub("somebody/anything")
    with pytest.raises(FaceAnonError, match="another seed"):
        train(config(seed=5), straight)


def test_pictures_come_nearer_to_photos_where_the_discriminator_says_so(config, tmp_path):
    # All photos are dark: drawn people grow darker.
    rates = {"learning_rate": 0.03, "discriminator_learning_rate": 4e-3, "r1_weight": 0.0}
    trainer = Trainer(config(head_start=5, **rates), tmp_path / "run")
    batch = {name: value.repeat(2, 1, 1, 1) for name, value in first_batch(trainer).items()}
    batch["image"] = batch["image"] // 6
    before = {name: weight.clone() for name, weight in trainer.generator.state_dict().items()}

    def brightness() -> float:
        with torch.no_grad():
            return float(trainer._draw(8, torch.Generator().manual_seed(0)).mean())

    first = brightness()
    values = [trainer.advance(batch) for _ in range(11)]
    assert brightness() < first - 0.05
    assert all(np.isfinite(float(v)) for each in values for v in each.values())
    after = trainer.generator.state_dict()
    finer = {name for name in after if name.startswith("levels.4.")}  # of 128 px, and photos have 64
    learned = {name for name, parameter in trainer.generator.named_parameters() if parameter.requires_grad}
    assert finer and not finer & learned
    assert all(torch.equal(after[name], before[name]) != (name in learned) for name in after)
    lag = [(a - b).abs().max() for a, b in zip(trainer.ema.parameters(), trainer.generator.parameters(), strict=True)]
    assert max(lag) > 0


def test_the_discriminator_gets_a_head_start_and_a_penalty_now_and_then(config, tmp_path):
    trainer = Trainer(config(head_start=2, r1_every=2, steps=9), tmp_path / "run")
    batch, before = first_batch(trainer), deepcopy(trainer.generator.state_dict())
    seen = [set(trainer.advance(batch)) for _ in range(2)]
    assert "r1" in seen[0] and "r1" not in seen[1] and not any("generator" in names for names in seen)
    assert all(torch.equal(weight, before[name]) for name, weight in trainer.generator.state_dict().items())
    assert "generator" in trainer.advance(batch)


def test_augmentation_follows_how_sure_the_discriminator_is(config, tmp_path):
    trainer = Trainer(config(augment_images=20, augment_target=0.0), tmp_path / "run")
    batch = first_batch(trainer)
    trainer.sign = 1.0
    trainer.advance(batch)
    assert trainer.chance == pytest.approx(0.1)  # two photos of twenty
    trainer.sign = -1.0
    trainer.advance(batch)
    assert trainer.chance == pytest.approx(0.0)


def test_what_lies_beyond_the_photo_teaches_nothing(config, tmp_path):
    trainer = Trainer(config(), tmp_path / "run")
    batch = first_batch(trainer)
    trainer.advance({**batch, "valid": torch.zeros_like(batch["valid"])})
    assert all(p.grad is None or not p.grad.abs().max() for p in trainer.generator.parameters())


def test_bfloat16_learns_in_float32_weights(config, tmp_path):
    trainer = Trainer(config(mixed_precision="bf16"), tmp_path / "run")
    values = trainer.advance(first_batch(trainer))
    assert all(np.isfinite(float(value)) for value in values.values())
    assert {p.dtype for p in trainer.generator.parameters()} == {torch.float32}


def test_weights_that_are_no_numbers_are_never_saved(config, tmp_path):
    trainer = Trainer(config(steps=1), tmp_path / "run")
    trainer.generator.constant.data[0] = torch.nan
    with pytest.raises(FaceAnonError, match="diverged"):
        trainer.run()
    assert not list((tmp_path / "run").glob("checkpoint-*")) and not list((tmp_path / "run").glob("state-*"))


def test_what_cannot_be_is_said_before_the_work(config, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(FaceAnonError, match="not made here"):
        Trainer(config(), tmp_path)
    with pytest.raises(CheckpointError, match="nowhere"):
        Trainer(config(start=str(tmp_path / "nowhere")), tmp_path / "other")
    with pytest.raises(FaceAnonError, match="128 px are not compared at 48 px"):
        Trainer(config(size=48), tmp_path / "other")


@pytest.mark.parametrize("package", ["accelerate", "tensorboard", "efficientnet_lite_pytorch"])
def test_a_missing_extra_is_named(config, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=r"faceanon-hub\[train\]"):
        train(config(), tmp_path / "run")

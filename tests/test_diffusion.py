"""What a start imports, and that what it leaves out is there when it is asked for."""

import subprocess
import sys

import pytest

HEAVY = ("torch._dynamo", "torch._inductor", "scipy.stats", "sympy", "diffusers.models.transformers", "skimage")


def printed(code: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def test_a_photo_is_anonymized_without_model_zoo_and_compiler(tmp_path):
    code = f"""if True:
        import sys
        import PIL.Image, numpy as np
        from faceanon_hub.loading import load
        pipe = load(sys.argv[1])
        pipe(np.zeros((64, 64, 3), np.uint8), seed=0)
        print([name for name in {HEAVY!r} if name in sys.modules])
    """
    from faceanon_hub import DEFAULT_CHECKPOINT

    assert printed(code, str(DEFAULT_CHECKPOINT)) == "[]"


def test_the_compiler_works_afterwards():
    code = """if True:
        import faceanon_hub.pipeline, torch
        double = torch.compile(lambda x: 2 * x, backend="eager")
        print(double(torch.ones(1)).item(), torch._dynamo.__file__ is not None)
    """
    assert printed(code) == "2.0 True"


def test_other_pipelines_know_an_autoencoder():
    code = """if True:
        import faceanon_hub.pipeline
        from diffusers import AutoencoderKL
        from diffusers.pipelines import pipeline_utils
        coder = AutoencoderKL(block_out_channels=(32,), norm_num_groups=8)
        kind = pipeline_utils.AutoencoderKL
        print(isinstance(coder, kind), isinstance(1, kind), AutoencoderKL.__module__)
    """
    assert printed(code) == "True False diffusers.models.autoencoders.autoencoder_kl"


@pytest.mark.parametrize("first", ["diffusers", "diffusers.pipelines.pipeline_utils", "torch._dynamo"])
def test_whoever_imported_them_before_has_them_whole(first):
    code = f"""if True:
        import {first}
        import faceanon_hub.pipeline, sys
        from diffusers.pipelines import pipeline_utils
        print(pipeline_utils.AutoencoderKL.__module__, type(sys.modules["torch._dynamo"].disable).__name__)
    """
    assert printed(code) == "diffusers.models.autoencoders.autoencoder_kl function"

"""Starts the page."""

import logging
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import PIL.Image
import torch
from starlette.middleware import Middleware

from ..errors import MissingDependencyError
from ..hub import DEFAULT_CHECKPOINT
from ..pipeline import FaceAnonPipeline
from . import retention
from .intake import MAX_BYTES, Gate
from .page import CSS, HOUR, SCRIPT, build, samples
from .painter import painting


def launch(
    checkpoint: str | Path | FaceAnonPipeline = DEFAULT_CHECKPOINT,
    lifetime: float = HOUR,
    mcp: bool = False,
    **kwargs: Any,
) -> tuple[gr.Blocks, str]:
    """Opens the demo and waits.

    Args:
        checkpoint (`str`, `Path` or [`FaceAnonPipeline`], *optional*, defaults to `DEFAULT_CHECKPOINT`):
            Folder or Hub id of a pipeline, or one that is loaded.
        lifetime (`float`, *optional*, defaults to `HOUR`):
            Seconds after which what visitors sent is deleted.
        mcp (`bool`, *optional*, defaults to `False`):
            Serve the endpoints to language models, too, by the Model Context Protocol.
        kwargs (*optional*):
            Those of [`~gradio.Blocks.launch`]; with `prevent_thread_lock=True` it does not wait.

    Returns:
        `tuple[gradio.Blocks, str]`: the page and its address.

    Raises:
        CheckpointError: the checkpoint cannot be loaded.
        MissingDependencyError: the extra `mcp` is not installed.
    """
    if mcp and find_spec("mcp") is None:
        raise MissingDependencyError("mcp", "faceanon-hub[mcp]")
    if isinstance(checkpoint, FaceAnonPipeline):
        pipe = checkpoint
    else:
        pipe = painting(FaceAnonPipeline.from_pretrained)(checkpoint)
        pipe.set_progress_bar_config(disable=True)
    lend_gpu(pipe)
    folder = retention.private_folder()
    portrait = np.asarray(PIL.Image.open(samples(folder)[0]))
    painting(pipe.find_faces)(portrait)  # the first visitor does not wait for what is loaded on first use
    if not kwargs.get("prevent_thread_lock"):  # else the process is the caller's
        retention.end_on_signals()
    # Gradio asks the environment where uploads go.
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    if mcp:  # what language models send lies there, too; it was asked for when Gradio was imported
        from gradio import mcp as served

        served.DEFAULT_TEMP_DIR = str(folder)
        logging.getLogger("mcp").setLevel(logging.CRITICAL)  # it names what it was asked for
    page, text = build(pipe, folder, lifetime)
    _, address, _ = page.launch(
        max_file_size=MAX_BYTES,
        i18n=text,
        css=CSS,
        js=SCRIPT,
        mcp_server=mcp,
        enable_monitoring=False,
        app_kwargs={"lifespan": retention.sweeping(lifetime), "middleware": [Middleware(Gate, page=page)]},
        **kwargs,
    )
    return page, address


def lend_gpu(pipe: FaceAnonPipeline) -> None:
    """Moves the network to the GPU where there is one; a ZeroGPU Space lends it to the drawing alone."""
    try:  # before anything asks for a GPU: on ZeroGPU it changes what torch answers
        from spaces import GPU  # type: ignore[attr-defined]
    except ImportError:
        GPU = None  # noqa: N806
    if torch.cuda.is_available():
        pipe.to("cuda")
    if GPU is not None:
        pipe.sample = GPU(pipe.sample)  # type: ignore[method-assign]

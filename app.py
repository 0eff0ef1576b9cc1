"""The web demo, as a Space or `make app` starts it."""

import argparse

from faceanon_hub import DEFAULT_CHECKPOINT
from faceanon_hub.demo import launch

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", default=str(DEFAULT_CHECKPOINT), help="folder or Hub id of a pipeline")
    parser.add_argument("--mcp", action="store_true", help="serve language models, too (extra `mcp`)")
    arguments = parser.parse_args()
    launch(arguments.checkpoint, mcp=arguments.mcp)

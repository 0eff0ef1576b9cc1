"""Anonymizes a 🤗 dataset and writes it with its card: `python examples/anonymize_dataset.py IN OUT`.

IN is what `datasets.load_dataset` takes: a name on the Hub, or a folder of photos. OUT is a folder that
`huggingface_hub.upload_folder` can upload as it is. It needs `pip install 'faceanon-hub[scale]'`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from huggingface_hub import DatasetCard, DatasetCardData

from faceanon_hub import AnonymizeBatch, __version__

CARD = """---
{front_matter}
---

# {name}, faces anonymized

Every face that was found is replaced by a realistic face of nobody; expression, gaze, head pose, light and skin
colour are kept. Made with faceanon-hub {version}.

| rows | photos left out because they failed |
|---|---|
| {rows} | {failed} |

A failed photo is null, and the column `anonymization_error` says why. Photos in other columns are anonymized, too;
text and few numbers are as they were, and what may hold a picture is null.

## Limits

Faces that were not found are **not** hidden. A replaced face hides a person from a glance, not from every recognizer:
the outline of the head, hair, clothes and place remain. Labels and other columns may still name people.
"""


def make_card(name: str, rows: int, failed: int) -> DatasetCard:
    """The card of an anonymized dataset."""
    data = DatasetCardData(pretty_name=f"{name}, faces anonymized", tags=["face-anonymization", "faceanon-hub"])
    front_matter = data.to_yaml()
    return DatasetCard(
        CARD.format(front_matter=front_matter, name=name, version=__version__, rows=rows, failed=failed)
    )


def main() -> None:
    """Anonymizes one split."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("target", type=Path)
    parser.add_argument("--split", default="train")
    parser.add_argument("--column", default="image")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()

    from datasets import load_dataset

    dataset = load_dataset(arguments.source, split=arguments.split)
    anonymize = AnonymizeBatch(arguments.column, seed=arguments.seed, threads=1 if arguments.processes > 1 else None)
    dataset = dataset.map(
        anonymize,
        batched=True,
        batch_size=8,
        num_proc=arguments.processes if arguments.processes > 1 else None,
    )
    (arguments.target / "data").mkdir(parents=True)
    dataset.to_parquet(arguments.target / "data" / f"{arguments.split}-00000-of-00001.parquet")
    failed = sum(error != "" for error in dataset[anonymize.errors])
    make_card(Path(arguments.source).name, len(dataset), failed).save(arguments.target / "README.md")


if __name__ == "__main__":
    main()

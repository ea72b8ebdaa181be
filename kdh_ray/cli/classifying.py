"""Options of the verbs that use or score a classifier, and the configuration that a classifier belongs to."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kdh_ray.cli.running import add_changed_data_argument
from kdh_ray.data.corpus import SPLIT_NAMES
from kdh_ray.errors import ConfigError
from kdh_ray.run_folder import RunFolder

if TYPE_CHECKING:
    from kdh_ray.config import RunConfig

_PRECISIONS = ("auto", "float32", "bfloat16")


def add_checkpoint_argument(parser: argparse.ArgumentParser) -> None:
    """Add the classifier that the verb loads."""
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="folder of a classifier, local or in a bucket")


def add_scoring_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the classifier that the verb scores, and the corpus and split to score it on."""
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="folder of a classifier")
    parser.add_argument(
        "config", nargs="?", metavar="CONFIG",
        help="configuration whose data section names the corpus (default: that of the classifier's run)",
    )  # fmt: skip
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change a setting; may be repeated"
    )
    parser.add_argument(
        "--split", choices=SPLIT_NAMES, default="test", metavar="NAME",
        help=f"split to score: {', '.join(SPLIT_NAMES)} (default: %(default)s)",
    )  # fmt: skip
    add_changed_data_argument(parser)


def add_execution_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options for number format and place of execution, and ``--verbose``."""
    parser.add_argument(
        "--precision", choices=_PRECISIONS, default="auto", metavar="KIND",
        help=f"number format: {', '.join(_PRECISIONS)} (default: %(default)s, which takes what is fastest here)",
    )  # fmt: skip
    parser.add_argument("--address", help="address of a running Ray cluster (default: start Ray on this machine)")
    parser.add_argument("--local", action="store_true", help="run in this process instead of on Ray")
    parser.add_argument("-v", "--verbose", action="store_true", help="show Ray's own log lines")


def config_of(checkpoint: Path, config: str | None, settings: Sequence[str] = (), instead: str = "") -> RunConfig:
    """Load the given configuration, or that of the run a checkpoint belongs to.

    Args:
        checkpoint: Folder of a classifier.
        config: File of a configuration, if the user gave one.
        settings: Changes of it, as ``SECTION.KEY=VALUE``.
        instead: End of a message: what else the user may give.

    Raises:
        ConfigError: If no configuration is given and the checkpoint is in no run.
    """
    from kdh_ray.config import load_config, load_run_config

    if config is not None:
        return load_config(config, settings)
    source = RunFolder.of_checkpoint(checkpoint).config
    if not source.exists():
        raise ConfigError(
            [f"the checkpoint is not in a run's folder: give a CONFIG that names the corpus{instead}"], str(checkpoint)
        )
    return load_run_config(source, settings)

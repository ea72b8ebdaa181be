"""The configuration of a run: one typed tree, read from YAML, and all its faults are reported at once."""

from kdh_ray.config.data import DataConfig, UnlabelledConfig, data_of_run
from kdh_ray.config.fields import Section
from kdh_ray.config.load import dump_config, flatten, load_config, load_run_config, parse_config, parse_data
from kdh_ray.config.overrides import apply_overrides
from kdh_ray.config.run import BaselineConfig, JobConfig, RunConfig
from kdh_ray.config.space import (
    SearchRange,
    SearchSpace,
    active_ranges,
    every_range,
    highest,
    is_integer,
    is_numeric,
    lowest,
    ranges_of,
    spaces_by_start,
    tunable_settings,
)
from kdh_ray.config.stage import LossConfig, Pooling, StageConfig
from kdh_ray.config.tune import MACHINE_SETTINGS, TuneConfig

__all__ = [
    "MACHINE_SETTINGS",
    "BaselineConfig",
    "DataConfig",
    "JobConfig",
    "LossConfig",
    "Pooling",
    "RunConfig",
    "SearchRange",
    "SearchSpace",
    "Section",
    "StageConfig",
    "TuneConfig",
    "UnlabelledConfig",
    "active_ranges",
    "apply_overrides",
    "data_of_run",
    "dump_config",
    "every_range",
    "flatten",
    "highest",
    "is_integer",
    "is_numeric",
    "load_config",
    "load_run_config",
    "lowest",
    "parse_config",
    "parse_data",
    "ranges_of",
    "spaces_by_start",
    "tunable_settings",
]

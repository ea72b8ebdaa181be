"""The configuration of a run: one typed tree, read from YAML, and all its faults are reported at once."""

from kdh_ray.config.data import DataConfig, data_of_run
from kdh_ray.config.fields import Section
from kdh_ray.config.load import dump_config, flatten, load_config, load_run_config, parse_config, parse_data
from kdh_ray.config.overrides import apply_overrides
from kdh_ray.config.run import BaselineConfig, JobConfig, RunConfig
from kdh_ray.config.stage import LossConfig, StageConfig
from kdh_ray.config.tune import MACHINE_SETTINGS, SearchRange, TuneConfig, is_integer, is_numeric, tunable_settings

__all__ = [
    "MACHINE_SETTINGS",
    "BaselineConfig",
    "DataConfig",
    "JobConfig",
    "LossConfig",
    "RunConfig",
    "SearchRange",
    "Section",
    "StageConfig",
    "TuneConfig",
    "apply_overrides",
    "data_of_run",
    "dump_config",
    "flatten",
    "is_integer",
    "is_numeric",
    "load_config",
    "load_run_config",
    "parse_config",
    "parse_data",
    "tunable_settings",
]

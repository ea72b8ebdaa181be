"""A stage that trains in seconds, to search over, and a searcher for it."""

from cheap_search import RandomSearch

from kdh_ray.config import parse_config
from kdh_ray.jobs.stage_search.plan import SearchPlan
from kdh_ray.run_folder import RunFolder


def small(encoder, **tune_settings):
    """A configuration that trains in seconds."""
    space = {
        "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
        "loss.alpha": {"low": 0.0, "high": 1.0},
        "dropout": {"low": 0.0, "high": 0.3},
        "layers": {"low": 1, "high": 2},
        "epochs": {"low": 2, "high": 3},
    }
    return parse_config(
        {
            "name": "small",
            "data": {"corpus": "synthetic", "documents": 120, "max_tokens": 16, "segments": False},
            "baselines": {"tfidf": False},
            "precision": "float32",
            "stages": {
                "teacher": {"start": str(encoder), "epochs": 1},
                "student": {"start": "teacher", "layers": 1, "teachers": ["teacher"], "epochs": 3},
            },
            "tune": {"space": space, "trials": 4, **tune_settings},
        }
    )


def search_plan(config, folder):
    """Plan the search for the student's settings of ``small``, in ``folder``."""
    return SearchPlan(config, RunFolder(folder), "student")


class StageSearch(RandomSearch):
    """A searcher that draws from the space of ``small``."""

    def suggest(self, trial_id):
        draw = self.generator.random
        return {
            "learning_rate": 10 ** (2 * draw() - 4),
            "loss.alpha": draw(),
            "dropout": 0.3 * draw(),
            "layers": self.generator.randint(1, 2),
            "epochs": self.generator.randint(2, 3),
        }

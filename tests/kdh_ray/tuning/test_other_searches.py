"""A folder that holds a search refuses to resume as another one."""

import pytest
import ray.tune
from cheap_search import RandomSearch

from kdh_ray.errors import UserError
from kdh_ray.tuning import TuneSettings, tune
from kdh_ray.tuning.ledger import Ledger
from kdh_ray.tuning.space_text import space_text
from kdh_ray.tuning.trials import Report, Trial
from searchers.pso_search import ParticleSwarmSearch

FINISHED = Trial(1, "id", {"x": 0.1}, "ok", [Report(1, 0.5, 0.1)])


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"metric": "loss"}, "for the max of score by RandomSearch, not for the max of loss by RandomSearch"),
        ({"mode": "min"}, "not for the min of score by RandomSearch"),
        ({"searcher": ParticleSwarmSearch()}, "not for the max of score by ParticleSwarm"),
    ],
)
def test_another_search_is_not_resumed(tmp_path, asked, words):
    ledger = Ledger(tmp_path)
    ledger.trials = [FINISHED]
    ledger.purpose = {"metric": "score", "mode": "max", "searcher": "RandomSearch"}
    ledger.commit()
    searcher = asked.pop("searcher", RandomSearch())
    settings = TuneSettings(**{"trials": 1, "metric": "score", **asked})
    with pytest.raises(UserError, match=words):
        tune(None, {}, settings, searcher=searcher, storage=tmp_path, resume=True)


def test_search_is_not_resumed_with_another_space(tmp_path):
    def searched(**space):
        return tune(None, space, TuneSettings(1, "score"), searcher=RandomSearch(), storage=tmp_path, resume=True)

    own = {"x": ray.tune.uniform(0, 1), "net": {"kind": ray.tune.choice(["a", len]), "depth": 2}}
    ledger = Ledger(tmp_path)
    ledger.trials, ledger.space = [FINISHED], space_text(own)
    ledger.commit()
    assert len(searched(**own).trials) == 1
    assert len(searched().trials) == 1  # reads the results
    for change, named in [
        ({"x": ray.tune.loguniform(0.1, 1)}, "x"),
        ({"x": ray.tune.quniform(0, 1, 0.1)}, "x"),
        ({"y": ray.tune.uniform(0, 1)}, "y"),
        ({"net": {"kind": ray.tune.choice(["a", "b"]), "depth": 2}}, r"net\.kind"),
        ({"net": {"kind": ray.tune.choice(["a", max]), "depth": 3}}, r"net\.depth"),
    ]:
        with pytest.raises(UserError, match=rf"holds a search of another space \({named}\): choose another folder"):
            searched(**{**own, **change})


def test_empty_space_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"needs a domain, such as tune\.uniform"):
        tune(None, {}, TuneSettings(1, "score"), searcher=RandomSearch(), storage=tmp_path / "search")

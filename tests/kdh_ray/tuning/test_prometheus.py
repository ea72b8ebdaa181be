"""The Grafana dashboard and the series that it plots."""

import json
import re
from pathlib import Path

from kdh_ray.tuning.prometheus import SERIES

DASHBOARD = Path(__file__).parents[3] / "deploy" / "grafana" / "kdh-ray.json"


def test_dashboard_plots_exactly_the_series():
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert {name for query in queries for name in re.findall(r"ray_(\w+)", query)} == set(SERIES)
    legends = [target["legendFormat"] for panel in dashboard["panels"] for target in panel["targets"]]
    for query, legend in zip(queries, legends, strict=True):
        series = SERIES[re.findall(r"ray_(\w+)", query)[0]]
        assert set(re.findall(r"{{(\w+)}}", legend)) <= set(series.labels)

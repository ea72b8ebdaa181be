"""Report: one self-contained HTML page about the results of runs.

>>> from kdh_ray.report import make_report, to_html
>>> page = to_html(make_report(load_runs("runs")))
"""

from __future__ import annotations

from kdh_ray.extras import require
from kdh_ray.report.parts import Report, Section
from kdh_ray.report.sections import make_report

__all__ = ["Report", "Section", "make_report", "to_html"]


def to_html(report: Report) -> str:
    """Return the page. It has no script, loads nothing, and is light or dark as the reader's system is.

    Raises:
        UnavailableError: If Jinja is not installed.
    """
    require("a report", "report", "jinja2")
    import jinja2

    from kdh_ray.report.figures.drawing import css
    from kdh_ray.report.wording import signed
    from kdh_ray.results.render import to_text_table

    loader = jinja2.PackageLoader("kdh_ray.report", ".")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    light, dark = css()
    template = environment.get_template("template.html")
    return template.render(report=report, text=to_text_table, signed=signed, light=light, dark=dark)

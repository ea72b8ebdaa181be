"""Exports of annotation tools as tables with the columns text, labels and, where parts are marked, segments."""

from kdh_ray.data.annotations.tables import TOOLS, find_tool, interpret, text_of

__all__ = ["TOOLS", "find_tool", "interpret", "text_of"]

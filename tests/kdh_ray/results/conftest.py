"""Make the fixtures of invented result rows available here."""

from study_fixtures import ablations, search, search_rows, study, study_rows

__all__ = ["ablations", "search", "search_rows", "study", "study_rows"]

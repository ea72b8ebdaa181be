"""A classifier behind HTTP: an API and a page. It needs the packages of the extra ``kdh-runtime[serve]``.

Nothing here knows how a classifier computes: ``kdh-runtime serve`` and ``kdh-ray serve`` bring their own.
"""

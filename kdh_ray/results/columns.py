"""Columns of result rows: their names, their order, and frames that have all of them.

``load_runs`` returns frames with at least these columns, so that no reader has to ask whether one is there:

* identity: ``run_id``, ``stage``, ``kind`` (teacher, student or baseline; ``trial``: of a search; ``member``: one
  of the models that a stage is the mean of; ``step``: a stage on the way to a method's own; ``searcher``: on replayed
  trials), ``experiment``, ``variant``, ``protocol``, ``size``,
  ``seed``; in a study also ``method`` and ``pair`` (of teacher and student);
* outcome: ``status`` (ok, failed or stopped), ``error`` (one line) and ``metric``, the protocol's official metric;
* scores: ``threshold``, tuned on validation, and the test scores at that threshold; ``read_as``: ``raw text``, or None
  in rows of encoders from before, which were scored on the parts that the corpus marks, if it marks any;
* costs: ``parameters``, ``seconds``, ``documents_trained`` (each counts once an epoch), ``documents_per_second``,
  ``refit_epochs`` of a model that is trained on all folds, ``unlabelled_documents`` that taught it by the logits of
  ``unlabelled_taught_by``, and what a measurement of efficiency adds;
* the best of a search: ``search_choice``, a sentence that says why it was chosen; ``search_gain``, its validation score
  less that of the stage's own settings (of a loss: the decrease); ``search_gain_corrected`` for choosing the best of
  many, ``_low`` and ``_high``, its 95 % interval; ``search_overtuning``, a list of the best score after each finished
  trial and of that score corrected for the choice; ``search_kept_default``: the stage's own settings were kept;
  ``search_front``, the numbers of the trials on the front of several objectives; ``search_ensemble``, those of the
  trials that teach the student, and ``search_ensemble_score``, the validation score of their mean;
* trials: number, searcher, particle, worker, validation score, learning curve, epochs; of a search with several
  objectives also ``objectives`` and ``on_front``, True if no other trial of the search beats it in all of them;
* provenance: ``data_fingerprint`` and ``data_documents`` of the whole corpus, ``commit``, ``device``, ``precision``,
  ``started`` and ``written`` (UTC, ISO 8601), and ``search_started`` of trials.

Rows may have further columns: ``config_*`` (the configuration, dotted below the first level: ``config_loss.alpha``),
``version_*``, every metric as ``validation_*`` and ``test_*`` (``_at_half``: at threshold 0.5; ``_per_label``: at the
label thresholds; ``_annotated``: on the parts that the corpus marks; ``_cut``: long documents cut instead of read in
windows), ``test_long_documents``, their number, and ``test_f1_label.NAME``, the F1 of a label.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

IDENTITY = (
    *("run_id", "stage", "kind", "experiment", "method", "variant", "pair"),
    *("protocol", "size", "seed", "status", "error", "metric"),
)
LATENCY = "latency_p50_ms"
"""Column that a measurement of efficiency fills: median latency of one document, in milliseconds."""
TEXT_COLUMNS = (
    *(name for name in IDENTITY if name != "seed"),
    *("config_start", "config_teachers"),
    *("search_choice", "search_overtuning", "search_ensemble", "curve", "objective", "searcher", "worker"),
    *("model", "number_format", "machine"),
    *("data_fingerprint", "commit", "device", "precision", "read_as", "started", "written"),
)
NUMBER_COLUMNS = (
    *("seed", "threshold", "validation_f1_micro"),
    *("test_f1_micro", "test_f1_macro", "test_precision_micro", "test_recall_micro"),
    *("parameters", "seconds", "documents_trained", "documents_per_second", "config_epochs", "refit_epochs"),
    *("data_documents", "trial", "particle", "score", "epochs_run", "epochs_full", "latency_ms"),
    *("disk_bytes", "flops_per_document", "peak_memory_bytes", LATENCY, "latency_p95_ms"),
    *("inference_documents_per_second", "joules_per_document", "threads"),
)
_LAST = ("started", "written")
_GROUPS = ("config_", "threshold", "validation_", "test_")  # in this order, between identity and circumstances


def normalise_rows(frame: pd.DataFrame, *numbers: str) -> pd.DataFrame:
    """Return result rows with every column of :data:`TEXT_COLUMNS` and :data:`NUMBER_COLUMNS`.

    ``load_runs`` has done so already. Frames from elsewhere, such as a CSV file, need it before tables and figures.

    Args:
        frame: One row per stage of a run.
        numbers: Further number columns to add.

    Returns:
        The frame with missing text columns as None and missing number columns as NaN (float), as are columns of these
        names without any value. Columns that were there keep their order, and new ones follow.

    Example:
        >>> rows = normalise_rows(pd.read_csv("rows.csv"))
        >>> stage_table(rows)
    """
    import pandas as pd

    nothing = dict.fromkeys(TEXT_COLUMNS) | dict.fromkeys((*NUMBER_COLUMNS, *numbers), float("nan"))
    absent = {name: value for name, value in nothing.items() if name not in frame}
    # Added in one piece: pandas slows down, and warns, where many columns are inserted one by one.
    whole = pd.concat([frame, pd.DataFrame(absent, index=frame.index)], axis="columns")
    return whole.assign(**{name: value for name, value in nothing.items() if whole[name].isna().all()})


def order_columns(names: Iterable[str]) -> list[str]:
    """Return column names in reading order: identity, configuration, scores, circumstances.

    Settings and circumstances are sorted by name; identity has its own order.
    """

    def sort_key(name: str) -> tuple[int, int, str]:
        if name in IDENTITY:
            return 0, IDENTITY.index(name), name
        if name in _LAST:
            return 3, _LAST.index(name), name
        group = next((index for index, prefix in enumerate(_GROUPS) if name.startswith(prefix)), None)
        return (2, 0, name) if group is None else (1, group, name)

    return sorted(names, key=sort_key)


def setting_name(column: str) -> str:
    """Return the setting that a column holds: ``config_loss.alpha`` is ``loss.alpha``."""
    return column.removeprefix("config_")

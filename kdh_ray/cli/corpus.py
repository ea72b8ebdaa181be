"""``kdh-ray corpus``: describe a corpus before training on it, convert it to Parquet, or download one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from kdh_ray.cli.console import stdout_console
from kdh_ray.errors import ConfigError, UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table
    from transformers import PreTrainedTokenizerBase

    from kdh_ray.config import DataConfig
    from kdh_ray.data.describe import Description, Lengths

MAX_LABELS = 8  # in the summary; the table has them all
MUCH_UNKNOWN = 0.1  # share of tokens
MAX_MATRIX = 12  # with more labels, co-occurrence is a list of the most frequent pairs, not a matrix
DESCRIBE_EXAMPLES = """
examples:
  kdh-ray corpus describe my.yaml
  kdh-ray corpus describe --path notes.csv --set data.label_columns=[pain,fever]
"""
CONVERT_EXAMPLES = """
examples:
  kdh-ray corpus convert my.yaml notes.parquet
  kdh-ray corpus convert --path project-3.json notes.parquet --set data.format=label-studio
"""
FETCH_EXAMPLES = """
example:
  kdh-ray corpus fetch hoc corpora/hoc
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of the verb: describe, convert and fetch."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    describe_help = "show sizes, labels, lengths, truncation, and texts that are in two splits"
    _add_describe_arguments(actions.add_parser("describe", help=describe_help, epilog=DESCRIBE_EXAMPLES))
    convert_help = "write a corpus, as it was understood, to one Parquet file"
    _add_convert_arguments(actions.add_parser("convert", help=convert_help, epilog=CONVERT_EXAMPLES))
    fetch_help = "download a corpus from its public repository"
    _add_fetch_arguments(actions.add_parser("fetch", help=fetch_help, epilog=FETCH_EXAMPLES))


def _add_corpus_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "config", nargs="?", type=Path, metavar="CONFIG", help="configuration whose data section names the corpus"
    )
    parser.add_argument("--corpus", metavar="NAME", help="synthetic, hoc-blurb, hoc-blue, hoc-sentence or table")
    parser.add_argument("--path", metavar="PATH", help="file, folder or URL of the corpus, or a dataset of the hub")
    parser.add_argument(
        "--set", action="append", default=[], metavar="data.KEY=VALUE", help="change a setting; may be repeated"
    )


def _add_describe_arguments(parser: argparse.ArgumentParser) -> None:
    _add_corpus_arguments(parser)
    parser.add_argument(
        "--encoder", metavar="NAME",
        help="encoder whose tokenizer counts tokens (default: the first stage's, or embedded)",
    )  # fmt: skip
    parser.add_argument(
        "--max-tokens", type=int, metavar="N", help="tokens at which documents are cut (default: the configuration's)"
    )


def _add_convert_arguments(parser: argparse.ArgumentParser) -> None:
    _add_corpus_arguments(parser)
    parser.add_argument("output", metavar="OUTPUT", help="Parquet file to write, here or in a bucket")
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it exists")
    parser.set_defaults(max_tokens=None)


def _add_fetch_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", choices=["hoc"], metavar="NAME", help="hoc: Hallmarks of Cancer (GPL-3.0)")
    parser.add_argument(
        "destination", nargs="?", type=Path, default=Path("hoc"), metavar="DEST",
        help="folder to put it in (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--url", help="ZIP archive of the corpus's repository (default: GitHub's)")


def execute(args: argparse.Namespace) -> int:
    """Run the chosen action."""
    return {"describe": _describe, "convert": _convert, "fetch": _fetch}[args.action](args)


def _convert(args: argparse.Namespace) -> int:
    from kdh_ray.data import corpus_from_config
    from kdh_ray.data.convert import write_corpus

    data, _ = _data_and_encoder(args)
    corpus = corpus_from_config(data, few=True)
    write_corpus(corpus, args.output, args.overwrite)
    for note in (*corpus.notes, *(f"warning: {warning}" for warning in corpus.warnings)):
        print(f"  {note}")
    documents = sum(len(split) for split in corpus.splits.values())
    print(f"{args.output}: {documents} documents, {len(corpus.labels)} labels; use data.path={args.output}")
    return 0


def _describe(args: argparse.Namespace) -> int:
    from kdh_ray.data import corpus_from_config
    from kdh_ray.data.describe import describe

    data, encoder = _data_and_encoder(args)
    tokenizer, notes = _tokenizer(args.encoder or encoder, refuse=args.encoder is not None)
    corpus = corpus_from_config(data, few=True)
    if tokenizer is not None and corpus.splits["train"].texts:
        notes += _unknown_words(corpus.splits["train"].texts, tokenizer)
    description = describe(corpus, tokenizer, data.max_tokens)
    with stdout_console() as console:
        _print(console, description, [*corpus.notes, *notes], data.max_tokens)
    return 0


def _tokenizer(encoder: str, refuse: bool) -> tuple[PreTrainedTokenizerBase | None, list[str]]:
    """Return an encoder's tokenizer and notes; without ``refuse``, no tokenizer if the encoder can't be used."""
    from kdh_ray.models.encoder_check import check_encoder
    from kdh_ray.models.encoders import load_tokenizer

    try:
        notes = check_encoder(encoder)
        return load_tokenizer(encoder), [*notes, f"tokens: counted by the tokenizer of {encoder}"]
    except UserError as error:
        if refuse:
            raise
        return None, [f"tokens are not counted: {error}"]


def _unknown_words(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Return a warning if a tokenizer does not know much of the texts."""
    from kdh_ray.models.vocabulary import unknown_share

    share = unknown_share(texts, tokenizer)
    if share < MUCH_UNKNOWN:
        return []
    return [f"warning: {100 * share:.0f} % of the training split's tokens are unknown to the tokenizer"]


def _data_and_encoder(args: argparse.Namespace) -> tuple[DataConfig, str]:
    """Return the data section, in which options override the file, and the encoder of the file's first stage."""
    from kdh_ray.config import apply_overrides, load_config, parse_config, parse_data

    if args.config is None and args.corpus is None and args.path is None:
        raise ConfigError(
            [f"corpus {args.action} needs a configuration, or --corpus NAME, or --path PATH"], "command line"
        )
    named = {"corpus": args.corpus, "path": args.path, "max_tokens": args.max_tokens}
    given = {key: value for key, value in named.items() if value is not None}
    if args.config is not None:
        config = load_config(args.config, args.set)
        encoder, _ = config.origin(next(iter(config.stages)))
        return parse_data({**config.data.model_dump(), **given}, "command line"), encoder
    # Only a whole configuration can be validated, hence a stage that nothing reads.
    tree = apply_overrides({"data": {"corpus": "table"}, "stages": {"unused": {}}}, args.set)
    if isinstance(tree["data"], dict):
        tree["data"] |= given
    return parse_config(tree, "command line").data, "embedded"


def _print(console: Console, description: Description, notes: Sequence[str], max_tokens: int) -> None:
    """Print the tables, then duplicates and warnings."""
    documents = sum(split.documents for split in description.splits)
    head = f"Corpus {description.name}: {documents} documents, {len(description.labels)} labels"
    console.print(head, markup=False, highlight=False)
    for note in (_labels_line(description), *notes):
        console.print(f"  {note}", markup=False, highlight=False)
    for table in (_size_table(description, max_tokens), _label_table(description), _pair_table(description)):
        _show(console, table)
    for duplicates in description.duplicates:
        if duplicates.earlier == duplicates.later:
            console.print(
                f"{_count(len(duplicates.ids), 'repeated text')} within the {duplicates.later} split", highlight=False
            )
    for warning in description.warnings:
        console.print(f"warning: {warning}", style="yellow", markup=False, highlight=False)
    if not any(warning.startswith("leak") for warning in description.warnings):
        console.print("No text is in two splits.")


def _labels_line(description: Description) -> str:
    """Return the first labels, and how many documents have none."""
    more = ", ..." if len(description.labels) > MAX_LABELS else ""
    unlabelled = _count(sum(split.unlabelled for split in description.splits), "document")
    return f"labels: {', '.join(description.labels[:MAX_LABELS])}{more}; {unlabelled} without any"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _show(console: Console, table: Table) -> None:
    """Print a table under its title."""
    from rich import box

    table.box = box.SIMPLE_HEAD if console.is_terminal else None
    table.pad_edge = False
    title, table.title = table.title, None  # printed by itself, since a narrow table would wrap it
    console.print(title, style="bold", highlight=False)
    console.print(table, highlight=False)
    console.print()


def _make_table(title: str, head: str, columns: list[str]) -> Table:
    """Return an empty table of a left column and right-aligned ones."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title))
    table.add_column(head, overflow="fold")
    for column in columns:
        table.add_column(escape(column), justify="right")
    return table


def _size_table(description: Description, max_tokens: int) -> Table:
    splits = description.splits
    table = _make_table("Splits", "", [split.name for split in splits])
    table.add_row("documents", *(str(split.documents) for split in splits))
    table.add_row("without a label", *(str(split.unlabelled) for split in splits))
    table.add_row("labels per document", *(f"{split.labels_per_document:.2f}" for split in splits))
    if any(split.segments is not None for split in splits):
        table.add_row("labelled parts", *(str(split.segments) for split in splits))
    table.add_row("words: median, 95 %, maximum", *(_lengths(split.words) for split in splits))
    if all(split.tokens is not None for split in splits):
        table.add_row("tokens: median, 95 %, maximum", *(_lengths(split.tokens) for split in splits))
        table.add_row(f"cut at {max_tokens} tokens", *(f"{100 * (split.truncated or 0):.1f} %" for split in splits))
    return table


def _lengths(lengths: Lengths | None) -> str:
    return "" if lengths is None else f"{lengths.median}, {lengths.p95}, {lengths.longest}"


def _label_table(description: Description) -> Table:
    from rich.markup import escape

    table = _make_table("Documents with a label", "label", [split.name for split in description.splits])
    for index, label in enumerate(description.labels):
        shares = [(split.support[index], split.support[index] / split.documents) for split in description.splits]
        table.add_row(f"{index + 1} {escape(label)}", *(f"{count} ({100 * share:.1f} %)" for count, share in shares))
    return table


def _pair_table(description: Description) -> Table:
    from rich.markup import escape

    labels, counts = description.labels, description.cooccurrence  # counts: (n_labels, n_labels)
    if len(labels) <= MAX_MATRIX:
        table = _make_table("Documents with both labels", "label", [str(n + 1) for n in range(len(labels))])
        for row, label in enumerate(labels):
            table.add_row(f"{row + 1} {escape(label)}", *(str(count) for count in counts[row]))
        return table
    table = _make_table(f"The {MAX_MATRIX} most frequent pairs of labels", "labels", ["documents"])
    pairs = [(i, j) for j in range(len(labels)) for i in range(j)]
    pairs.sort(key=lambda pair: (-counts[pair], pair[1], pair[0]))
    for i, j in pairs[:MAX_MATRIX]:
        table.add_row(escape(f"{labels[i]}, {labels[j]}"), str(counts[i, j]))
    return table


def _fetch(args: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    from kdh_ray.data.hoc_download import HOC_DOCUMENTS, HOC_URL, fetch_hoc

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("HoC", total=None)
        fetched = fetch_hoc(
            args.destination,
            args.url or HOC_URL,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    state = "downloaded and verified" if fetched else "already there, verified"
    print(f"HoC {state}: {HOC_DOCUMENTS} abstracts in {args.destination}; use data.path={args.destination}")
    return 0

"""Tables of predictions as files: parts joined into CSV, Parquet or JSON lines, and read back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
from radiographs.formulas import neutral, original

from bench.inference.parts import is_partitioned

FORMATS = (".csv", ".parquet", ".jsonl")
_TEXTS = ("file", "labels", "reason", "instance")  # in a CSV file, a spreadsheet would execute text that begins with =
_FOR_SUBMISSION = ["file", "status", "labels", "instance"]


def join_parts(parts: Sequence[Path], file: Path, suffix: str) -> None:
    """Join parts into one file, with one part in memory at a time.

    Parameters
    ----------
    parts : sequence of Path
        Parquet files.
    file : Path
        The file to write.
    suffix : {".csv", ".parquet", ".jsonl"}
        Its format.
    """
    if suffix == ".parquet":
        with pq.ParquetWriter(file, pq.read_schema(parts[0])) as writer:
            for part in parts:
                writer.write_table(pq.read_table(part).cast(writer.schema))
        return
    with file.open("w", encoding="utf-8", newline="") as stream:
        for number, part in enumerate(parts):
            table = pq.read_table(part).to_pandas()
            if suffix == ".csv":
                table = table.assign(**{name: table[name].map(neutral) for name in _TEXTS})
                table.to_csv(stream, index=False, header=number == 0, lineterminator="\n")
            else:
                table.to_json(stream, orient="records", lines=True, force_ascii=False, double_precision=15)


def read_rows(out: Path) -> Iterator[pd.DataFrame]:
    """Read a table of predictions part by part: the columns file, status, labels and instance."""
    if is_partitioned(out):
        for part in sorted(out.glob("part-*.parquet")):
            yield pd.read_parquet(part, columns=_FOR_SUBMISSION)
    elif out.suffix == ".parquet":
        for batch in pq.ParquetFile(out).iter_batches(columns=_FOR_SUBMISSION):
            yield batch.to_pandas()
    elif out.suffix == ".jsonl":
        for table in pd.read_json(out, lines=True, chunksize=10_000, dtype=False):
            yield table[_FOR_SUBMISSION]
    else:
        for table in pd.read_csv(out, usecols=_FOR_SUBMISSION, dtype=str, keep_default_na=False, chunksize=10_000):
            yield table.map(original)

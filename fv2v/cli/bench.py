# SPDX-License-Identifier: Apache-2.0
"""`fv2v bench`."""

from pathlib import Path
from typing import Annotated

import typer

from fv2v.cli.tables import print_table


def bench(
    quick: Annotated[
        bool, typer.Option("--quick/--full", help="A rough answer in a few minutes, or the real numbers.")
    ] = False,
    results: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Run nothing: show results saved earlier (JSON of `pytest benches --benchmark-json FILE`).",
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Older results: adds how many times faster each benchmark has become."
        ),
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print Markdown, with the rows alone that matter to a reader.")
    ] = False,
    into: Annotated[
        Path | None,
        typer.Option(
            metavar="README",
            help="Write the Markdown into this file, between its two comments; needs --from.",
        ),
    ] = None,
) -> None:
    """Time every operator against stock PyTorch, and the frame. Runs in a checkout of the project."""
    from fv2v.diagnostics import bench_markdown, bench_results

    if against is not None and (markdown or into is not None):
        raise ValueError(
            "--against is for the table on the terminal: expected it without --markdown and --into"
        )
    if into is not None:
        if results is None:
            raise ValueError(
                "--into needs --from: the file that is written names the results its tables show"
            )
        bench_markdown.write(into, results)
        typer.echo(f"{into}: written from {results}")
        return
    older = bench_results.load(against) if against else None
    found = bench_results.load(results) if results else bench_results.run(quick=quick)
    if markdown:
        typer.echo(bench_markdown.markdown(found))
        return
    title = bench_results.machine(found) + (f", against {bench_results.machine(older)}" if older else "")
    rows = bench_results.read_rows(found, older)
    for table in bench_results.tables(rows, title=title, compares=older is not None):
        print_table(table)

# SPDX-License-Identifier: Apache-2.0
"""`--help`: options by group, a sentence each; `--help-all` explains all in full, rare ones too."""

import re
from typing import Any

import typer
from typer.core import TyperCommand

from fv2v.cli.crop_options import with_whose

OTHERS = "Others"


class GroupedHelp(TyperCommand):
    """A command whose options stand under the titles of their groups, which `rich_help_panel` holds."""

    full = False

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """`--crop` and `--no-crop` may stand alone where `--crop` has a value."""
        has_value = any("--crop" in each.opts and not getattr(each, "is_flag", True) for each in self.params)
        return super().parse_args(ctx, [*with_whose(args)] if has_value else args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """The arguments, then each group: in full after `show_all`, else the first sentences."""
        groups: dict[str, list[tuple[str, str]]] = {"Arguments": []}
        for parameter in self.get_params(ctx):
            if self.full and getattr(parameter, "hidden", False):
                parameter.hidden = False  # type: ignore[attr-defined]
            record = parameter.get_help_record(ctx)
            if record is not None:
                is_option = parameter.param_type_name == "option"
                title = getattr(parameter, "rich_help_panel", None) or OTHERS if is_option else "Arguments"
                names, text = record
                short = is_option and not self.full
                groups.setdefault(title, []).append((names, first_sentence(text) if short else text))
        groups[OTHERS] = groups.pop(OTHERS, [])
        for title, records in groups.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def first_sentence(text: str) -> str:
    """Up to its full stop, or a semicolon before; what is in brackets after (the default) is kept."""
    text, bracket, default = text.partition("  [")
    short = re.split(r"(?:\. (?=[A-Z`\d])|; )(?![^(]*\))|\.$", text, maxsplit=1)[0]
    return short + (bracket and f" [{default}")


def show_all(ctx: typer.Context, wanted: bool) -> None:
    """Print the help in full, and end."""
    if wanted:
        assert isinstance(ctx.command, GroupedHelp)
        ctx.command.full = True
        typer.echo(ctx.get_help())
        raise typer.Exit

"""A month's bill by the size of the organization: the tables of docs/cost.md and of README.md.

python -m bench.cost              what stands at the head of docs/cost.md
python -m bench.cost --readme     what stands in README.md
python -m bench.cost --accounts 40 --principals 90 --regions 2 --gigabytes 60
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from pare.cost import month_cost, prices, total, typical

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pare.cost import Line, Size

ACCOUNTS = (10, 100, 1_000)
OF_README = 100


def main() -> None:
    """Print the tables, or the bill of one organization."""
    parser = argparse.ArgumentParser(description="What Pare costs in a month.")
    parser.add_argument("--readme", action="store_true", help="print the table of README.md")
    parser.add_argument("--accounts", type=int, help="print the bill of so many accounts")
    parser.add_argument("--principals", type=int, default=200, help="users and roles an account")
    parser.add_argument("--regions", type=int, default=4, help="governed Regions")
    parser.add_argument("--gigabytes", type=float, help="of log files a month, unpacked")
    given = parser.parse_args()
    if given.readme:
        lines = bill(typical(OF_README))
    elif given.accounts is None:
        lines = tables()
    else:
        size = typical(
            given.accounts, principals_an_account=given.principals, regions=given.regions
        )
        if given.gigabytes is not None:
            size = replace(size, log_gigabytes=given.gigabytes)
        lines = bill(size)
    print("\n".join(lines))


def tables() -> Iterator[str]:
    """Yield the lines of the tables that stand at the head of docs/cost.md."""
    sizes = [typical(accounts) for accounts in ACCOUNTS]
    bills = [month_cost(size) for size in sizes]
    yield f"| USD a month, prices of {prices()[1]} | " + " | ".join(
        f"{accounts:,} accounts" for accounts in ACCOUNTS
    ) + " |"  # fmt: skip
    yield "| --- |" + " --: |" * len(ACCOUNTS)
    for row in zip(*bills, strict=True):
        yield f"| {row[0].what} | " + " | ".join(amount(line) for line in row) + " |"
    yield "| **In all** | " + " | ".join(f"**{total(each):,.2f}**" for each in bills) + " |"
    yield ""
    yield f"| Taken for the month | {' | '.join(f'{each:,} accounts' for each in ACCOUNTS)} |"
    yield "| --- |" + " --: |" * len(ACCOUNTS)
    for what, values in quantities(sizes):
        yield f"| {what} | {' | '.join(values)} |"
    yield ""
    yield "| What was counted | of 1,000 accounts |"
    yield "| --- | --- |"
    for line in bills[-1]:
        yield f"| {line.what} | {line.counted} |"


def quantities(sizes: list[Size]) -> Iterator[tuple[str, list[str]]]:
    """Yield what a month of these sizes is taken to bring."""
    for what, field in (
        ("users and roles", "principals"),
        ("log files, GB unpacked", "log_gigabytes"),
        ("governed Regions, an analyzer in each", "analyzers"),
        ("events of findings", "findings"),
        ("messages", "messages"),
        ("proposals", "proposals"),
    ):
        yield what, [f"{getattr(size, field):,.0f}" for size in sizes]


def bill(size: Size) -> Iterator[str]:
    """Yield the bill of one organization: what, how it was counted, USD."""
    lines = month_cost(size)
    yield "| What | How counted | USD a month |"
    yield "| --- | --- | --: |"
    for line in lines:
        yield f"| {line.what} | {line.counted} | {amount(line)} |"
    yield f"| **In all** | | **{total(lines):,.2f}** |"


def amount(line: Line) -> str:
    """Return an amount in USD; what is not nothing is never 0.00."""
    return f"{line.usd:,.2f}" if line.usd >= 0.005 or not line.usd else "under 0.01"


if __name__ == "__main__":
    main()

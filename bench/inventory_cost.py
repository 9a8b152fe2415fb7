"""The tables of docs/cost.md about the monthly inventory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pare.inventory.cost import READ, project

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pare.inventory.cost import Measured

ACCOUNTS = (10, 100, 1_000, 2_000)


def figures(measured: Measured) -> dict[str, str]:
    """Return the figures of a measured inventory, for people."""
    accounts, principals = measured.accounts, measured.principals
    total = measured.own_transitions + measured.child_transitions
    all_steps = [*measured.own_steps.values(), *measured.child_steps.values()]
    function_seconds = sum(step.seconds for step in all_steps)
    read = measured.child_steps[READ]
    return {
        "accounts": f"{accounts:,}",
        "principals": f"{principals:,}",
        "transitions a principal": f"{total / principals:.3f}",
        "transitions an account": f"{measured.child_transitions / accounts:.1f}",
        "batches an account": f"{read.count / accounts:.2f}",
        "IAM calls a principal": f"{measured.iam_calls / principals:.2f}",
        "of these, last accessed": f"{measured.last_accessed_calls / principals:.2f}",
        "of these, throttled": f"{measured.throttled / measured.last_accessed_calls:.1%}",
        "principals whose last accessed is unknown": f"{measured.unknown:,}",
        "function seconds a principal (emulated)": f"{function_seconds / principals:.2f}",
        "of these, reading last accessed": f"{read.seconds / principals:.2f}",
        "seconds by the clock (emulated)": f"{measured.seconds:,.0f}",
        "objects written an account": f"{measured.puts / accounts:.1f}",
        "bytes stored a principal": f"{measured.stored_bytes / principals:,.0f}",
        "table write units a principal": f"{measured.table_write_units / principals:.2f}",
    }


def tables(measured: Measured) -> Iterator[str]:
    """Yield the lines of the two tables that docs/cost.md has."""
    yield from table(measured)
    yield ""
    yield f"| The inventory measured on {measured.date} | |"
    yield "| --- | --: |"
    for name, value in figures(measured).items():
        yield f"| {name} | {value} |"


def table(measured: Measured) -> Iterator[str]:
    """Yield the lines of the projection."""
    services = list(project(measured, ACCOUNTS[0]).usd)
    yield (
        "| Accounts | Principals | Transitions | a principal | IAM calls | Function hours | "
        f"Hours by the clock | {' | '.join(services)} | **USD a month** | "
        "USD per 1,000 principals |"
    )
    yield "| --: " * (9 + len(services)) + "|"
    for accounts in ACCOUNTS:
        cost = project(measured, accounts)
        each = " | ".join(f"{cost.usd[name]:,.2f}" for name in services)
        yield (
            f"| {cost.accounts:,} | {cost.principals:,} | {cost.transitions:,.0f} | "
            f"{cost.transitions / cost.principals:.3f} | {cost.iam_calls:,.0f} | "
            f"{cost.function_hours:,.1f} | {cost.hours:,.1f} | {each} | **{cost.total:,.2f}** | "
            f"{cost.total / cost.principals * 1000:,.3f} |"
        )

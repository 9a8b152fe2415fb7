"""How long folding, packing and splitting a large policy take, and what they make of it.

A principal with 1,000 actions of 60 services and 5,000 ARNs, invented from the catalogue: the same
seed gives the same principal. Times are ratios to ``json.dumps`` of the same policy, medians of
turns (A B C, A B C, …), so that noise is shared. Bench figures are for reading; no test depends on
them.

Run: ``python -m bench.packing`` (``--rounds 15``).
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from typing import TYPE_CHECKING

from pare.policy.catalogue import load_catalogue
from pare.policy.document import PolicyDocument, Statement, size_in_characters, split
from pare.policy.folding import fold_arns
from pare.policy.lint import lint
from pare.policy.packing import pack, pack_actions

if TYPE_CHECKING:
    from collections.abc import Callable

SERVICES, ACTIONS, ARNS = 60, 1_000, 5_000
ACCOUNT = "111122223333"


def actions_of_services(chance: random.Random) -> dict[str, list[str]]:
    """Return 1,000 actions of 60 services: many that read, and some of any kind."""
    catalogue = load_catalogue()
    large = [each for each in catalogue.services if len(catalogue.actions(each)) >= 25]
    found: dict[str, list[str]] = {}
    left = ACTIONS
    for number, service in enumerate(chance.sample(large, SERVICES)):
        actions = sorted(catalogue.actions(service))
        reads = [each for each in actions if catalogue.access_level(each) in {"List", "Read"}]
        wanted = sorted({*reads[:25], *chance.sample(actions, 5)})
        share = left // (SERVICES - number)
        found[service] = wanted[:share] if len(wanted) > share else wanted
        left -= len(found[service])
    return found


def resource_arns(chance: random.Random) -> list[list[str]]:
    """Return 5,000 ARNs in five statements: objects by date, queues, tables, log groups, keys."""
    region = f"eu-west-1:{ACCOUNT}"
    share = ARNS // 5
    return [
        [
            f"arn:aws:s3:::acme-data/logs/2026/{chance.randint(1, 12):02}/{number:04}.json.gz"
            for number in range(share)
        ],
        [f"arn:aws:sqs:{region}:orders-{number % 7}-{number:04}" for number in range(share)],
        [f"arn:aws:dynamodb:{region}:table/tenant_{number:04}" for number in range(share)],
        [
            f"arn:aws:logs:{region}:log-group:/aws/lambda/team{number % 30}-{number:04}:*"
            for number in range(share)
        ],
        [f"arn:aws:kms:{region}:key/{chance.getrandbits(64):016x}" for number in range(share)],
    ]


def large_policy(
    services: dict[str, list[str]], resources: list[tuple[str, ...]]
) -> PolicyDocument:
    """Return the principal's policy: a statement a service, and one for each kind of ARN."""
    statements = [
        Statement("Allow", sid=f"Service{number}", actions=tuple(actions), resources=("*",))
        for number, actions in enumerate(services.values())
    ]
    on_resources = (
        ("s3:GetObject",),
        ("sqs:ReceiveMessage", "sqs:SendMessage"),
        ("dynamodb:GetItem", "dynamodb:Query"),
        ("logs:FilterLogEvents",),
        ("kms:Decrypt",),
    )
    statements += [
        Statement("Allow", sid=f"Resources{number}", actions=actions, resources=arns)
        for number, (actions, arns) in enumerate(zip(on_resources, resources, strict=True))
    ]
    return PolicyDocument(tuple(statements))


def medians(jobs: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the median of each job's processor time in seconds, run in turns."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            begin = time.process_time()
            job()
            times[name].append(time.process_time() - begin)
    return {name: statistics.median(each) for name, each in times.items()}


def main() -> None:
    """Print a line for each figure."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=15)
    rounds = options.parse_args().rounds
    chance = random.Random(20261122)
    services, arns = actions_of_services(chance), resource_arns(chance)
    catalogue = load_catalogue()
    plain = large_policy(services, [tuple(each) for each in arns])

    def fold() -> PolicyDocument:
        return large_policy(services, [fold_arns(each).patterns for each in arns])

    folded = fold()
    as_json = plain.to_json_object()
    packed = pack(folded, catalogue).packing
    unfolded = pack(plain, catalogue, mode="never").packing
    sizes = {
        "plain": size_in_characters(plain),
        "folded": size_in_characters(folded),
        "folded, packed and split": sum(packed["sizes"]),
    }
    count = sum(map(len, services.values()))
    print(f"principal: {count:,} actions of {len(services)} services, {ARNS:,} ARNs")
    for name, size in sizes.items():
        print(f"size, {name}: {size:,} characters, {size / sizes['plain']:.3f} of plain")
    print(f"managed policies, plain: {unfolded['policy_count']}")
    print(f"managed policies, folded and packed: {packed['policy_count']}")
    print(f"wildcards: {len(packed['wildcards'])}")
    taken = medians(
        {
            "json.dumps": lambda: json.dumps(as_json),
            "fold": fold,
            "pack actions": lambda: [pack_actions(each, catalogue) for each in services.values()],
            "split, unfolded": lambda: split(plain),
            "fold, pack and split": lambda: pack(fold(), catalogue),
            "lint, unfolded": lambda: lint(plain),
        },
        rounds,
    )
    base = taken.pop("json.dumps")
    print(f"time, json.dumps of the plain policy: 1 ({base * 1e3:.2f} ms)")
    for name, seconds in taken.items():
        print(f"time, {name}: {seconds / base:.1f} times json.dumps ({seconds * 1e3:.1f} ms)")


if __name__ == "__main__":
    main()

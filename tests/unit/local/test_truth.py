"""The planted truth names everybody, in words the inventory has, and differences are told."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, get_args

import pytest
import yaml

from local.last_month import read_last_month, rows_then
from local.organization import SEED_FOLDER, Organization, SeedError, read_organization
from local.truth import Truth, compare, read_truth
from pare.inventory.model import CLASSES, PrincipalKind, Status
from pare.inventory.season import SeasonTerms, season
from tests.unit.inventory.row_builders import AS_OF, account_result, row

if TYPE_CHECKING:
    from pathlib import Path

    from pare.inventory.model import ReasonJson


@pytest.fixture(scope="module")
def organization() -> Organization:
    return read_organization()


@pytest.fixture(scope="module")
def truth() -> Truth:
    return read_truth()


def test_truth_names_exactly_the_principals_of_the_organization(
    organization: Organization, truth: Truth
) -> None:
    named = [organization.principal(case.principal).arn for case in truth.cases]
    assert sorted(named) == sorted(principal.arn for principal in organization.principals())
    assert list(truth.roots) == [account.name for account in organization.accounts]


def test_truth_speaks_the_inventorys_words(truth: Truth) -> None:
    for case in truth.cases:
        assert case.kind in get_args(PrincipalKind), case
        assert case.status in get_args(Status), case
        assert case.class_ in CLASSES, case
        assert case.case


def test_every_class_status_and_story_is_planted(truth: Truth) -> None:
    assert {case.class_ for case in truth.cases} == set(CLASSES)
    assert {case.status for case in truth.cases} == {"used", "idle", "never used", "new"}
    codes = {case.reason for case in truth.cases}
    codes |= {code for case in truth.cases for code in (*case.also, *case.issues)}
    codes |= {code for root in truth.roots.values() for code in root}
    assert codes >= {
        "AWS_OWNS", "EXEMPT", "EXEMPTION_EXPIRED", "BREAK_GLASS", "BREAK_GLASS_USED", "BOOTSTRAP",
        "IDENTITY_CENTER_IDLE", "NEW", "MAY_BE_SEASONAL", "DISABLED_DELETE_DUE", "DISABLED_WAITING",
        "IDLE", "IDLE_BEYOND_RECORDS", "NEVER_USED", "PUBLIC_TRUST", "ADMINISTRATOR", "WIDE",
        "UNUSED_SERVICES", "CREDENTIAL_ISSUES", "USED", "DENIED_ONLY", "RECREATED",
        "KEY_OLD", "KEY_IDLE", "KEY_NEVER_USED", "NO_MFA", "PASSWORD_IDLE", "OUTSIDE_TRUST",
        "OUTSIDE_TRUST_WITHOUT_EXTERNAL_ID", "UNKNOWN_TRUST", "NO_OWNER",
        "ROOT_KEY", "ROOT_NO_MFA", "ROOT_USED",
    }  # fmt: skip


def test_differences_are_told_and_counted(organization: Organization, truth: Truth) -> None:
    case = next(case for case in truth.cases if case.principal == "data-prod/ReportReader")
    account = organization.account("data-prod").account_id
    few = Truth((case,), {"data-prod": ("ROOT_NO_MFA",)})
    same = row(organization.principal(case.principal).arn)
    root = account_result(account, issues=[{"code": "ROOT_NO_MFA", "values": {}}])

    right = compare(few, organization, [same], [root])
    assert (right.count, right.right, right.differences) == (2, 2, ())

    wrong = compare(few, organization, [{**same, "class": "disable"}], [root])
    assert (wrong.count, wrong.right) == (2, 1)
    (line,) = wrong.differences
    assert line.startswith("data-prod/ReportReader: class is 'disable', planted as 'keep'")

    # An administrator the program misses, a reason it adds, and an account it did not read.
    more: ReasonJson = {"code": "DENIED_ONLY", "values": {}}
    also = [*same["reasons"], more]
    assert compare(few, organization, [{**same, "reasons": also}], [root]).right == 1
    assert compare(few, organization, [same], []).right == 1
    assert compare(few, organization, [], [root]).right == 1
    exact = replace(case, values={"source": "service"})
    assert compare(Truth((exact,), {}), organization, [same], []).right == 0


def test_last_month_is_planted_as_its_file_says(organization: Organization) -> None:
    then = read_last_month(organization)
    shop = organization.account("shop-prod").account_id
    day = AS_OF.date()
    plan = {
        "what": "principal", "announced_on": f"{day}", "disable_on": "2026-12-01",
        "disabled_on": f"{day}", "delete_on": "2026-12-31", "times_announced": 1,
    }  # fmt: skip
    names = ["ReturnsPortal", "CatalogImport", "CatalogSync", "SearchIndexer", "PaymentMigration"]
    now = [row(organization.principal(f"shop-prod/{name}").arn, plans=[plan]) for name in names]

    found = {
        each["principal_arn"].rpartition("/")[2]: each for each in rows_then(now, shop, then, day)
    }

    assert sorted(found) == [
        "BlackFridayBanner", "CatalogImport", "CatalogSync", "PaymentMigration", "SearchIndexer",
    ]  # fmt: skip
    assert (found["PaymentMigration"]["class"], found["PaymentMigration"]["plans"]) == ("keep", [])
    assert found["CatalogSync"]["principal_id"] == "AROANORTHWINDGONE0002"
    (announced,) = found["CatalogImport"]["plans"]
    assert (announced["announced_on"], announced["disable_on"]) == ("2026-10-01", "2026-10-31")
    (disabled,) = found["SearchIndexer"]["plans"]
    assert (disabled["disabled_on"], disabled["delete_on"]) == ("2026-08-18", "2026-10-17")
    assert disabled["times_announced"] == 4
    # This month's rows are left as they are.
    assert now[3]["plans"] == [plan]


def test_months_are_counted_back_from_the_last_use(organization: Organization) -> None:
    then = read_last_month(organization)
    quarterly = organization.principal("data-prod/QuarterlyStatements").arn
    (found,) = rows_then([row(quarterly)], quarterly.split(":")[4], then, AS_OF.date())
    assert found["used_months"] == ["2026-01", "2026-04", "2026-07", "2026-10"]


def test_seasons_are_due_and_no_others_on_any_day_of_a_year(
    organization: Organization, truth: Truth
) -> None:
    """Whatever day the demo runs on, the same principals may be seasonal."""
    behaviour = yaml.safe_load((SEED_FOLDER / "behaviour.yaml").read_text())
    seasonal = {case.principal for case in truth.cases if case.reason == "MAY_BE_SEASONAL"}
    assert len(seasonal) == 2
    months = read_last_month(organization).used_months_back
    for number in range(0, 366, 8):
        today = AS_OF.date() + timedelta(days=number)
        terms = SeasonTerms(today, days_to_deletion=90, weeks=3)
        for each in behaviour["beside_the_trail"]:
            if each["days_ago"] <= 90:
                continue
            last = today - timedelta(days=each["days_ago"])
            back = months.get(organization.principal(each["principal"]).arn, [])
            found = season("principal", [last], [months_before(last, n) for n in back], terms)
            assert (found is not None) == (each["principal"] in seasonal), (today, each)


def months_before(day: date, number: int) -> str:
    months = day.year * 12 + day.month - 1 - number
    return f"{months // 12:04d}-{months % 12 + 1:02d}"


def test_broken_files_are_named(tmp_path: Path, organization: Organization) -> None:
    text = (SEED_FOLDER / "truth.yaml").read_text()
    broken = tmp_path / "truth.yaml"
    broken.write_text(text.replace("schema_version: 1", "schema_version: 2"))
    with pytest.raises(SeedError, match="schema_version is not 1"):
        read_truth(broken)
    broken.write_text(text.replace("class: keep", "klass: keep", 1))
    with pytest.raises(SeedError, match="class"):
        read_truth(broken)
    text = (SEED_FOLDER / "last_month.yaml").read_text()
    broken.write_text(text.replace("shop-prod/ReturnsPortal", "shop-prod/Nobody"))
    with pytest.raises(SeedError, match="Nobody"):
        read_last_month(organization, broken)

"""The monthly report in a real Chromium: what people do with it, and what it must never do."""

from __future__ import annotations

import csv
import io
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import pytest
from selenium.webdriver.common.keys import Keys

from bench.inventory_rows import Month, make_month
from pare.data_tables import read_table
from pare.inventory.classify import counts_of
from pare.inventory.commands import commands
from pare.inventory.facts import NO_CREDENTIAL
from pare.inventory.report_html import render
from pare.inventory.texts import PLACEHOLDER, reason_text, text, word
from tests.unit.inventory.row_builders import (
    access_key,
    account_result,
    credentials,
    last_use,
    root_user,
    row,
    trust,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pare.inventory.model import PrincipalRowJson, ReasonJson
    from tests.browser.page import Page

HOSTILE = (
    "<script>document.title='owned'</script>",
    "\"><img src=x onerror=document.title='owned'>",
    "</script><script>document.title='owned'</script>",
    "' onmouseover='document.title=1",
    "@@script@@ {{script}} {days} ${document.title}",
    "שלום \u202egnp.exe",
    "名前 👩‍🚀 ﷽",
    '=HYPERLINK("https://example.com","x")',
)


class Report(NamedTuple):
    path: Path
    month: Month


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reports")


def _write(folder: Path, name: str, month: Month) -> Report:
    path = folder / f"{name}.html"
    page = render(
        month.snapshot, month.rows, language="en", links={"csv": "report.csv"}, gone=month.gone
    )
    path.write_text(page, encoding="utf-8")
    return Report(path, month)


@pytest.fixture(scope="session")
def small(folder: Path) -> Report:
    """412 principals in 23 accounts, two of which nobody could read."""
    return _write(folder, "small", make_month(412, 23, unknown=2))


@pytest.fixture(scope="session")
def empty(folder: Path) -> Report:
    """The first inventory, of one account with nothing in it."""
    return _write(folder, "empty", make_month(0, 1, months=1))


@pytest.fixture(scope="session")
def large(folder: Path) -> Report:
    """20,000 principals: 2,000 of them, ten times under other names."""
    month = make_month(2_000, 200, unknown=3)
    rows: list[Any] = [
        {**each, "principal_arn": f"{each['principal_arn']}-{copy}"}
        for each in month.rows
        for copy in range(10)
    ]
    return _write(folder, "large", Month(month.snapshot, rows, month.gone))


@pytest.fixture(scope="session")
def hostile(folder: Path) -> Report:
    """Every text from outside is an attack of some kind."""
    month = make_month(0, 1, months=2)
    rows = [
        row(
            f"arn:aws:iam::111122223333:role/{number}/{attack}",
            owner=attack,
            owner_shown=attack,
            description=attack,
            tags={attack: attack},
            policies=[attack],
            boundary=attack,
            trust=trust(services=[attack], unknown=[attack], federated=[attack]),
            services={
                attack: {
                    "last_accessed_at": "2026-10-01T00:00:00Z",
                    "used_actions": 1,
                    "unused_actions": None,
                    "denied_only": True,
                }
            },
            reasons=[{"code": "RULE", "values": {"text": attack}}],
            issues=[{"code": "UNKNOWN_TRUST", "values": {"principal": attack}}],
            exemption={"owner": attack, "reason": attack, "expires": attack},
            wide=[{"policy": attack, "group": attack, "pattern": "*", "is_administrator": False}],
            disabled_by=attack,
            unknown=[attack],
        )
        for number, attack in enumerate(HOSTILE)
    ]
    month.snapshot["accounts"] = [
        account_result("111122223333", name=HOSTILE[0], unknown=[HOSTILE[1]]),
        account_result("222233334444", name=HOSTILE[1], error=HOSTILE[2], message=HOSTILE[0]),
    ]
    return _write(folder, "hostile", Month(month.snapshot, rows, rows[:2]))


def _matching(report: Report, holds: Callable[[PrincipalRowJson], bool]) -> int:
    return sum(map(holds, report.month.rows))


# --- opening --------------------------------------------------------------------------------------


def test_opens_from_disk(page: Page, small: Report) -> None:
    page.open(small.path)
    assert page.text("h1") == "Users and roles, November 2026"
    assert page.count() == len(small.month.rows) == 412
    assert page.names()


def test_a_policy_stands_guard_over_the_page(page: Page, small: Report) -> None:
    """The console being empty proves something only if a breach is written there."""
    page.open(small.path)
    page.run(
        "const s = document.createElement('img'); s.src = 'https://example.com/x.png';"
        "document.body.append(s)"
    )
    page.run("try { document.body.innerHTML = '<b>x</b>' } catch (error) { window.refused = 1 }")
    page.wait("window.refused === 1")
    said = "\n".join(page.console())
    assert "img-src" in said
    assert "TrustedHTML" in said or "TrustedScript" in said
    assert page.requests() == []


def test_the_first_month_of_an_empty_account(page: Page, empty: Report) -> None:
    page.open(empty.path)
    assert page.count() == 0
    assert page.find("#grid-empty").is_displayed()
    assert text("report_first_inventory", "en") in page.text("#changes")
    assert text("report_no_plans", "en") in page.text("#plans")
    assert not page.find("#unknown").is_displayed()


def test_unknown_accounts_come_first_with_their_reason(page: Page, small: Report) -> None:
    page.open(small.path)
    shown = page.text("#unknown")
    unknown = [each for each in small.month.snapshot["accounts"] if each["error"]]
    assert len(unknown) == 2
    for account in unknown:
        assert account["name"] in shown
        assert str(account["message"]) in shown
        assert account["account_id"] in page.texts("#accounts tbody tr")[0:2].__str__()
    assert "October 2026" in shown  # when the one was last read
    assert page.run(
        "return document.getElementById('unknown').compareDocumentPosition("
        "document.getElementById('changes')) & Node.DOCUMENT_POSITION_FOLLOWING"
    )


def test_an_unknown_root_user_is_not_a_good_one(page: Page, folder: Path) -> None:
    month = make_month(0, 1)
    month.snapshot["accounts"] = [
        account_result("111122223333", name="read", root=root_user()),
        account_result("222233334444", name="in part", root=None, unknown=["credential report"]),
        account_result("333344445555", name="silent", root=None),
    ]
    page.open(_write(folder, "root", Month(month.snapshot, [], [])).path)
    fine, unknown = text("report_root_fine", "en"), word("status", "unknown", "en")
    last = {row.split("\n")[0]: row.split()[-1] for row in page.texts("#accounts tbody tr")}
    assert last == {"read": fine.split()[-1], "in part": unknown, "silent": unknown}


# --- search, filters, sorting ---------------------------------------------------------------------


def test_search_looks_through_names_owners_accounts_and_tags(page: Page, small: Report) -> None:
    page.open(small.path)
    first = small.month.rows[0]
    page.search(first["principal_arn"])
    assert page.count() == 1
    page.search("  MEI.  ")
    assert page.count() == _matching(small, lambda each: "mei." in each["principal_arn"].lower())
    page.search(f"api {first['account_id']}")
    assert 0 < page.count() < 25
    page.search("stage=sandbox")
    in_stage = _matching(small, lambda each: each["tags"].get("stage") == "sandbox")
    assert page.count() == in_stage > 0
    page.search("\uff4d\uff45\uff49\uff0e")  # wide letters, as a Japanese keyboard sends them
    assert page.count() > 0
    page.search("nobody has this name")
    assert page.count() == 0
    assert page.find("#grid-empty").is_displayed()
    page.click("#clear")
    assert page.count() == 412


@pytest.mark.parametrize("name", ["class", "status", "kind", "account", "owner", "has", "change"])
def test_every_choice_of_a_filter_finds_as_many_as_it_says(
    page: Page, small: Report, name: str
) -> None:
    page.open(small.path)
    choices = page.choices(name)
    assert choices
    for value, label in choices[:5]:
        page.choose(name, value)
        said = re.search(r"\(([\d,]+)\)$", label)
        assert said is not None, label
        assert page.count() == int(said[1].replace(",", "")), label
    page.choose(name, "")
    assert page.count() == 412


def test_filters_find_what_the_rows_say(page: Page, small: Report) -> None:
    page.open(small.path)
    page.choose("class", "narrow")
    assert page.count() == _matching(small, lambda each: each["class"] == "narrow") > 0
    page.choose("kind", "service role")
    both = lambda each: each["class"] == "narrow" and each["kind"] == "service role"  # noqa: E731
    assert page.count() == _matching(small, both) > 0
    assert set(page.texts("#grid-body .c-class")) == {"narrow"}


@pytest.mark.parametrize(
    ("number", "holds"),
    [
        ("new", lambda each: each["change"] == "new"),
        ("unused_principals", lambda each: each["is_unused"]),
        ("users_without_mfa", lambda each: "NO_MFA" in str(each["issues"])),
        ("administrators", lambda each: "'is_administrator': True" in str(each["wide"])),
        (
            "public_trusts",
            lambda each: (
                "PUBLIC_TRUST" in str(each["issues"])
                or "FEDERATED_WITHOUT_SUBJECT" in str(each["issues"])
            ),
        ),
        ("trusts_outside", lambda each: each["trust"] and each["trust"]["outside"]),
        ("class_disable", lambda each: each["class"] == "disable"),
    ],
)
def test_a_headline_number_is_a_filter(
    page: Page, small: Report, number: str, holds: Callable[[PrincipalRowJson], bool]
) -> None:
    page.open(small.path)
    labels = {
        "new": "report_tile_new",
        "unused_principals": "report_tile_unused",
        "users_without_mfa": "report_tile_no_mfa",
        "administrators": "report_tile_administrators",
        "public_trusts": "report_tile_public",
        "trusts_outside": "report_tile_outside",
        "class_disable": "class_disable",
    }
    values = {"previous": "October 2026"} if number == "new" else {}
    label = text(labels[number], "en", **values)
    (button,) = [
        each for each in page.find_all("#numbers button") if label in each.text.splitlines()
        or each.text.split("\n")[0].startswith(f"{label} ")
    ]  # fmt: skip
    assert str(small.month.snapshot["counts"][number]) in button.text
    button.click()
    assert page.count() == _matching(small, lambda each: bool(holds(each)))
    assert page.count() == small.month.snapshot["counts"][number] > 0
    assert button.get_attribute("aria-pressed") == "true"


def test_a_number_of_keys_says_how_many_users_its_list_has(page: Page, small: Report) -> None:
    page.open(small.path)
    users = _matching(small, lambda each: "KEY_OLD" in str(each["issues"]))
    keys = small.month.snapshot["counts"]["old_access_keys"]
    label = text("report_tile_old_keys_of", "en", users=users)
    (tile,) = [each for each in page.find_all(".tile") if label in each.text]
    assert tile.text.split("\n")[0] == str(keys)
    assert keys > users
    tile.click()
    assert page.count() == users


def test_who_is_open_to_the_outside_stands_out(page: Page, small: Report, empty: Report) -> None:
    for report, stands_out in ((small, True), (empty, False)):
        page.open(report.path)
        (tile,) = [
            each for each in page.find_all(".tile") if text("report_tile_public", "en") in each.text
        ]
        assert ("warn" in str(tile.get_attribute("class")).split()) is stands_out


def test_an_administrator_that_aws_owns_is_not_in_the_list(page: Page, folder: Path) -> None:
    wide = [{"policy": "p", "group": None, "pattern": "*", "is_administrator": True}]
    arn = "arn:aws:iam::111122223333:role/"
    rows = [row(f"{arn}Mine", wide=wide), row(f"{arn}Aws", wide=wide, kind="service-linked role")]
    month = make_month(0, 1)
    month.snapshot["counts"] = counts_of(rows, [], None)

    path = _write(folder, "administrators", Month(month.snapshot, rows, [])).path
    page.open(path, "has=administrator")

    assert page.names() == ["Mine"]
    assert month.snapshot["counts"]["administrators"] == 1


def test_counts_that_a_month_does_not_have_are_not_made_up(page: Page, folder: Path) -> None:
    month = make_month(60, 2, seed=3)
    for each in month.snapshot["trend"][:-1]:
        del each["counts"]["public_trusts"]
    month.snapshot["counts"]["public_trusts"] = 4

    page.open(_write(folder, "before", month).path)

    assert "NaN" not in page.text("main")
    (compared,) = [each for each in page.texts("#changes tr") if "open to anybody" in each]
    assert compared.split() == ["open", "to", "anybody", "unknown", "4"]


def test_in_the_first_inventory_nothing_is_new(page: Page, folder: Path) -> None:
    month = make_month(20, 1, months=1)
    for each in month.rows:
        each["change"] = "new"
    page.open(_write(folder, "first", month).path)
    assert page.count() == 20
    assert page.choices("change") == []
    assert not [each for each in page.texts(".tile") if "new" in each or "gone" in each]
    page.show_rows()
    assert set(page.texts("#grid-body .c-change")) == {""}


def test_new_means_since_last_month_wherever_it_stands(page: Page, small: Report) -> None:
    page.open(small.path)
    news = {label for value, label in page.choices("change") if value == "new"}
    count = small.month.snapshot["counts"]["new"]
    assert news == {f"new since October 2026 ({count})"}
    (button,) = [each for each in page.find_all("#changes button") if "new" in each.text]
    assert button.text == f"{count} new since October 2026"
    assert not [label for _, label in page.choices("status") if "new" in label]
    page.choose("change", "new")
    page.open_row(0)
    assert "new since October 2026" in page.text("#detail-body")


def test_the_number_of_unused_is_that_of_the_rows_it_shows(page: Page, folder: Path) -> None:
    arn = "arn:aws:iam::111122223333:role/"
    rows = [
        row(f"{arn}Idle", status="idle", is_unused=True),
        row(f"{arn}Never", status="never used", is_unused=True),
        row(f"{arn}Yearly", status="idle", is_unused=False),
    ]
    month = make_month(0, 1, months=1)
    month.snapshot["counts"] = counts_of(rows, [], None)

    page.open(_write(folder, "unused", Month(month.snapshot, rows, [])).path, "status=unused")

    assert page.names() == ["Idle", "Never"]
    assert month.snapshot["counts"]["unused_principals"] == 2


def test_other_headline_numbers_lead_to_their_part(page: Page, small: Report) -> None:
    page.open(small.path)
    for part in ("accounts", "unknown", "changes"):
        page.run("scrollTo(0, 0)")
        label = {
            "accounts": "accounts",
            "unknown": "unknown accounts",
            "changes": "gone since October 2026",
        }[part]
        (tile,) = [each for each in page.find_all(".tile") if label == each.text.split("\n")[1]]
        tile.click()
        assert page.focused() == f"{part}-title"


@pytest.mark.parametrize("name", ["name", "account", "class", "use", "owner", "issues", "unused"])
def test_sorting_by_a_column(page: Page, small: Report, name: str) -> None:
    page.open(small.path, "kind=person")
    orders = []
    for direction in ("ascending", "descending"):
        page.click(f"#grid-head [data-sort='{name}']")
        if page.find(f"#grid-head .c-{name}").get_attribute("aria-sort") != direction:
            page.click(f"#grid-head [data-sort='{name}']")
        assert page.find(f"#grid-head .c-{name}").get_attribute("aria-sort") == direction
        assert len(page.find_all("#grid-head [aria-sort]:not([aria-sort=none])")) == 1
        orders.append(page.texts(f"#grid-body .c-{name}")[:20])
        assert page.run("return document.activeElement.dataset.sort") == name
    assert orders[0] != orders[1]
    if name == "name":
        shown = [_in_order(each.splitlines()[0]) for each in orders[0]]
        assert shown == sorted(shown)
    if name == "unused":
        numbers = [int(each) for each in orders[1] if each.isdigit()]
        assert numbers == sorted(numbers, reverse=True)
        assert numbers


def _in_order(name: str) -> list[tuple[bool, int, str]]:
    """Return what sorts a name as people do: case aside, numbers by their value."""
    return [
        (part.isdigit(), int(part) if part.isdigit() else 0, part)
        for part in re.split(r"(\d+)", name.casefold())
    ]


def test_the_address_keeps_what_is_shown(page: Page, small: Report) -> None:
    page.open(small.path)
    page.choose("class", "disable")
    page.search("api")
    page.click("#grid-head [data-sort='owner']")
    page.click("[data-language='ja']")
    page.click("[data-theme-name='dark']")
    found, names = page.count(), page.names()
    page.wait("location.hash.includes('theme=dark')")
    state = page.run("return location.hash.slice(1)")
    page.open(small.path, state)
    assert (page.count(), page.names()) == (found, names)
    assert page.find("#filter-class").get_property("value") == "disable"
    assert page.find("html").get_attribute("lang") == "ja"
    assert page.find("html").get_attribute("data-theme") == "dark"


# --- language, colours ----------------------------------------------------------------------------


def test_the_language_switch_changes_every_word(page: Page, small: Report) -> None:
    page.open(small.path, "class=narrow")
    page.click("[data-language='ja']")
    assert page.find("html").get_attribute("lang") == "ja"
    assert page.text("h1") == "ユーザーとロールの棚卸し 2026年11月"
    assert page.find("[data-language='ja']").get_attribute("aria-pressed") == "true"
    for element in page.find_all("[data-text]"):
        key = str(element.get_attribute("data-text"))
        assert element.get_property("textContent") == text(key, "ja")
    assert word("class", "narrow", "ja") in page.text("#grid-body .c-class")
    shown = page.text("body")
    assert not re.search(r"\breport_[a-z_]+|\{[a-z_]+[}|]", shown)
    english = {"Planned dates", "Users and roles", "Any", "Clear filters", "service role"}
    assert not english & set(shown.splitlines())
    page.click("[data-language='en']")
    assert page.text("h1") == "Users and roles, November 2026"


def test_colours_follow_the_system_or_the_switch(page: Page, small: Report) -> None:
    def ground() -> str:
        found: str = page.run("return getComputedStyle(document.body).backgroundColor")
        return found

    page.open(small.path)
    light = ground()
    page.prefer("prefers-color-scheme", "dark")
    dark = ground()
    assert dark != light
    page.click("[data-theme-name='light']")
    assert ground() == light
    page.click("[data-theme-name='dark']")
    assert ground() == dark


# --- the keyboard ---------------------------------------------------------------------------------


def test_the_keyboard_alone_reaches_everything(page: Page, small: Report) -> None:
    page.open(small.path)
    page.press(Keys.TAB)
    assert page.focused() == "skip"
    page.press(Keys.ENTER)
    assert page.focused() == "search"
    for _ in range(30):
        page.press(Keys.TAB)
        if page.focused().startswith("row:"):
            break
    names = page.names()
    assert names[0] in page.focused()
    page.press(Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    assert names[2] in page.focused()
    page.press(Keys.ARROW_UP)
    assert names[1] in page.focused()
    page.press(Keys.END)
    assert page.run("return document.activeElement.getAttribute('aria-rowindex')") == "413"
    page.press(Keys.PAGE_UP)
    assert int(page.run("return document.activeElement.getAttribute('aria-rowindex')")) < 412
    page.press(Keys.HOME)
    assert names[0] in page.focused()
    page.press(Keys.ENTER)
    assert page.find("#detail").is_displayed()
    assert page.focused() == "detail-title"
    assert page.text("#detail-title") == names[0]
    page.press(Keys.ESCAPE)
    assert not page.find("#detail").is_displayed()
    assert names[0] in page.focused()


def test_focus_is_always_visible(page: Page, small: Report) -> None:
    page.open(small.path)
    for _ in range(45):
        page.press(Keys.TAB)
        outline = page.run(
            "const s = getComputedStyle(document.activeElement);"
            "return [s.outlineStyle, parseFloat(s.outlineWidth)]"
        )
        assert outline[0] != "none" and outline[1] >= 2, page.focused()


def test_previous_and_next_walk_through_what_is_shown(page: Page, small: Report) -> None:
    page.open(small.path, "class=narrow")
    names = page.names()
    page.open_row(0)
    assert not page.find("#detail-before").is_enabled()
    page.press(Keys.TAB)
    page.click("#detail-after")
    assert page.text("#detail-title") == names[1]
    assert page.focused() == "detail-after"
    page.click("#detail-close")
    assert names[1] in page.focused()


# --- one principal --------------------------------------------------------------------------------


def _full_row() -> PrincipalRowJson:
    """Return a row with something to say in every part of the panel."""
    idle = {"days": 200, "date": "2026-04-15", "source": "password", "what": ""}
    service = {
        "last_accessed_at": "2026-04-15T00:00:00Z",
        "used_actions": 3,
        "unused_actions": 17,
        "denied_only": True,
    }
    season = {
        "what": "s3:GetObject",
        "used_on": ["2025-12"],
        "expected": "2026-12-05",
        "decide_after": "2026-12-26",
    }
    plan = {
        "what": "principal",
        "announced_on": "2026-10-01",
        "disable_on": "2026-10-31",
        "disabled_on": None,
        "delete_on": None,
        "times_announced": 2,
    }
    return row(
        "arn:aws:iam::111122223333:user/people/mei",
        cls="disable",
        status="idle",
        idle_days=200,
        owner=None,
        owner_shown="security@example.com",
        reasons=[
            {"code": "IDLE", "values": idle},
            {"code": "EXEMPTION_EXPIRED", "values": {"owner": "ann", "expires": "2026-01-31"}},
        ],
        issues=[{"code": "KEY_OLD", "values": {"number": 1, "days": 1_400}}],
        last_use=last_use(
            at="2026-04-15T10:00:00Z",
            source="password",
            sources={"password": "2026-04-15T10:00:00Z", "access key": None},
            unknown=["service"],
        ),
        services={"s3": service},
        unused_services=None,
        used_months=["2026-04"],
        credentials=credentials(
            mfa_active=False, access_keys=[access_key(created_at="2023-01-01T00:00:00Z")]
        ),
        policies=["arn:aws:iam::aws:policy/ReadOnlyAccess", "inline:Work"],
        boundary="arn:aws:iam::111122223333:policy/boundary",
        wide=[
            {
                "policy": "inline:Work",
                "group": "Admins",
                "pattern": "iam:*",
                "is_administrator": False,
            }
        ],
        plans=[plan],
        seasons=[season],
        change="changed",
        changes=["class", "access keys"],
        tags={"cost": "42"},
        unknown=["access key ids"],
    )


def test_a_panel_in_the_address_covers_the_window_and_the_page_stays_at_its_top(
    page: Page, small: Report
) -> None:
    """Whoever opens a link to a principal, or takes a picture of it, sees it at once."""
    names = [each["principal_arn"] for each in small.month.rows]
    page.open(small.path, f"principal={quote(names[300], safe='')}")
    page.wait("document.getElementById('detail').open")
    page.frame()
    left, top, right, bottom = page.run(
        "const r = document.getElementById('detail').getBoundingClientRect();"
        "return [r.left, r.top, r.right, r.bottom]"
    )
    wide, high = page.run("return [innerWidth, innerHeight]")
    assert (top, bottom) == (0, high)
    assert left < wide - 400
    assert wide - 20 <= right <= wide  # the page's scroll bar may be beside it
    assert page.run("return scrollY") == 0
    inside = "return Boolean(document.elementFromPoint(...arguments).closest('#detail'))"
    for x, y in ((left + 20, 10), (right - 40, high - 10), ((left + right) / 2, high / 2)):
        assert page.run(inside, x, y), (x, y)
    page.press(Keys.ESCAPE)
    page.wait("!document.getElementById('detail').open && scrollY > 0")  # to its row
    assert names[300].rpartition("/")[2] in page.focused()


def test_the_panel_says_why_and_what_is_known(page: Page, folder: Path) -> None:
    full = _full_row()
    arn = full["principal_arn"]
    role = row(
        exemption={"owner": "ann", "reason": "moves in spring", "expires": "2027-01-31"},
        trust=trust(
            outside=[{"account_id": "998877665544", "external_id": False, "conditions": []}],
            inside=["222233334444"],
            federated=["arn:aws:iam::111122223333:oidc-provider/ci.example.com"],
            federated_open=["arn:aws:iam::111122223333:oidc-provider/ci.example.com"],
            is_public=True,
        ),
    )
    month = make_month(0, 1)
    report = _write(folder, "full", Month(month.snapshot, [full, role], []))
    page.open(report.path, f"principal={quote(arn, safe='')}")
    page.wait("document.getElementById('detail').open")
    shown = page.text("#detail-body")
    for part in (
        "mei", "disable", arn, "Not used for 200 days: last on 2026-04-15 (password).",
        "Its exemption ended on 2026-01-31", "Access key 1 is 1,400 days old",
        "disable user or role on 2026-10-31", "announced 2 times",
        "2026-12-26", "no use recorded", "no answer", "s3", "denied only", "17",
        "AKIAIOSFODNN7EXAMPLE", "arn:aws:iam::aws:policy/ReadOnlyAccess", "inline:Work",
        "policy/boundary", "iam:*", "Admins", "by default", "cost", "access keys",
    ):  # fmt: skip
        assert part in shown, part
    assert text("report_services_not_known", "en") in shown  # never "0 unused"
    made = commands(full)
    assert made
    for said in page.texts("#detail-body .command-top"):
        assert "in account 111122223333" in said
    blocks = page.texts("#detail-body pre")
    assert blocks == ["\n".join(each.lines) for each in made]
    assert page.find_all("#detail .months i.on")
    page.press(Keys.ESCAPE)
    page.open(report.path, f"principal={quote(role['principal_arn'], safe='')}")
    page.wait("document.getElementById('detail').open")
    shown = page.text("#detail-body")
    for part in (
        "998877665544",
        "without an external ID",
        "222233334444",
        "Anybody in AWS",
        "Anybody of an identity provider\narn:aws:iam::111122223333:oidc-provider/ci.example.com",
        "moves in spring",
    ):
        assert part in shown


VALUES: dict[str, str | int] = {
    "days": 1_400, "date": "2026-04-15", "source": "access key", "what": "access key 2",
    "provider": "token.actions.example.com", "providers": "token.actions.example.com",
    "accounts": "998877665544",
    "sources": "service, credential report", "number": 1, "count": 2, "account": "998877665544",
    "unused": 7, "allowed": 9, "examples": "glue, rds", "policy": "inline:Work",
    "patterns": "iam:*, s3:*", "owner": "ann", "reason": "it moves", "expires": "2027-01-31",
    "how": "AWSDenyAll", "disabled_on": "2026-08-01", "delete_on": "2026-10-01",
    "created": "2020-01-01", "used_on": "2025-11", "expected": "2026-11-25", "error": "Throttled",
    "decide_after": "2026-12-16", "text": "ask Ann", "services": "s3", "actions": "s3:GetObject",
    "principal": "AIDAEXAMPLE",
}  # fmt: skip


@pytest.mark.parametrize("language", ["en", "ja"])
def test_reasons_read_as_everywhere_else(page: Page, folder: Path, language: str) -> None:
    """The page puts values into the texts itself; it must say what the mail and the CLI say."""
    table = read_table("inventory_texts.json", schema_version=1)["texts"]
    reasons: list[ReasonJson] = [
        {
            "code": code,
            "values": {
                found["name"]: VALUES[found["name"]] for found in PLACEHOLDER.finditer(words["en"])
            },
        }
        for code, words in table.items()
        if code.isupper()
    ]
    assert len(reasons) > 35
    reasons.append({"code": "IDLE", "values": {**VALUES, "days": 1, "what": ""}})
    reasons.append({"code": "DISABLED_WAITING", "values": {**VALUES, "how": NO_CREDENTIAL}})
    reasons.append({"code": "OF_ANOTHER_VERSION", "values": {"days": 3}})
    each = row(reasons=reasons)
    month = make_month(0, 1)
    report = _write(folder, "reasons", Month(month.snapshot, [each], []))
    page.open(report.path, f"language={language}&principal={quote(each['principal_arn'], safe='')}")
    page.wait("document.getElementById('detail').open")
    assert page.texts("#detail .why li") == [reason_text(one, language) for one in reasons]


def test_commands_are_copied_as_they_are(page: Page, small: Report) -> None:
    page.browser.execute_cdp_cmd(
        "Browser.grantPermissions",
        {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]},
    )
    page.open(small.path)
    page.click("#plans details summary")
    page.wait("document.querySelector('#plans details details')")
    page.click("#plans details details summary")
    command = page.text("#plans details details pre")
    assert "aws iam " in command
    page.click("#plans details details .copy")
    page.wait("document.getElementById('said').textContent !== ''")
    copied = page.browser.execute_async_script(
        "navigator.clipboard.readText().then(arguments[0], (error) => arguments[0](String(error)))"
    )
    assert copied == command


# --- planned dates, changes, trend ----------------------------------------------------------------


def test_planned_dates_stand_by_owner(page: Page, small: Report) -> None:
    page.open(small.path)
    owners = {each["owner_shown"] for each in small.month.rows if each["plans"]}
    page.click("#plans .more button")
    assert {
        str(each.get_attribute("data-owner")) for each in page.find_all("#plans [data-owner]")
    } == owners
    page.click("#plans details summary")
    page.wait("document.querySelector('#plans [data-owner] .items li')")
    owner = str(page.find("#plans [data-owner]").get_attribute("data-owner"))
    planned = [each for each in small.month.rows if each["plans"] and each["owner_shown"] == owner]
    assert len(page.find_all("#plans [data-owner]:first-child .items > li")) == len(planned)
    page.click("#plans [data-owner] .more button")
    assert page.count() == len(planned)


def test_the_trend_has_a_table_with_the_same_numbers(page: Page, small: Report) -> None:
    page.open(small.path)
    trend = small.month.snapshot["trend"]
    assert len(page.find_all("#trend svg[role=img] g")) == len(trend)
    assert page.find_all("#trend svg .other")  # where the definitions changed
    assert page.find_all("#trend svg .hollow")  # where accounts were unknown
    page.click("#trend-table summary")
    rows = page.find_all("#trend-table tbody tr")
    assert len(rows) == len(trend)
    newest = rows[0].text.split()
    assert newest[0] == trend[-1]["period"]
    assert newest[1] == str(trend[-1]["counts"]["principals"])
    assert text("report_other_definition", "en") in rows[-1].text


def test_what_changed_names_the_gone(page: Page, small: Report) -> None:
    page.open(small.path)
    page.click("#changes details summary")
    shown = page.text("#changes")
    for each in small.month.gone:
        assert each["principal_arn"] in shown


# --- CSV, paper -----------------------------------------------------------------------------------


def test_the_rows_shown_are_saved_as_csv(page: Page, hostile: Report, tmp_path: Path) -> None:
    page.browser.execute_cdp_cmd(
        "Page.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    page.open(hostile.path)
    page.click("#download")
    page.wait("document.getElementById('said').textContent !== ''")
    file = tmp_path / "inventory-2026-11.csv"
    for _ in range(100):
        if file.exists():
            break
        page.browser.execute_async_script("setTimeout(arguments[0], 20)")
    saved = file.read_text(encoding="utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(saved)))
    assert len(rows) == len(HOSTILE)
    for cells in rows:
        assert not [
            cell
            for cell in cells.values()
            if re.match(r"[\s\"']*[=+\-@\uff1d\uff0b\uff0d\uff20]", cell) and cell[0] != "'"
        ]
    assert any(cells["Owner"].startswith("'=HYPERLINK") for cells in rows)


def test_paper_has_the_rows_and_no_controls(page: Page, small: Report) -> None:
    page.open(small.path)
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    page.run("dispatchEvent(new Event('beforeprint'))")
    assert len(page.find_all("#grid-body [role=row]")) == 412
    assert not page.find("#filters").is_displayed()
    assert not page.find("#download").is_displayed()
    page.run("dispatchEvent(new Event('afterprint'))")
    assert len(page.find_all("#grid-body [role=row]")) < 80


# --- hostile text ---------------------------------------------------------------------------------


def test_hostile_text_stays_text(page: Page, hostile: Report) -> None:
    page.open(hostile.path)
    title = page.browser.title
    assert page.count() == len(HOSTILE)
    tags = "script:not([type]), body img, body iframe, [onerror], [onmouseover]"
    assert len(page.find_all(tags)) == 1  # our own script
    page.show_rows()
    for at in range(len(HOSTILE)):
        page.run("document.querySelector(`#grid-body [data-at='${arguments[0]}']`).click()", at)
        assert len(page.find_all(tags)) == 1
        assert len(page.text("#detail-body")) > 200
        page.press(Keys.ESCAPE)
    shown = page.text("#principals") + page.text("#unknown")
    for attack in (HOSTILE[0], HOSTILE[3], HOSTILE[4]):
        assert attack in shown
    assert "\u202e" not in shown
    assert page.browser.title == title


# --- everybody ------------------------------------------------------------------------------------

STATES = ("", "theme=dark", "language=ja", "theme=dark&has=issues&class=review")


@pytest.mark.parametrize("state", STATES)
def test_contrast_is_enough_everywhere(page: Page, small: Report, state: str) -> None:
    """WCAG 2.2, 1.4.3: 4.5 to 1, of every text that is on the page."""
    page.open(small.path, state)
    page.click("#plans details summary")
    assert page.run(CONTRAST, 4.5) == []
    page.open_row(1)
    page.wait("document.getElementById('detail').open")
    assert page.run("document.getElementById('detail').style.animation = 'none'") is None
    assert page.run(CONTRAST, 4.5) == []


CONTRAST = """
const least = arguments[0];
const number = (colour) => colour.match(/[\\d.]+/g).map(Number);
const over = ([r, g, b, a = 1], under) => [r, g, b].map((part, at) => part * a + under[at] * (1 - a));
const light = (rgb) => {
  const [r, g, b] = rgb.map((part) => part / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = (element) => {
  const colours = [];
  for (let one = element; one; one = one.parentElement) colours.push(number(getComputedStyle(one).backgroundColor));
  return colours.reverse().reduce((under, colour) => over(colour, under), [255, 255, 255]);
};
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const wrong = new Set();
let looked = 0;
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || !element.checkVisibility({ checkVisibilityCSS: true }) || element.closest("script, style, .hidden, [disabled], noscript")) continue;
  const style = getComputedStyle(element);
  const under = ground(element);
  const text = element.closest("svg") ? style.fill : style.color;
  const [one, other] = [light(over(number(text), under)), light(under)].sort((a, b) => b - a);
  looked += 1;
  const ratio = (one + 0.05) / (other + 0.05);
  if (ratio < least) wrong.add(`${ratio.toFixed(2)} ${element.className} ${walker.currentNode.data.slice(0, 30)}`);
}
return looked > 100 ? [...wrong] : ["nothing looked at"];
"""  # noqa: E501


@pytest.mark.parametrize("state", ["", "language=ja"])
def test_every_control_has_a_name_and_every_role_is_in_its_place(
    page: Page, small: Report, state: str
) -> None:
    """What a screen reader gets, as Chromium computes it."""
    page.open(small.path, state)
    page.click("#plans details summary")
    for opened in (False, True):
        if opened:
            page.open_row(0)
        nodes = page.browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        roles: dict[str, list[str]] = {}
        for node in nodes:
            if not node.get("ignored"):
                name = node.get("name", {}).get("value", "").strip()
                roles.setdefault(node.get("role", {}).get("value", ""), []).append(name)
        for role in ("button", "link", "combobox", "searchbox", "grid", "columnheader",
                     "navigation", "search", "dialog", "image", "group"):  # fmt: skip
            assert "" not in roles.get(role, []) or role == "group", f"{role} without a name"
        if opened:
            assert roles["dialog"]
        else:
            assert {"banner", "main", "navigation", "search", "contentinfo"} <= roles.keys()
            assert len(roles["grid"]) == 1
            assert len(roles["columnheader"]) >= 8
            assert len(roles["button"]) > 20


def test_headings_are_in_order(page: Page, small: Report) -> None:
    page.open(small.path)
    levels = page.run(
        "return [...document.querySelectorAll('main h2, main h3, h1')].map((h) => +h.tagName[1])"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below - above <= 1 for above, below in pairwise(levels))
    ids = page.run("return [...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert len(ids) == len(set(ids))


def test_the_table_tells_its_size_and_the_count_is_announced(page: Page, small: Report) -> None:
    page.open(small.path)
    grid = page.find("#grid")
    assert grid.get_attribute("aria-rowcount") == "413"
    assert grid.get_attribute("aria-colcount") == "8"
    indexes = page.run(
        "return [...document.querySelectorAll('#grid-body [role=row]')].map((r) => +r.ariaRowIndex)"
    )
    assert indexes == sorted(indexes)
    assert indexes[0] == 2
    page.choose("class", "review")
    assert grid.get_attribute("aria-rowcount") == str(page.count() + 1)
    assert page.find("#result-count").get_attribute("role") == "status"
    assert len(page.find_all("#grid-body [tabindex='0']")) == 1


@pytest.mark.parametrize("width", [400, 320])
def test_a_narrow_screen_needs_no_scrolling_sideways(page: Page, small: Report, width: int) -> None:
    page.resize(width, 800)
    for state in ("", "language=ja", "has=issues"):
        page.open(small.path, state)
        page.click("#plans details summary")
        assert page.run("return document.documentElement.scrollWidth") <= width
        page.open_row(0)
        assert page.run("return document.getElementById('detail-body').scrollWidth") <= width


def test_nothing_moves_for_who_wants_no_motion(page: Page, small: Report) -> None:
    moves = {}
    for wish in ("no-preference", "reduce"):
        page.prefer("prefers-reduced-motion", wish)
        page.open(small.path)
        page.open_row(0)
        style = "return getComputedStyle(document.getElementById('detail')).animationName"
        moves[wish] = page.run(style)
    assert moves == {"no-preference": "come", "reduce": "none"}


# --- 20,000 ---------------------------------------------------------------------------------------


def test_20_000_principals_draw_a_screenful_of_rows(page: Page, large: Report) -> None:
    """That the work does not grow with the rows; bench/inventory_report.py tells how quick."""
    assert large.path.stat().st_size < 15_000_000
    page.open(large.path)
    assert page.count() == 20_000

    def drawn() -> int:
        return len(page.find_all("#grid-body [role=row]"))

    assert 0 < drawn() < 80
    page.run("scrollTo(0, document.documentElement.scrollHeight / 2)")
    page.wait("document.querySelectorAll('#grid-body [data-at]').length > 10")
    assert drawn() < 80
    page.run("scrollTo(0, document.documentElement.scrollHeight)")
    page.wait("document.querySelector('#grid-body [data-at=\"19999\"]')")
    assert drawn() < 80
    page.search("api")
    assert 0 < page.count() < 20_000
    assert drawn() < 80
    elements = page.run("return document.querySelectorAll('*').length")
    assert elements < 6_000


def test_the_page_says_how_many_are_not_in_it(
    page: Page, folder: Path, small: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pare.inventory.report_html.PRINCIPAL_LIMIT", 200)
    kept_out = 412 - 200
    report = _write(folder, "cut", small.month)
    page.open(report.path)
    assert page.count() == 200
    assert f"{kept_out} users and roles are not in this page" in page.text("#left-out")
    (old_keys,) = [each for each in page.texts(".tile") if "old access keys" in each]
    assert "user" not in old_keys, "how many users they are of is not known here"
    assert str(page.find("#left-out a").get_attribute("href")).endswith("/report.csv")
    assert _matching(small, lambda each: each["class"] != "keep") < 200
    for name in ("delete", "disable", "narrow", "review"):
        page.choose("class", "")
        if any(value == name for value, _ in page.choices("class")):
            page.choose("class", name)
            assert page.count() == _matching(small, lambda each, name=name: each["class"] == name)  # type: ignore[misc]

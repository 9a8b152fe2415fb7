"""The report's file: one page, its policy, its data, the same bytes each time."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any

import pytest

from bench.inventory_rows import make_month
from pare.inventory import report_html
from pare.inventory.commands import commands
from pare.inventory.report_html import COLUMNS, render
from tests.unit.inventory.row_builders import account_result, row

MONTH = make_month(60, 4, unknown=1, months=3)


def _render(rows: Any = None, **changes: Any) -> str:
    given: dict[str, Any] = {"language": "en", "links": {"csv": "report.csv"}, "gone": MONTH.gone}
    return render(MONTH.snapshot, MONTH.rows if rows is None else rows, **{**given, **changes})


def _data(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def _cells(data: dict[str, Any], number: int = 0) -> dict[str, Any]:
    return dict(zip(data["columns"], data["rows"][number], strict=True))


def test_same_input_same_bytes() -> None:
    assert _render() == _render()


def test_the_policy_names_the_hashes_of_the_one_style_and_the_one_script() -> None:
    page = _render()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; ")
    for tag in ("style", "script"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.S)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy[1]
    assert "unsafe" not in policy[1]
    assert "http:" not in policy[1]


def test_nothing_is_loaded_and_nothing_runs_but_the_script() -> None:
    page = _render()
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!data:|#)""", page.split("<script", 1)[0])
    assert not re.search(r"\son[a-z]+\s*=", page.split("<script", 1)[0])
    assert not re.search(r"\sstyle\s*=", page.split("<script", 1)[0])
    script = report_html._asset("js")
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(",
                "new Function", "fetch(", "XMLHttpRequest", "WebSocket", "import("):  # fmt: skip
        assert way not in script, way


def test_hostile_text_cannot_end_the_data() -> None:
    attack = "</script><script>alert(1)</script><!--\u2028\u2029&amp;@@script@@"
    page = _render([row(owner=attack, owner_shown=attack, tags={attack: attack})])
    assert page.count("</script>") == _render([row()]).count("</script>") == 3
    assert "\u2028" not in page
    data = _data(page)
    shown = data["pool"][_cells(data)["owner"]]
    assert shown.startswith("</script><script>alert(1)</script><!--")
    assert shown.endswith("&amp;@@script@@")  # not taken for a mark of the page


def test_control_and_direction_characters_are_gone() -> None:
    data = _data(_render([row(owner_shown="pay\u202egnp.exe\x00\n x")]))
    assert data["pool"][_cells(data)["owner"]] == "paygnp.exe x"


@pytest.mark.parametrize(
    ("link", "is_kept"),
    [
        ("report.csv", True),
        ("https://s3.example.com/report.csv?X-Amz-Signature=1", True),
        ("javascript:alert(1)", False),
        ("//example.com/x", False),
        ("http://example.com/x", False),
        ("../../x", False),
    ],
)
def test_links_lead_beside_the_page_or_to_https(link: str, is_kept: bool) -> None:
    assert _data(_render(links={"csv": link}))["links"] == ({"csv": link} if is_kept else {})


def test_a_row_of_before_there_was_such_a_member_is_unused_where_it_is_idle() -> None:
    rows: list[Any] = [row(status="idle"), row(status="never used"), row(), row(status="unknown")]
    for each in rows:
        del each["is_unused"]

    data = _data(_render(rows))

    assert [_cells(data, at)["is_unused"] for at in range(4)] == [1, 1, 0, 0]


def test_rows_are_compact_and_complete() -> None:
    data = _data(_render())
    assert tuple(data["columns"]) == COLUMNS
    assert len(data["rows"]) == len(MONTH.rows)
    for number, each in enumerate(MONTH.rows):
        cells = _cells(data, number)
        pool = data["pool"]
        assert pool[cells["arn_head"]] + cells["arn_tail"] == each["principal_arn"]
        assert pool[cells["class"]] == each["class"]
        assert pool[cells["status"]] == each["status"]
        assert data["accounts"][cells["account"]]["id"] == each["account_id"]
        assert [pool[policy] for policy in cells["policies"]] == each["policies"]
        assert len(cells["services"]) == len(each["services"])
        assert [pool[reason[0]][0] for reason in cells["reasons"]] == [
            reason["code"] for reason in each["reasons"]
        ]
        name = each["principal_arn"].rpartition("/")[2]
        lines = [
            [pool[line].replace(report_html.NAME_MARK, name) for line in lines]
            for _, lines in cells["rest"].get("commands", [])
        ]
        assert lines == [list(command.lines) for command in commands(each)]
    assert any("commands" in _cells(data, number)["rest"] for number in range(len(MONTH.rows)))


def test_unknown_stays_unknown() -> None:
    unknown = row(status="unknown", idle_days=None, unused_services=None, unused_actions=None)
    cells = _cells(_data(_render([unknown])))
    assert cells["unused_services"] is None
    assert cells["unused_actions"] is None
    assert cells["idle_days"] is None


def test_an_account_that_the_head_does_not_have_is_shown_by_its_id() -> None:
    cells = _cells(_data(_render([row("arn:aws:iam::999999999999:role/Stray")])))
    assert cells["account"] == "999999999999"


def test_months_are_bits_from_the_period_backwards() -> None:
    used = {
        "s3": {
            "last_accessed_at": "2026-11-01T00:00:00Z",
            "used_actions": 1,
            "unused_actions": 0,
            "denied_only": False,
        }
    }
    months = ["2024-01", "2025-10", "2026-10", "2026-11"]
    each = row(used_months=months, services=used, used_services_months={"s3": ["2026-09"]})
    cells = _cells(_data(_render([each])))
    assert cells["months"] == 0b10000000000011  # 2025-10 is 13 months back, 2024-01 beyond
    assert cells["services"][0][-1] == 0b100


def test_the_mildest_are_left_out_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_html, "PRINCIPAL_LIMIT", 3)
    rows = [
        row(f"arn:aws:iam::111122223333:role/R{number}", cls=cls)
        for number, cls in enumerate(["keep", "narrow", "keep", "delete", "review", "keep"])
    ]
    data = _data(_render(rows))
    names = [_cells(data, number)["arn_tail"] for number in range(len(data["rows"]))]
    assert names == ["role/R1", "role/R3", "role/R4"]
    assert data["left_out"] == {"keep": 3}
    data = _data(_render([row(f"{each['principal_arn']}x", cls="narrow") for each in rows]))
    assert data["left_out"] == {"narrow": 3}
    assert len(data["rows"]) == 3


def test_gone_principals_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_html, "GONE_LIMIT", 2)
    gone = [row(f"arn:aws:iam::111122223333:role/Gone{number}") for number in range(5)]
    data = _data(_render(gone=gone))
    assert len(data["gone"]) == 2
    assert data["gone_left_out"] == 3


def test_an_unknown_account_is_in_the_page_with_its_reason() -> None:
    account = account_result(
        error="AccessDeniedError",
        message="AssumeRole was refused",
        known={"period": "2026-09", "bucket": "evidence", "key": "rows"},
    )
    snapshot = {**MONTH.snapshot, "accounts": [account]}
    data = _data(render(snapshot, [], language="ja", links={}))  # type: ignore[arg-type]
    assert data["accounts"][0]["error"] == "AccessDeniedError"
    assert data["accounts"][0]["message"] == "AssumeRole was refused"
    assert data["accounts"][0]["known"] == "2026-09"
    assert data["language"] == "ja"


def test_every_text_that_the_page_asks_for_exists_in_both_languages() -> None:
    asked = set(re.findall(r'\bT\(\s*"([a-z_]+)"', report_html._asset("js")))
    asked |= set(re.findall(r'data-(?:text|label)="([a-z_]+)"', report_html._asset("html")))
    asked |= set(re.findall(r'"(column_[a-z_]+)"', report_html._asset("js")))
    asked |= {f"report_command_{title}" for title in ("disable", "undo", "delete")}
    codes = ("key_old", "key_idle", "key_never_used", "no_mfa", "password_idle", "no_owner",
             "password_never_used", "outside_trust", "outside_trust_without_external_id",
             "public_trust", "unknown_trust")  # fmt: skip
    asked |= {f"report_short_{code}" for code in codes}
    marks = re.search(r"const MARKS = \[(.*?)\]", report_html._asset("js"), re.S)
    assert marks is not None
    asked |= {f"report_mark_{mark}" for mark in re.findall(r'"([a-z_]+)"', marks[1])}
    assert len(asked) > 150
    for language in report_html.LANGUAGES:
        assert asked - report_html._texts()[language].keys() == set()


def test_no_text_of_the_page_is_left_over() -> None:
    script = report_html._asset("js") + report_html._asset("html")
    computed = (
        "report_short_",
        "report_mark_",
        "report_member_",
        "report_command_",
        "report_theme_",
    )
    left = [
        key
        for key in report_html._texts()["en"]
        if key.startswith("report_") and not key.startswith(computed) and key not in script
        and key.removeprefix("report_") not in {
            "unknown", "changes", "trend", "plans", "accounts", "principals"
        }
    ]  # fmt: skip
    assert left == []

"""The engine of the text tables, and that the table of the findings is whole."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import get_args

import pytest

from pare.data_tables import read_table
from pare.findings.card import CardNews, HowEnded
from pare.findings.model import SEVERITIES, Access, Exposure
from pare.findings.phrases import LEVELS, TEXTS, rule_key, type_key
from pare.findings.severity import rules
from pare.texts import LANGUAGES, PLACEHOLDER, Texts, names_in, word_key

FILE = "finding_texts.json"
TABLE: dict[str, dict[str, str]] = read_table(FILE, schema_version=1)["texts"]
FOLDER = Path(__file__).parents[2] / "pare/findings"
MODULES = ("phrases", "message", "overview", "preview_message", "steps", "changes")

NEWS = get_args(CardNews)
ACCESS_TYPES = (
    "AWS::S3::Bucket", "AWS::IAM::Role", "AWS::SQS::Queue", "AWS::Lambda::Function",
    "AWS::Lambda::LayerVersion", "AWS::KMS::Key", "AWS::SecretsManager::Secret",
    "AWS::EFS::FileSystem", "AWS::EC2::Snapshot", "AWS::ECR::Repository", "AWS::RDS::DBSnapshot",
    "AWS::RDS::DBClusterSnapshot", "AWS::SNS::Topic", "AWS::S3Express::DirectoryBucket",
    "AWS::DynamoDB::Table", "AWS::DynamoDB::Stream",
)  # fmt: skip
OTHER_TYPES = (
    "AWS::IAM::User", "AWS::AccessAnalyzer::Analyzer", "AWS::AccessAnalyzer::ArchiveRule",
)  # fmt: skip
UNUSED = ("unusedpermission", "unusediamrole", "unusediamuseraccesskey", "unusediamuserpassword")
WATCH = (
    "analyzermissing", "analyzernotactive", "analyzerdeleted", "analyzerunread", "regionunread",
    "archiverulehidespublic", "archiveruledrift", "exemptionexpiring",
)  # fmt: skip
HEADLINES = {
    "open", "open_role", "internal", "error", "error_unused", "other", "exemptionended",
    *UNUSED, *WATCH,
}  # fmt: skip
UNNAMED = {"outside_unnamed", "organization_unnamed"}
SHORT = {f"{each}_short" for each in {*get_args(Exposure), *UNNAMED} if each != "none"}
RESTRICTIONS = {"applied", "applicable", "failed"}
# Keys that the code puts together: the beginning, and all that may follow it.
GROUPS: dict[str, set[str]] = {
    "type_": {type_key("type", each)[5:] for each in (*ACCESS_TYPES, *OTHER_TYPES)},
    "headline_": HEADLINES,
    "over_": HEADLINES,
    "analyzer_": {
        "external", "internal", "unused", "any", "of", "create", "create_unused", "create_other",
        "settings", "settings_unused", "create_missing", "settings_only", "settings_unused_only",
    },
    "section_": {"archived", "closed"},
    "whom_": {*get_args(Exposure), *UNNAMED, *SHORT},
    "level_": {word_key("level", each)[6:] for each in LEVELS},
    "rcp_": RESTRICTIONS,
    "scp_": RESTRICTIONS,
    "through_": {"policy", "bucket_acl", "s3_access_point", "s3_access_point_account"},
    "severity_": {*SEVERITIES, "by", "count"},
    "rule_": {rule_key(each)[5:] for each in (*(rule.rule_id for rule in rules()), "no rule")},
    "title_": {*NEWS, "proposal", "more", "ways"},
    "news_": set(NEWS),
    "kind_": {"externalaccess", "internalaccess", *UNUSED, *WATCH},
    "verdict_": {"ready", "review", "refused"},
    "short_verdict_": {"ready", "review", "refused"},
    "ask_": {"public", "outside", "partner", "federated", "inside", "unused"},
    "fix_": {
        *(type_key("fix", each)[4:] for each in ACCESS_TYPES),
        "aws_s3_bucket_public", "aws_iam_role_public", "aws_iam_role_federated", "other",
        "internal", *UNUSED[1:],
    },
    "watch_": {*WATCH, "other"},
    "error_": {
        "access_denied", "internal_error", "other", "meanwhile", "meanwhile_unused", "unnamed",
    },
    "permission_": {"wait", "ready", "review", "refused", "reason"},
    "drift_": {"changed", "deleted"},
    "label_ended_": {"archived", "unwatched"},
    "digest_": {"title", "title_owner", "lead", "lead_owner", "key", "pare", "pare_contact"},
    "summary_": {"title", "lead", "step_show", "step_archive"},
    "preview_reason_": {"invalid_configuration", "internal_error", "unknown"},
    "preview_lead_": {"creating", "completed", "failed"},
    "lead_": {
        "error", "error_unused", "worsened", "reopened", "changed", "proposal", "still_open",
        "closed", "rest_closed", "closed_inventory", "closed_watch", "closed_other", "gone",
        "archived", "unwatched", "watch", "watch_rule",
        "archived_some", "archived_before", "more_open", "reopened_archived", "reopened_quiet",
        "reopened_unwatched",
    },
    "change_": {
        "severity", "new", "new_open", "worse", "gone", "gone_open", "unused_services",
        "unused_actions", "partly", "more", "gone_region", "gone_way", "other", "what",
        *(each.lower() for each in get_args(HowEnded) if each in {"ARCHIVED", "UNWATCHED"}),
    },
}  # fmt: skip


def constants() -> set[str]:
    """Return every text constant in the modules that say something."""
    found: set[str] = set()
    for module in MODULES:
        tree = ast.parse((FOLDER / f"{module}.py").read_text(encoding="utf-8"))
        found |= {
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
    return found


def said() -> set[str]:
    """Return the keys that the modules say by their whole name: ``say("since", …)``."""
    found: list[ast.expr] = []
    for module in MODULES:
        for node in ast.walk(ast.parse((FOLDER / f"{module}.py").read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "say":
                key = node.args[0]
                found += [key.body, key.orelse] if isinstance(key, ast.IfExp) else [key]
    return {each.value for each in found
            if isinstance(each, ast.Constant) and isinstance(each.value, str)}  # fmt: skip


@pytest.mark.parametrize("key", sorted(TABLE))
def test_a_text_is_there_in_every_language_and_names_the_same_values(key: str) -> None:
    texts = TABLE[key]

    assert set(texts) == set(LANGUAGES)
    assert all(each == each.strip() or not each.strip(",; ") for each in texts.values())
    assert names_in(texts["en"]) == names_in(texts["ja"])
    for each in texts.values():
        assert "{" not in PLACEHOLDER.sub("", each), "a mistyped placeholder"
        assert "}" not in PLACEHOLDER.sub("", each), "a mistyped placeholder"
    assert texts["en"].isascii()


def test_the_file_is_sorted_so_that_two_changes_merge() -> None:
    assert list(TABLE) == sorted(TABLE)


@pytest.mark.parametrize("prefix", sorted(GROUPS))
def test_a_group_has_a_text_for_each_of_its_values_and_no_other(prefix: str) -> None:
    longer = [each for each in GROUPS if each != prefix and each.startswith(prefix)]
    there = {
        key.removeprefix(prefix)
        for key in TABLE
        if key.startswith(prefix) and not any(key.startswith(each) for each in longer)
    }

    assert there == GROUPS[prefix]


def test_every_key_is_used_and_every_key_used_is_there() -> None:
    in_groups = {prefix + each for prefix, values in GROUPS.items() for each in values}
    labels = {f"label_{each}" for each in constants()}

    assert set(TABLE) - in_groups - labels - constants() == set(), "nobody says these"
    assert len(said()) > 100
    assert said() - set(TABLE) == set()


def test_what_a_finding_can_be_has_a_text() -> None:
    assert {"open", "internal"} <= HEADLINES
    assert {"external", "internal", "unused"} <= set(get_args(Access)) & GROUPS["analyzer_"]


@pytest.mark.parametrize("key", sorted(TABLE))
def test_japanese_is_japanese(key: str) -> None:
    words = PLACEHOLDER.sub("", TABLE[key]["ja"]).replace("[Pare]", "").replace("ARN", "")

    assert re.search("[ぁ-んァ-ヶ一-龯]", words) or not re.search("[A-Za-z]", words)


# --- the engine -----------------------------------------------------------------------------------


def test_values_are_put_in_and_numbers_get_commas() -> None:
    assert TEXTS.text("for_days", "en", count=1_200) == "for 1,200 days"
    assert TEXTS.text("for_days", "en", count=1) == "for 1 day"
    assert TEXTS.text("for_days", "ja", count=1_200) == "1,200 日経過"


def test_what_is_empty_takes_its_sign_with_it() -> None:
    given = {"what": "X", "expires": ""}

    assert TEXTS.text("headline_exemptionexpiring", "en", **given) == "The exemption of X ends"


def test_a_value_that_looks_like_a_placeholder_stays_what_it_is() -> None:
    assert TEXTS.text("group_finding", "en", id="{count} \\1") == "finding {count} \\1"


def test_a_value_a_key_or_a_language_that_is_missing_is_a_mistake_of_ours() -> None:
    with pytest.raises(KeyError, match="count"):
        TEXTS.text("for_days", "en")
    with pytest.raises(KeyError, match="nothing"):
        TEXTS.text("nothing", "en")
    with pytest.raises(KeyError, match="de"):
        TEXTS.text("never", "de")


def test_a_value_without_a_word_is_its_own_word() -> None:
    assert TEXTS.word("severity", "high", "ja") == "高"
    assert TEXTS.word("severity", "later", "ja") == "later"
    assert word_key("kind", "Machine user-x") == "kind_machine_user_x"


def test_all_texts_of_a_language_are_to_be_had() -> None:
    texts = Texts("inventory_texts.json")

    assert texts.of_language("ja")["class_keep"] == "維持"
    assert texts.has("class_keep")
    assert not texts.has("nothing")
    assert Texts(FILE).of_language("en").keys() == TABLE.keys()

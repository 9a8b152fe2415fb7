"""Everything known about a user or role in one page of text, and why it was classified so.

80 columns wide where words allow. The words are ``pare/data/explain_texts.json``; reasons, kinds
and commands are those of the report. All text from outside is one printable line.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from pare.data_tables import read_table
from pare.findings.phrases import Words, headline_of
from pare.inventory.commands import commands
from pare.inventory.texts import reason_text, text, word
from pare.inventory.view import wrapped
from pare.message import columns, plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pare.inventory.model import (
        AccessKeyJson,
        AccountResultJson,
        PrincipalRowJson,
        SnapshotJson,
        TrustJson,
        WidePolicyJson,
    )

_LABEL = 27
_INDENT = "  "
_SERVICES_SHOWN = 25
_USER_SOURCES = ("password", "access key", "service", "activity")
_ROLE_SOURCES = ("role", "service", "activity")


@dataclass(frozen=True, slots=True)
class Known:
    """What is known beside the row. None: not asked, or not there."""

    head: SnapshotJson | None = None
    account: AccountResultJson | None = None
    proposal: dict[str, Any] | None = None  # its record
    findings: list[dict[str, Any]] | None = None  # records of active ones
    is_deployed: bool = False  # so that no proposal is one that could be there


def explain(row: PrincipalRowJson, *, language: str, known: Known | None = None) -> str:
    """Return the page, ending with a line break."""
    known = known or Known()
    page = _Page(row, language, known)
    return "\n".join(page.lines()) + "\n"


def say(key: str, language: str, /, **values: str | int) -> str:
    """Return a text of the page with its values put in; KeyError for a key that is not there."""
    shown = {name: f"{v:,}" if isinstance(v, int) else v for name, v in values.items()}
    return _texts()[key][language].format(**shown)


@cache
def _texts() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = read_table("explain_texts.json", schema_version=1)["texts"]
    return found


@dataclass(frozen=True, slots=True)
class _Page:
    row: PrincipalRowJson
    language: str
    known: Known

    def lines(self) -> Iterator[str]:
        """Yield the lines of the page: the head, then the sections that have anything."""
        yield from self._head()
        account = self._account()
        for key, lines in (
            ("why", self._why()),
            ("issues", self._issues()),
            ("what_it_is", self._identity()),
            ("last_use", self._last_use()),
            ("services", self._services()),
            ("credentials", self._credentials()),
            ("trust", self._trust()),
            ("policies", self._policies()),
            ("seasons", self._seasons()),
            ("exemption", self._exemption()),
            ("plan", self._plans()),
            ("commands", self._commands()),
            ("changes", self._changes()),
            ("proposal", self._proposal()),
            ("findings", self._findings()),
            ("unknown", self._unknown()),
        ):
            found = list(lines)
            if found:
                yield ""
                yield from wrapped(self.say(key, account=account))
                yield from found

    def say(self, key: str, **values: str | int) -> str:
        return say(key, self.language, **values)

    def pair(self, label: str, value: str) -> list[str]:
        """Return a label and its value under each other's, wrapped; nothing where it is empty."""
        if not value:
            return []
        first = f"{_INDENT}{label}{' ' * max(_LABEL - columns(label), 1)}"
        rest = " " * (len(_INDENT) + _LABEL)
        return wrapped(value, first=first, rest=rest)

    def item(self, line: str) -> list[str]:
        return wrapped(line, first=f"{_INDENT}- ", rest=f"{_INDENT}  ")

    # --- the sections ---

    def _head(self) -> Iterator[str]:
        row, head, account = self.row, self.known.head, self.known.account
        yield plain(row["principal_arn"], 2_100)
        if head and row["period"] == head["period"]:
            yield self.say("as_of", period=head["period"], at=_minute(head["as_of"]))
        else:
            yield self.say("row_of", period=plain(row["period"]))
        if account is not None and account["error"]:
            yield from wrapped(
                self.say("last_known", error=plain(account["error"]), period=plain(row["period"]))
            )
        yield ""
        name = word("class", row["class"], self.language)
        about = text(f"class_{row['class']}_about", self.language)
        yield from wrapped(f"{name.upper()}: {about}")
        yield f"{self.say('status')}: {word('status', row['status'], self.language)}"

    def _why(self) -> Iterator[str]:
        for reason in self.row["reasons"]:
            yield from self.item(reason_text(reason, self.language))

    def _issues(self) -> Iterator[str]:
        for issue in self.row["issues"]:
            yield from self.item(reason_text(issue, self.language))

    def _identity(self) -> Iterator[str]:
        row = self.row
        name = plain(self.known.account["name"]) if self.known.account else ""
        yield from self.pair(self.say("kind"), word("kind", row["kind"], self.language))
        yield from self.pair(self.say("account"), f"{row['account_id']} {name}".strip())
        yield from self.pair(self.say("owner"), self._owner())
        yield from self.pair(self.say("created"), f"{_minute(row['created_at'])} UTC")
        yield from self.pair(self.say("unique_id"), plain(row["principal_id"]))
        yield from self.pair(self.say("description"), plain(row["description"], 1_000))
        tags = ", ".join(plain(f"{key}={value}", 400) for key, value in sorted(row["tags"].items()))
        yield from self.pair(self.say("tags"), tags)
        yield from self.pair(self.say("groups"), ", ".join(map(plain, row["groups"])))
        yield from self.pair(self.say("boundary"), plain(row["boundary"] or ""))
        profiles = ", ".join(map(plain, row["instance_profiles"]))
        yield from self.pair(self.say("instance_profiles"), profiles)
        yield from self.pair(self.say("disabled_by"), plain(row["disabled_by"] or ""))

    def _account(self) -> str:
        """Return the account's id and, where it is known, its name."""
        account_id = plain(self.row["account_id"])
        name = plain(self.known.account["name"]) if self.known.account else ""
        return f"{account_id} ({name})" if name else account_id

    def _owner(self) -> str:
        row = self.row
        owner = plain(row["owner_shown"])
        if row["owner"] is None:
            return self.say("owner_by_default", owner=owner)
        # Which tag the settings chose is not in the row; the ones that say so are.
        tags = sorted(key for key, value in row["tags"].items() if value.strip() == row["owner"])
        if len(tags) == 1:
            return self.say("owner_of_tag", owner=owner, tag=plain(tags[0]))
        return self.say("owner_of_tags", owner=owner)

    def _last_use(self) -> Iterator[str]:
        use = self.row["last_use"]
        if use["at"]:
            source = word("source", use["source"] or "", self.language)
            key = "use_at_of" if use["what"] else "use_at"
            yield from self.item(
                self.say(
                    key,
                    at=_minute(use["at"]),
                    source=source,
                    what=plain(word("what", use["what"], self.language)),
                )
            )
        else:
            yield from self.item(self.say("use_none"))
        since = use["since"]
        yield from self.item(
            self.say("use_since", date=since[:10]) if since else self.say("use_since_unknown")
        )
        sources = _USER_SOURCES if ":user/" in self.row["principal_arn"] else _ROLE_SOURCES
        others = sorted({*use["sources"], *use["unknown"]} - set(sources))
        for source in (*sources, *others):
            yield from self.pair(plain(word("source", source, self.language)), self._said(source))

    def _said(self, source: str) -> str:
        use = self.row["last_use"]
        if source in use["unknown"]:
            return self.say("source_unknown")
        if source not in use["sources"]:
            return self.say("source_not_asked")
        at = use["sources"][source]
        return f"{_minute(at)} UTC" if at else self.say("source_none")

    def _services(self) -> Iterator[str]:
        row = self.row
        newest = sorted(
            row["services"].items(), key=lambda item: (item[1]["last_accessed_at"], item[0])
        )[::-1]
        width = max((len(name) for name, _ in newest[:_SERVICES_SHOWN]), default=0)
        for name, service in newest[:_SERVICES_SHOWN]:
            if service["unused_actions"] is None:
                told = self.say("service_untracked")
            else:
                told = self.say("service_actions", used=service["used_actions"],
                                unused=service["unused_actions"])  # fmt: skip
            if service["denied_only"]:
                told += f"; {self.say('service_denied')}"
            line = f"{plain(name):<{width}}  {service['last_accessed_at'][:10]}  "
            yield from wrapped(told, first=f"{_INDENT}{line}", rest=" " * (width + 16))
        if len(newest) > _SERVICES_SHOWN:
            yield f"{_INDENT}{self.say('services_more', count=len(newest) - _SERVICES_SHOWN)}"
        if not newest and row["unused_services"] is not None:
            yield f"{_INDENT}{self.say('services_none')}"
        if row["unused_services"] is None:
            yield from self.item(self.say("services_unused_unknown"))
        else:
            yield from self.item(self.say("services_unused", count=row["unused_services"]))
        if row["unused_actions"] is not None:
            yield from self.item(self.say("actions_unused", count=row["unused_actions"]))
        if row["used_months"]:
            yield from self.item(self.say("used_months", months=", ".join(row["used_months"])))

    def _credentials(self) -> Iterator[str]:
        found = self.row["credentials"]
        if found is None:
            if ":user/" in self.row["principal_arn"]:
                yield f"{_INDENT}{self.say('credentials_unknown')}"
            return
        if found["password_enabled"] is None:
            password = self.say("password_unknown")
        elif not found["password_enabled"]:
            password = self.say("password_none")
        else:
            changed = self._date(found["password_changed_at"])
            used = found["password_last_used_at"]
            key = "password_used" if used else "password_unused"
            password = self.say(key, date=self._date(used), changed=changed)
        yield from self.pair(self.say("password"), password)
        yes = text("word_yes" if found["mfa_active"] else "word_no", self.language)
        yield from self.pair(self.say("mfa"), yes)
        for number, key_ in enumerate(found["access_keys"], start=1):
            yield from self.pair(self.say("access_key", number=number), self._key(key_))
        if found["active_certificates"]:
            count = self.say("certificates_active", count=found["active_certificates"])
            yield from self.pair(self.say("certificates"), count)
        yield from self.pair(self.say("additional"), plain(found["additional"]))

    def _key(self, key: AccessKeyJson) -> str:
        used = key["last_used_at"]
        where = ", ".join(
            plain(each) for each in (key["last_used_service"], key["last_used_region"]) if each
        )
        return self.say(
            "key_used" if used else "key_unused",
            id=plain(key["access_key_id"] or self.say("key_id_unknown")),
            state=text("word_active" if key["is_active"] else "word_inactive", self.language),
            created=self._date(key["created_at"]),
            date=self._date(used),
            where=where or "-",
        )

    def _date(self, time: str | None) -> str:
        return time[:10] if time else self.say("date_unknown")

    def _trust(self) -> Iterator[str]:
        trust = self.row["trust"]
        if trust is None:
            return
        found = [line for label, value in self._trusted(trust) for line in self.pair(label, value)]
        yield from found or [f"{_INDENT}{self.say('trust_nobody')}"]

    def _trusted(self, trust: TrustJson) -> Iterator[tuple[str, str]]:
        if trust["is_public"]:
            yield self.say("trust_public"), self.say("trust_public_yes")
        yield self.say("trust_services"), ", ".join(map(plain, trust["services"]))
        if trust["own_account"]:
            yield self.say("trust_own"), self.say("trust_own_yes")
        yield self.say("trust_inside"), ", ".join(map(plain, trust["inside"]))
        for each in trust["outside"]:
            key = "trust_external_id" if each["external_id"] else "trust_no_external_id"
            conditions = ", ".join(map(plain, each["conditions"]))
            told = self.say(key, account=plain(each["account_id"]))
            yield self.say("trust_outside"), f"{told}; {conditions}" if conditions else told
        yield self.say("trust_federated"), ", ".join(map(plain, trust["federated"]))
        yield self.say("trust_unknown"), ", ".join(map(plain, trust["unknown"]))

    def _policies(self) -> Iterator[str]:
        for each in self.row["wide"]:
            yield from self.item(self._wide(each))
        wide = {each["policy"] for each in self.row["wide"] if not each["group"]}
        for policy in self.row["policies"]:
            if policy not in wide:
                yield from self.item(plain(policy))
        if not self.row["policies"] and not self.row["wide"]:
            yield f"{_INDENT}{self.say('policies_none')}"

    def _wide(self, wide: WidePolicyJson) -> str:
        key = "wide_administrator" if wide["is_administrator"] else (
            "wide_not_action" if wide["pattern"] == "NotAction" else "wide_service"
        )  # fmt: skip
        told = self.say(key, policy=plain(wide["policy"]), pattern=plain(wide["pattern"]))
        if wide["group"]:
            return self.say("through_group", text=told, group=plain(wide["group"]))
        return told

    def _seasons(self) -> Iterator[str]:
        for season in self.row["seasons"]:
            what = season["what"]
            yield from self.item(
                self.say(
                    "season",
                    what=word("what", what, self.language) if what == "principal" else plain(what),
                    used_on=", ".join(map(plain, season["used_on"])),
                    expected=plain(season["expected"]),
                    decide_after=plain(season["decide_after"]),
                )
            )

    def _exemption(self) -> Iterator[str]:
        found = self.row["exemption"]
        if found is not None:
            values = {name: plain(value) for name, value in found.items()}
            yield from self.item(self.say("exemption_until", **values))

    def _plans(self) -> Iterator[str]:
        for plan in self.row["plans"]:
            what = word("what", plan["what"], self.language)
            if plan["disabled_on"]:
                told = text(
                    "plan_delete", self.language, what=what,
                    delete_on=plan["delete_on"] or self.say("date_unknown"),
                    disabled_on=plan["disabled_on"],
                )  # fmt: skip
            else:
                told = text("plan_disable", self.language, what=what, disable_on=plan["disable_on"])
            announced = self.say(
                "plan_announced", count=plan["times_announced"], date=plan["announced_on"]
            )
            yield from self.item(f"{told}{announced}")

    def _commands(self) -> Iterator[str]:
        for command in commands(self.row):
            if command.title == "disable" and self.row["disabled_by"]:
                continue  # it is
            yield f"{_INDENT}{self.say(f'command_{command.title}')}"
            # Never folded: what is copied must run.
            yield from (f"{_INDENT}  {line}" for line in command.lines)

    def _changes(self) -> Iterator[str]:
        row, head = self.row, self.known.head
        if row["change"] is None:
            yield f"{_INDENT}{self.say('changes_first')}"
            return
        key = f"changes_{row['change']}"
        yield from self.item(self.say(key, names=", ".join(map(plain, row["changes"]))))
        if head and head["previous"]:
            yield from self.item(self.say("changes_of", previous=head["previous"]))

    def _proposal(self) -> Iterator[str]:
        found = self.known.proposal
        if found is None:
            if self.known.is_deployed:
                command = f"pare policy start {plain(self.row['principal_arn'], 2_100)}"
                yield from self.item(self.say("proposal_none", command=command))
            return
        yield from self.item(
            self.say(
                "proposal_found",
                verdict=plain(found.get("verdict")),
                at=_minute(str(found.get("created_at"))),
            )
        )
        before, after = found.get("before_action_count"), found.get("after_action_count")
        if before is not None and after is not None:
            yield from self.item(self.say("proposal_size", before=int(before), after=int(after)))
        for reason in found.get("reasons", ()):
            said = f"{reason.get('code', '')}: {reason.get('text', reason.get('message', ''))}"
            yield from self.item(plain(said.rstrip(": "), 500))
        where = found.get("proposal")
        if where:
            yield from self.item(plain(f"s3://{where['bucket']}/{where['key']}", 2_100))

    def _findings(self) -> Iterator[str]:
        if self.known.findings is None:
            return
        for each in self.known.findings:
            finding = each["finding"]
            words = Words(self.language, plain)
            yield from self.item(
                self.say(
                    "finding",
                    severity=words.word("severity", finding["severity"] or "unknown"),
                    what=headline_of(finding, words),
                    date=plain(finding["created_at"])[:10],
                    region=plain(finding["region"]),
                    id=plain(each["finding_id"]),
                )
            )
        if not self.known.findings:
            yield f"{_INDENT}{self.say('findings_none')}"

    def _unknown(self) -> Iterator[str]:
        for each in self.row["unknown"]:
            yield from self.item(plain(each))


def _minute(time: str) -> str:
    return plain(time)[:16].replace("T", " ")

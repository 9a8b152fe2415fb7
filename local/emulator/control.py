"""The control plane under /_pare/: planting, faults, settings, state and reset. Loopback, unsigned.

docs/emulator.md has the table of its paths.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from local.emulator import object_ownership, organization, subscriptions, upstream
from local.emulator.faults import Fault
from local.emulator.usage import Use
from local.emulator.wire import Request, Response, json_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.emulator.emulation import Emulation


class ControlPlane:
    """What a person, a test or the seed may do to the emulation."""

    def __init__(self, emulation: Emulation, reset_ministack: Callable[[], None]) -> None:
        self._emulation = emulation
        self._reset_ministack = reset_ministack
        self._routes: dict[tuple[str, str], Callable[[dict[str, Any]], dict[str, Any]]] = {
            ("GET", "health"): lambda _: {"status": "ok"},
            ("GET", "state"): lambda _: self._state(),
            ("POST", "accounts"): self._accounts,
            ("POST", "contacts"): self._contacts,
            ("POST", "ages"): self._ages,
            ("POST", "usage"): self._usage,
            ("POST", "credentials"): self._credentials,
            ("POST", "findings"): self._findings,
            ("POST", "previews"): self._previews,
            ("POST", "analyzers"): self._analyzers,
            ("POST", "objects"): self._objects,
            ("POST", "confirmations"): self._confirmations,
            ("POST", "quotas"): self._quotas,
            ("POST", "faults"): self._faults,
            ("DELETE", "faults"): lambda _: self._clear_faults(),
            ("POST", "settings"): self._settings,
            ("POST", "reset"): lambda _: self._reset(),
        }

    def handle(self, request: Request) -> Response:
        """Return the answer to one control request."""
        name = request.raw_path.removeprefix("/_pare/").strip("/")
        run = self._routes.get((request.method, name))
        if run is None:
            known = ", ".join(f"{method} {path}" for method, path in sorted(self._routes))
            return json_response(
                {"error": f"no {request.method} /_pare/{name}; known: {known}"}, 404
            )
        try:
            body = json.loads(request.body) if request.body else {}
            if not isinstance(body, dict):
                raise ValueError("the body must be a JSON object")
            return json_response(run(body))
        except ValueError as error:
            return json_response({"error": str(error)}, 400)

    def _accounts(self, body: dict[str, Any]) -> dict[str, Any]:
        added = [
            organization.join(
                account_id=str(account.get("account_id", "")),
                name=str(account.get("name", "")),
                email=str(account.get("email", "")),
                tags={str(k): str(v) for k, v in (account.get("tags") or {}).items()},
            )
            for account in _list(body, "accounts")
        ]
        self._contacts({"entries": [a for a in body["accounts"] if "contacts" in a]})
        return {"accounts": added}

    def _contacts(self, body: dict[str, Any]) -> dict[str, Any]:
        entries = _list(body, "entries")
        for entry in entries:
            contacts = entry.get("contacts")
            if not isinstance(contacts, dict):
                raise ValueError("an entry needs 'contacts', an object by type")
            self._emulation.alternate_contacts.plant(str(entry.get("account_id", "")), contacts)
        return {"entries": len(entries)}

    def _ages(self, body: dict[str, Any]) -> dict[str, Any]:
        entries = _list(body, "entries")
        for entry in entries:
            upstream.set_age(
                str(entry.get("arn", "")), str(entry["created_at"]), entry.get("access_key_id")
            )
        return {"entries": len(entries)}

    def _usage(self, body: dict[str, Any]) -> dict[str, Any]:
        uses = [Use.from_json(entry) for entry in _list(body, "entries")]
        self._emulation.usage.add(uses)
        return {"entries": len(uses)}

    def _credentials(self, body: dict[str, Any]) -> dict[str, Any]:
        entries = _list(body, "entries")
        self._emulation.credential_reports.plant(entries)
        return {"entries": len(entries)}

    def _findings(self, body: dict[str, Any]) -> dict[str, Any]:
        findings = self._emulation.access_analyzer.findings
        analyzer, events = str(body.get("analyzer_arn", "")), _switch(body, "events")
        planted = _list(body, "findings") if "findings" in body else []
        resolved, deleted = _texts(body, "resolve"), _texts(body, "delete")
        findings.plant(analyzer, planted, events=events)
        findings.resolve(analyzer, resolved, events=events)
        findings.delete(analyzer, deleted, events=events)
        return {"findings": len(planted), "resolved": len(resolved), "deleted": len(deleted)}

    def _previews(self, body: dict[str, Any]) -> dict[str, Any]:
        previews = _list(body, "previews")
        for preview in previews:
            whole = {name: value for name, value in preview.items() if name != "findings"}
            found = _list(preview, "findings") if "findings" in preview else []
            self._emulation.access_analyzer.findings.plant_preview(
                str(body.get("analyzer_arn", "")), whole, found, events=_switch(body, "events")
            )
        return {"previews": len(previews)}

    def _analyzers(self, body: dict[str, Any]) -> dict[str, Any]:
        analyzers = _list(body, "analyzers")
        findings = self._emulation.access_analyzer.findings
        for entry in analyzers:
            arn = str(entry.get("arn", ""))
            if "created_at" in entry:
                findings.set_created_at(arn, str(entry["created_at"]))
            if "status" in entry or "created_at" not in entry:
                findings.set_status(arn, str(entry.get("status", "")), entry.get("status_reason"))
        return {"analyzers": len(analyzers)}

    def _objects(self, body: dict[str, Any]) -> dict[str, Any]:
        owner = body.get("owner_account_id")
        if owner is not None and not upstream.is_account_id(str(owner)):
            raise ValueError("'owner_account_id' must be an account id, or null")
        bucket, prefix = str(body.get("bucket", "")), str(body.get("prefix", ""))
        return {"objects": object_ownership.plant(bucket, prefix, owner)}

    def _confirmations(self, body: dict[str, Any]) -> dict[str, Any]:
        entries = _list(body, "entries")
        for entry in entries:
            subscriptions.confirm(str(entry.get("topic_arn", "")), str(entry.get("endpoint", "")))
        return {"entries": len(entries)}

    def _quotas(self, body: dict[str, Any]) -> dict[str, Any]:
        entries = _list(body, "entries")
        for entry in entries:
            self._emulation.service_quotas.plant(entry)
        return {"entries": len(entries)}

    def _faults(self, body: dict[str, Any]) -> dict[str, Any]:
        self._emulation.faults.add([Fault.from_json(fault) for fault in _list(body, "faults")])
        return {"faults": [fault.to_json() for fault in self._emulation.faults.switched_on()]}

    def _clear_faults(self) -> dict[str, Any]:
        self._emulation.faults.clear()
        return {"faults": []}

    def _settings(self, body: dict[str, Any]) -> dict[str, Any]:
        self._emulation.settings = self._emulation.settings.changed(body)
        return self._emulation.settings.to_json()

    def _reset(self) -> dict[str, Any]:
        self._emulation.reset()
        self._reset_ministack()
        return {"reset": "ok"}

    def _state(self) -> dict[str, Any]:
        emulation = self._emulation
        analyzer = emulation.access_analyzer
        return {
            "accounts": upstream.accounts(),
            "delegated_administrators": organization.delegations(),
            "analyzers": analyzer.findings.overview(),
            "policy_generations": analyzer.policy_generation.summary(),
            "last_accessed_jobs": emulation.last_accessed.summary(),
            "faults": [fault.to_json() for fault in emulation.faults.switched_on()],
            "faults_met": emulation.faults.met(),
            "events": emulation.service_events.summary(),
            "stack_sets": emulation.stack_sets.summary(),
            "executions_running": upstream.running_executions(),
            "settings": emulation.settings.to_json(),
            "usage": emulation.usage.counts(),
        }


def _list(body: dict[str, Any], name: str) -> list[dict[str, Any]]:
    items = body.get(name)
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ValueError(f"the body must have {name!r}, a list of objects")
    return items


def _texts(body: dict[str, Any], name: str) -> list[str]:
    items = body.get(name) or []
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise ValueError(f"{name!r} must be a list of texts")
    return items


def _switch(body: dict[str, Any], name: str) -> bool:
    value = body.get(name, False)
    if not isinstance(value, bool):
        raise ValueError(f"{name!r} must be true or false")
    return value

"""Service Quotas, which ministack lacks: reading the quotas that service_quotas.json has.

https://docs.aws.amazon.com/servicequotas/2019-06-24/apireference/Welcome.html, GetServiceQuota,
ListServiceQuotas and GetAWSDefaultServiceQuota; the quotas of IAM are kept in us-east-1 alone. The
values are AWS's defaults, others are planted; the codes are from memory (M).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local.emulator.caller import Caller, identify
from local.emulator.shapes import problems, service_model
from local.emulator.wire import AwsError, Request, Response, error_in_protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.emulator.emulation import Emulation

SERVICE = "servicequotas"
_GLOBAL = {"iam": "us-east-1"}
_TABLE = Path(__file__).with_name("service_quotas.json")
_PAGE = 100


class ServiceQuotas:
    """The quotas of every account and Region."""

    def __init__(self, emulation: Emulation) -> None:
        self._emulation = emulation
        table = json.loads(_TABLE.read_text(encoding="utf-8"))
        self._defaults: dict[tuple[str, str], dict[str, Any]] = {
            (each["ServiceCode"], each["QuotaCode"]): each for each in table["quotas"]
        }
        self._planted: dict[tuple[str, str, str, str], float] = {}
        self._operations: dict[str, Callable[[Caller, dict[str, Any]], dict[str, Any]]] = {
            "GetServiceQuota": self._get,
            "GetAWSDefaultServiceQuota": self._get_default,
            "ListServiceQuotas": self._list,
        }

    def plant(self, entry: dict[str, Any]) -> None:
        """Give an account another value of a quota in a Region; ValueError: there is none."""
        key = str(entry.get("service_code", "")), str(entry.get("quota_code", ""))
        if key not in self._defaults:
            raise ValueError(f"the emulator has no quota {'/'.join(key)}")
        value = entry.get("value")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError("'value' must be a number")
        place = str(entry.get("account_id", "")), str(entry.get("region", ""))
        self._planted[(*place, *key)] = value

    def handle(self, request: Request) -> Response:
        """Return the answer to one signed request."""
        operation = request.headers.get("x-amz-target", "").rpartition(".")[2]
        try:
            caller = identify(request)
            self._emulation.faults.raise_for(operation)
            run = self._operations.get(operation)
            if run is None:
                raise AwsError("ServiceException", f"the emulator does not have {operation}", 500)
            caller.require(f"servicequotas:{operation}", "*")
            answer = run(caller, json.loads(request.body or b"{}"))
            shape = service_model("service-quotas").operation_model(operation).output_shape
            found = problems(answer, shape)
            if found:
                raise AwsError("ServiceException", f"emulator fault: {found}", 500)
            return Response(200, json.dumps(answer).encode(), "application/x-amz-json-1.1")
        except AwsError as error:
            return error_in_protocol(error, "json")

    def _get(self, caller: Caller, asked: dict[str, Any]) -> dict[str, Any]:
        return {"Quota": self._quota(caller, self._found(caller, asked))}

    def _get_default(self, caller: Caller, asked: dict[str, Any]) -> dict[str, Any]:
        return {"Quota": self._quota(caller, self._found(caller, asked), planted=False)}

    def _list(self, caller: Caller, asked: dict[str, Any]) -> dict[str, Any]:
        service = asked.get("ServiceCode")
        found = [
            self._quota(caller, each)
            for each in self._defaults.values()
            if each["ServiceCode"] == service and _kept(caller, each)
        ]
        if not found:
            raise _missing()
        first, size = int(asked.get("NextToken") or 0), asked.get("MaxResults") or _PAGE
        page: dict[str, Any] = {"Quotas": found[first : first + size]}
        if first + size < len(found):
            page["NextToken"] = str(first + size)
        return page

    def _found(self, caller: Caller, asked: dict[str, Any]) -> dict[str, Any]:
        found = self._defaults.get((asked.get("ServiceCode", ""), asked.get("QuotaCode", "")))
        if found is None or not _kept(caller, found):
            raise _missing()
        return found

    def _quota(
        self, caller: Caller, quota: dict[str, Any], *, planted: bool = True
    ) -> dict[str, Any]:
        service, code = quota["ServiceCode"], quota["QuotaCode"]
        value = float(quota["Value"])
        if planted:
            value = self._planted.get((caller.account_id, caller.region, service, code), value)
        return {
            **quota,
            "QuotaArn": (
                f"arn:aws:servicequotas:{caller.region}:{caller.account_id}:{service}/{code}"
            ),
            "Value": value,
            "Unit": "None",
            "Adjustable": True,
            "GlobalQuota": service in _GLOBAL,
        }


def _kept(caller: Caller, quota: dict[str, Any]) -> bool:
    return caller.region == _GLOBAL.get(quota["ServiceCode"], caller.region)


def _missing() -> AwsError:
    return AwsError(
        "NoSuchResourceException", "The request failed because the specified quota does not exist."
    )

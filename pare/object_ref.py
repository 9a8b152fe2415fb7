"""Where an object lies: what travels between steps instead of the object."""

from __future__ import annotations

from typing import TypedDict


class ObjectRef(TypedDict):
    """An object of an S3 bucket."""

    bucket: str
    key: str

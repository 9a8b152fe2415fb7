from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pare.arns import PrincipalArn, parse_principal_arn, region_of
from pare.errors import ArnParseError


@pytest.mark.parametrize(
    ("arn", "parts"),
    [
        ("arn:aws:iam::111122223333:role/App", ("aws", "111122223333", "role", "/", "App")),
        (
            "arn:aws-cn:iam::111122223333:role/service-role/deep/App",
            ("aws-cn", "111122223333", "role", "/service-role/deep/", "App"),
        ),
        (
            "arn:aws-us-gov:iam::000000000000:user/team/a+b=c,d.e@f-g_h",
            ("aws-us-gov", "000000000000", "user", "/team/", "a+b=c,d.e@f-g_h"),
        ),
    ],
)
def test_a_users_or_roles_arn_is_taken_apart_in_every_partition(
    arn: str, parts: tuple[str, str, str, str, str]
) -> None:
    assert parse_principal_arn(arn) == PrincipalArn(arn, *parts)


@pytest.mark.parametrize(
    ("arn", "prefix"),
    [
        ("arn:aws:iam::111122223333:role/App", "111122223333/role/App"),
        ("arn:aws:iam::111122223333:role/service-role/App", "111122223333/role/service-role/App"),
        ("arn:aws:iam::111122223333:user/App", "111122223333/user/App"),
    ],
)
def test_objects_of_a_role_and_a_user_of_one_name_lie_apart(arn: str, prefix: str) -> None:
    assert parse_principal_arn(arn).storage_prefix == prefix


@pytest.mark.parametrize(
    "arn",
    [
        "",
        "App",
        "arn:aws:iam::111122223333:role",
        "arn:aws:iam::111122223333:role/",
        "arn:aws:iam::111122223333:role/path/",
        "arn:aws:iam::111122223333:group/Admins",
        "arn:aws:iam::111122223333:root",
        "arn:aws:iam::aws:policy/AdministratorAccess",
        "arn:aws:sts::111122223333:assumed-role/App/session",
        "arn:aws:iam::11112222333:role/App",
        "arn:aws:iam::1111222233334:role/App",
        "arn:aws:iam::١١١١٢٢٢٢٣٣٣٣:role/App",  # digits, but not AWS's
        "arn:aws:s3:::bucket",
        "urn:aws:iam::111122223333:role/App",
    ],
)
def test_any_other_text_is_refused_and_quoted(arn: str) -> None:
    with pytest.raises(ArnParseError) as caught:
        parse_principal_arn(arn)

    assert repr(arn) in str(caught.value)


@given(st.text())
def test_no_text_raises_anything_else(arn: str) -> None:
    try:
        found = parse_principal_arn(arn)
    except ArnParseError:
        return

    assert found.arn == arn


@pytest.mark.parametrize(
    ("arn", "region"),
    [
        ("arn:aws:access-analyzer:us-west-2:123456789012:analyzer/a", "us-west-2"),
        ("arn:aws:iam::123456789012:role/App", ""),
        ("arn:aws:access-analyzer:us-west-2", ""),
        ("", ""),
    ],
)
def test_the_region_of_an_arn_is_empty_where_there_is_none(arn: str, region: str) -> None:
    assert region_of(arn) == region

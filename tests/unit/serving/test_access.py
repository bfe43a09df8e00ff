"""Who may do what is said by the environment alone; a mistake there is a sentence without a secret."""

from __future__ import annotations

import pytest

from rayon.serving.access import AccessError, read_access

ENVIRONMENT = {
    "RAYON_APP_USERS": "anna:correct-horse, ben:battery-staple",
    "RAYON_APP_ADMINS": "anna",
    "RAYON_API_KEYS": "shop:0123456789,erp:abcdefghij",
}


def test_users_and_admins():
    access = read_access(ENVIRONMENT, local=True)
    assert access.login("anna", "correct-horse") and not access.login("anna", "battery-staple")
    assert not access.login("nobody", "") and not access.login("", "")
    assert access.admin("anna") and not access.admin("ben") and not access.admin(None)


def test_keys():
    access = read_access(ENVIRONMENT, local=False)
    assert access.caller("Bearer 0123456789") == "shop"
    assert access.caller("", "abcdefghij") == "erp"
    for wrong in ("", "Bearer ", "Bearer 012345678", "0123456789x", "Bearer \udcff"):
        assert access.caller(wrong) is None


def test_an_open_app_has_an_admin_on_its_own_machine_alone():
    assert read_access({}, local=True).admin(None)
    assert not read_access({}, local=False).admin(None)
    assert read_access({}, local=False).caller("") == "api"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"RAYON_APP_USERS": "anna"}, "entry 1 is not 'name:secret'"),
        ({"RAYON_APP_USERS": "anna:hunter2"}, "8 characters or more"),
        ({"RAYON_API_KEYS": "a:0123456789,a:9876543210"}, "'a' is there twice"),
        ({"RAYON_APP_ADMINS": "eve"}, "eve, who is no user"),
    ],
)
def test_mistakes_are_sentences_without_secrets(change, words):
    with pytest.raises(AccessError, match=words) as caught:
        read_access({**ENVIRONMENT, **change}, local=True)
    assert "hunter2" not in str(caught.value) and "correct-horse" not in str(caught.value)

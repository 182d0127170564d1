"""Only this home's key, at this place, opens what was sealed, and only as it was sealed."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from memory.audit_heads import new_key_pair
from tools.autonomy.standing_seal import ANYWHERE, SEALED, Seal, Unsealed, place_of

KEY = new_key_pair()[0]
CONTENT = {"id": "per-1", "target": "catalog/catalog-1", "figures": [1, 2]}


@pytest.fixture
def seal() -> Seal:
    return Seal(KEY, "here")


def test_what_was_sealed_opens_as_it_was(seal: Seal) -> None:
    sealed = seal.close(CONTENT)

    assert seal.open(sealed) == CONTENT
    assert seal.open(json.loads(json.dumps(sealed, sort_keys=True))) == CONTENT
    assert set(sealed) - set(CONTENT) == set(SEALED) == {"key", "place", "signature"}
    assert sealed["place"] == "here"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"target": "catalog/catalog-2"}, "it was changed after it was signed"),
        ({"more": 1}, "it was changed after it was signed"),
        ({"place": "there"}, "it was changed after it was signed"),
        ({"signature": "00" * 64}, "it was changed after it was signed"),
        ({"signature": "no hexadecimal"}, "it was changed after it was signed"),
        ({"key": "another"}, "it was signed with another key"),
        ({"key": None}, "it carries no seal"),
        ({"place": 1}, "it carries no seal"),
        ({"signature": b"00"}, "it carries no seal"),
    ],
)
def test_any_change_shows(seal: Seal, change: dict[str, Any], said: str) -> None:
    with pytest.raises(Unsealed, match=f"^{said}$"):
        seal.open(seal.close(CONTENT) | change)


@pytest.mark.parametrize("missing", ["key", "place", "signature"])
def test_a_part_of_a_seal_is_none(seal: Seal, missing: str) -> None:
    sealed = seal.close(CONTENT)
    del sealed[missing]

    with pytest.raises(Unsealed, match=r"^it carries no seal$"):
        seal.open(sealed)


@pytest.mark.parametrize("value", [None, "sealed", 7, ["key", "place", "signature"]])
def test_what_is_no_object_carries_no_seal(seal: Seal, value: object) -> None:
    with pytest.raises(Unsealed, match=r"^it carries no seal$"):
        seal.open(value)


def test_another_key_and_another_place_do_not_open_it(seal: Seal) -> None:
    sealed = seal.close(CONTENT)

    with pytest.raises(Unsealed, match=r"^it was signed with another key$"):
        Seal(new_key_pair()[0], "here").open(sealed)
    with pytest.raises(Unsealed, match=r"^it was made for another home$"):
        Seal(KEY, "there").open(sealed)
    with pytest.raises(Unsealed, match=r"^it was made for another home$"):
        seal.open(Seal(KEY, ANYWHERE).close(CONTENT))


def test_content_cannot_name_its_own_key_or_place(seal: Seal) -> None:
    """Else whoever writes the content would choose where it opens."""
    sealed = seal.close({**CONTENT, "key": "mine", "place": "there"})

    assert seal.open(sealed) == CONTENT


def test_the_signature_is_over_one_written_form_of_the_content(seal: Seal) -> None:
    """A line of the journal from last month must open next month: the form may never change."""
    sealed = seal.close({"b": "ü", "a": [1, {"d": None, "c": True}]})
    said = (
        f'{{"a":[1,{{"c":true,"d":null}}],"b":"\\u00fc","key":"{sealed["key"]}","place":"here"}}'
    ).encode()
    key: Any = load_pem_private_key(KEY, password=None)

    key.public_key().verify(bytes.fromhex(sealed["signature"]), said)


def test_what_json_cannot_carry_is_not_sealed(seal: Seal) -> None:
    with pytest.raises(ValueError, match="JSON"):
        seal.close({"rate": float("nan")})


def test_only_an_ed25519_private_key_seals() -> None:
    other = generate_private_key(SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )

    with pytest.raises(
        ValueError, match=r"^The standing key must be an Ed25519 private key in PEM form\.$"
    ):
        Seal(other, "here")


def test_a_place_is_this_folder_and_no_copy_of_it(tmp_path: Path) -> None:
    home, copy = tmp_path / "home", tmp_path / "copy"
    (home / "keys").mkdir(parents=True)
    (tmp_path / "link").symlink_to(home)
    here = place_of(home)

    assert place_of(home) == here
    assert place_of(tmp_path / "link") == here
    assert len(here) == 32
    shutil.copytree(home, copy)
    assert place_of(copy) != here
    (home / "keys").rename(home / "old")
    (home / "keys").mkdir()
    assert place_of(home) != here
    with pytest.raises(FileNotFoundError):
        place_of(tmp_path)

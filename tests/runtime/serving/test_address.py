"""Addresses, certificates and tokens."""

from __future__ import annotations

from pathlib import Path

import pytest
from kdh_runtime.errors import ServiceError
from kdh_runtime.serving.address import Address, check_certificate
from kdh_runtime.serving.tokens import read_tokens
from serving_process import TOKEN, make_certificate


@pytest.fixture(autouse=True)
def _no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KDH_RAY_TOKEN", raising=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.0.1"])
def test_the_machine_itself_needs_no_token(host: str) -> None:
    address = Address(host)
    assert address.opened() == ""
    assert address.host_names is not None
    assert host in address.host_names


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "ward.example"])
def test_other_addresses_need_a_token(host: str) -> None:
    with pytest.raises(ServiceError, match="needs a token"):
        Address(host)
    address = Address(host, tokens={TOKEN: ""})
    assert address.host_names is None
    assert "unencrypted" in address.opened()
    encrypted = Address(host, tokens={TOKEN: ""}, certificate=Path("cert.pem"), key=Path("key.pem"))
    assert "unencrypted" not in encrypted.opened()
    assert encrypted.url(8000).startswith("https://")


def test_a_certificate_needs_its_key() -> None:
    with pytest.raises(ServiceError, match="must be given together"):
        Address(certificate=Path("cert.pem"))


def test_a_wrong_certificate_is_one_line(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    check_certificate(Address(certificate=certificate[0], key=certificate[1]))
    with pytest.raises(ServiceError, match="must be PEM files"):
        check_certificate(Address(certificate=certificate[0], key=certificate[0]))
    with pytest.raises(ServiceError, match="can't be read"):
        check_certificate(Address(certificate=tmp_path / "none.pem", key=certificate[1]))


def test_tokens_come_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_tokens(None) == {}
    monkeypatch.setenv("KDH_RAY_TOKEN", TOKEN)
    assert read_tokens(None) == {TOKEN: ""}
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}-of-the-file\n")
    assert read_tokens(file) == {f"{TOKEN}-of-the-file": ""}


@pytest.mark.parametrize("content", [b"", b"short", b"twenty characters ok?", "ü".encode() * 20, b"\xff" * 20])
def test_a_poor_token_is_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(ServiceError, match="a token must"):
        read_tokens(file)
    with pytest.raises(ServiceError, match="can't be read"):
        read_tokens(tmp_path / "missing")


def test_a_file_may_name_who_has_each_token(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"# wards\nward-3 {TOKEN}-3\n\nward-4   {TOKEN}-4\n{TOKEN}\n")
    assert read_tokens(file) == {f"{TOKEN}-3": "ward-3", f"{TOKEN}-4": "ward-4", TOKEN: ""}


def test_a_token_must_be_there_once(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"ward-3 {TOKEN}\nward-4 {TOKEN}\n")
    with pytest.raises(ServiceError, match="two lines have the same") as caught:
        read_tokens(file)
    assert TOKEN not in str(caught.value)


def test_tokens_are_not_printed() -> None:
    assert TOKEN not in repr(Address("0.0.0.0", tokens={TOKEN: ""}))

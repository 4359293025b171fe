"""The data folder's own secret for webhooks: made once, used where none is configured."""

import stat
from pathlib import Path

import pytest

from stepwell.cli.data_folder import own_webhook_secret
from stepwell.cli.errors import Refused
from stepwell.cli.keys import keys_of_folder
from stepwell.rules.webhook_secrets import SigningSecrets
from stepwell.settings import Settings

CONFIGURED = SigningSecrets.read("whsec_YSBzZWNyZXQgb2YgdGhlIHRlc3RzIGZvciBob29rcw==")


def test_the_webhook_secret_is_made_once_and_is_private(tmp_path: Path) -> None:
    made = keys_of_folder(Settings(data_dir=tmp_path)).settings.webhook_secret
    path = tmp_path / "webhook-secret"
    assert tuple(made) == (path.read_text().strip(),)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert keys_of_folder(Settings(data_dir=tmp_path)).settings.webhook_secret == made


def test_a_configured_webhook_secret_takes_precedence(tmp_path: Path) -> None:
    assert keys_of_folder(Settings(data_dir=tmp_path, webhook_secret=CONFIGURED)).settings.webhook_secret == CONFIGURED
    assert not (tmp_path / "webhook-secret").exists()


def test_all_webhook_secrets_of_the_file_sign(tmp_path: Path) -> None:
    old = tuple(own_webhook_secret(tmp_path))
    (tmp_path / "webhook-secret").write_text(f"{CONFIGURED[0]} {old[0]}\n")
    assert tuple(own_webhook_secret(tmp_path)) == (CONFIGURED[0], old[0])


def test_a_damaged_webhook_secret_is_refused_and_not_shown(tmp_path: Path) -> None:
    (tmp_path / "webhook-secret").write_text("whsec_damaged")
    with pytest.raises(Refused) as refused:
        own_webhook_secret(tmp_path)
    assert "webhook-secret is damaged" in str(refused.value)
    assert "whsec_damaged" not in str(refused.value)

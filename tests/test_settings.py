"""Settings: environment over file over default, and mistakes are named."""

from pathlib import Path

import pytest

from jotunheim import settings
from jotunheim.exceptions.model import DataValidationError


def _fields(environ: dict[str, str]) -> list[str]:
    with pytest.raises(DataValidationError) as raised:
        settings.load(environ)
    return [problem.field for problem in raised.value.problems]


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "jotunheim.toml"
    file.write_text(f'state_dir = "{tmp_path}"\nlisten = "127.0.0.1:1"\nworker_concurrency = 2\n')
    loaded = settings.load({"JOTUNHEIM_CONFIG": str(file), "JOTUNHEIM_LISTEN": "[::1]:2"})
    assert (loaded.state_dir, loaded.listen, loaded.worker_concurrency) == (tmp_path, "[::1]:2", 2)
    assert loaded.database == f"sqlite:///{tmp_path}/jotunheim.db"
    assert loaded.queue == f"sqlite:///{tmp_path}/queue.db"


def test_mistakes_are_all_named_and_values_are_not_repeated() -> None:
    environ = {
        "JOTUNHEIM_LISTEN": "nowhere",
        "JOTUNHEIM_SECRET_KYE": "hush",
        "JOTUNHEIM_WORKER_CONCURRENCY": "0",
    }
    assert sorted(_fields(environ)) == sorted(environ)
    with pytest.raises(DataValidationError) as raised:
        settings.load(environ)
    assert "hush" not in str(raised.value.problems)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert _fields({"JOTUNHEIM_CONFIG": str(tmp_path / "missing.toml")}) == ["JOTUNHEIM_CONFIG"]
    broken = tmp_path / "broken.toml"
    broken.write_text("listen = ")
    assert _fields({"JOTUNHEIM_CONFIG": str(broken)}) == ["JOTUNHEIM_CONFIG"]


def test_the_range_of_vmids_must_not_be_empty() -> None:
    assert _fields({"JOTUNHEIM_VMID_FIRST": "500", "JOTUNHEIM_VMID_LAST": "400"}) == ["JOTUNHEIM_VMID_LAST"]


def test_the_command_lines_own_variables_are_no_settings() -> None:
    settings.load(dict.fromkeys(settings.NOT_SETTINGS - {"JOTUNHEIM_CONFIG"}, "x"))


def test_a_secret_key_does_not_show_in_a_dump() -> None:
    loaded = settings.load({"JOTUNHEIM_SECRET_KEY": "hush"})
    assert "hush" not in repr(loaded)
    assert "hush" not in loaded.model_dump_json()


def test_relative_paths_do_not_depend_on_where_a_run_happens() -> None:
    assert settings.load({"JOTUNHEIM_STATE_DIR": "state"}).state_dir == Path.cwd() / "state"


def test_a_lost_workers_job_is_found_within_fifteen_seconds() -> None:
    defaults = settings.load({})
    assert defaults.lease_seconds + defaults.sweep_seconds <= 15


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("TRUSTED_PROXIES", "proxy.example.com"),
        ("TRUSTED_PROXIES", "127.0.0.1, 10.0.0.300"),
        ("TRUSTED_PROXIES", "10.0.0.1/8"),
        ("TRUSTED_PROXIES", "0.0.0.0/0"),
        ("TRUSTED_PROXIES", "::/0"),
        ("TRUSTED_PROXIES", "*"),
        ("CORS_ORIGINS", "*"),
        ("CORS_ORIGINS", "null"),
        ("CORS_ORIGINS", "panel.example.com"),
        ("CORS_ORIGINS", "https://panel.example.com/"),
        ("CORS_ORIGINS", "https://*.example.com"),
        ("CORS_ORIGINS", "https://panel.example.com;X"),
        ("HTTP_TIMEOUT_SECONDS", "0"),
        ("HTTP_TIMEOUT_SECONDS", "inf"),
        ("MAX_CONNECTIONS", "0"),
        ("HSTS_SECONDS", "-1"),
        ("RATE_LIMIT", "many"),
        ("RATE_LIMIT", "600"),
        ("RATE_LIMIT", "0/minute"),
        ("RATE_LIMIT", "-5/minute"),
        ("RATE_LIMIT", "5/fortnight"),
        ("RATE_LIMIT", "1/second;600/minute"),
        ("AUTH_FAILURE_LIMIT", "ten per minute"),
        ("LOGIN_RATE_LIMIT", "10 / "),
        ("LOGIN_ADDRESS_RATE_LIMIT", "1e3/minute"),
    ],
)
def test_what_would_open_the_api_by_mistake_is_named(name: str, bad: str) -> None:
    [field] = _fields({f"JOTUNHEIM_{name}": bad})
    assert field.split(".")[0] == f"JOTUNHEIM_{name}"


def test_lists_are_written_with_commas_or_in_toml(tmp_path: Path) -> None:
    file = tmp_path / "jotunheim.toml"
    file.write_text('trusted_proxies = ["10.0.0.0/8"]\ncors_origins = ["https://a.example"]\n')
    loaded = settings.load(
        {"JOTUNHEIM_CONFIG": str(file), "JOTUNHEIM_CORS_ORIGINS": "https://b.example,http://c:1"}
    )
    assert [str(network) for network in loaded.trusted_proxies] == ["10.0.0.0/8"]
    assert loaded.cors_origins == ("https://b.example", "http://c:1")
    assert settings.load({"JOTUNHEIM_TRUSTED_PROXIES": ""}).trusted_proxies == ()


@pytest.mark.parametrize("rate", ["", "600/minute", "10 per 30 seconds", "1/day"])
def test_rates_are_written_as_people_write_them(rate: str) -> None:
    assert settings.load({"JOTUNHEIM_RATE_LIMIT": rate}).rate_limit == rate

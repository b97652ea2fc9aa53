"""Every setting, read once by each `__main__`. apps.env documents and may set them."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from common.catalogue import DEVICE, Dtype
from common.errors import SettingsInvalid

PROJECT = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """The environment's DARKROOM_… variables, typed and frozen."""

    model_config = SettingsConfigDict(env_prefix="DARKROOM_", frozen=True, extra="ignore")

    # Where things are
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=1, le=65535)
    data_dir: Path = Path("data")
    job_log_url: str = ""
    object_store_url: str = ""
    database_url: str = ""
    model_names: str = ""
    public_url: str = Field("", pattern=r"^(https?://\S+)?$")
    partitions: int = Field(4, ge=1, le=1000)

    # Who may ask
    auth: Literal["auto", "on", "off"] = "auto"
    admin_key: str = ""
    monitor_key: str = ""
    key_requests_per_second: int = Field(500, ge=0)
    key_burst_seconds: int = Field(2, ge=1, le=3600)
    key_burst_jobs: int = Field(64, ge=0)
    max_waiting_per_key: int = Field(100_000, ge=0)
    max_waiting: int = Field(1_000_000, ge=0)
    max_wait_seconds: float = Field(24 * 3600.0, ge=0)

    # What is accepted
    max_image_bytes: int = Field(32 * 1024 * 1024, ge=1)
    max_image_pixels: int = Field(40_000_000, ge=1)
    url_allowlist: str = ""
    max_upload_bytes_in_flight: int = Field(512 * 1024 * 1024, ge=1)
    request_seconds: float = Field(20.0, gt=0)
    reuse: bool = False
    title_model: str = "darkroom/shapes"
    title_timeout: float = Field(30.0, gt=0)

    # How work is done
    device: str = Field("auto", pattern=DEVICE)
    dtype: Dtype = "auto"
    recycle_jobs: int = Field(10_000, ge=0)
    recycle_mib: int = Field(0, ge=0)
    grace_seconds: float = Field(30.0, ge=0)
    benchmark_file: str = ""
    metrics_port: int = Field(0, ge=0, le=65535)
    worker: str = Field("", pattern=r"^([a-zA-Z0-9][a-zA-Z0-9_.-]*)?$", max_length=200)

    # How it is kept going
    launcher: Literal["process", "docker"] = "process"
    compose_project: str = Field("darkroom", min_length=1)
    devices: str = "auto"
    slots: int = Field(4, ge=1)
    target_seconds: float = Field(30.0, ge=0.1, le=1e6)
    cooldown_seconds: float = Field(300.0, ge=0)
    hold_down_seconds: float = Field(180.0, ge=0)
    sweep_seconds: float = Field(10.0, gt=0)
    sweep_after_seconds: float = Field(30.0, gt=0)
    result_seconds: float = Field(2_592_000.0, ge=0)
    otlp_endpoint: str = Field("", pattern=r"^(https?://\S+)?$")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    metrics_host: str = Field("127.0.0.1", min_length=1)
    scaler_metrics_port: int = Field(0, ge=0, le=65535)
    recorder_metrics_port: int = Field(0, ge=0, le=65535)
    notifier_metrics_port: int = Field(0, ge=0, le=65535)
    crash_at: str = ""

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine reaches the API."""
        return _is_loopback(self.host)

    @property
    def metrics_on_loopback(self) -> bool:
        """Whether only this machine reaches the metrics of its processes."""
        return _is_loopback(self.metrics_host)

    @property
    def auth_on(self) -> bool:
        """Whether requests must show a key."""
        return self.auth == "on" or (self.auth == "auto" and not self.on_loopback)

    @property
    def base_url(self) -> str:
        """What links begin with where no request says it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.public_url.rstrip("/") or f"http://{host}:{self.port}"

    @property
    def catalogue_file(self) -> Path:
        return Path(self.model_names) if self.model_names else PROJECT / "model_names.txt"

    @property
    def log_url(self) -> str:
        return self.job_log_url or f"sqlite:///{self.data_dir.resolve()}/log.sqlite"

    @property
    def store_url(self) -> str:
        return self.object_store_url or f"file://{self.data_dir.resolve()}/objects"

    @property
    def ledger_url(self) -> str:
        return self.database_url or f"sqlite+aiosqlite:///{self.data_dir.resolve()}/ledger.sqlite"


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_settings(file: Path = PROJECT / "apps.env") -> Settings:
    """From the environment, and from `file` for what is not set there.

    Raises SettingsInvalid, which names the variable and what it should be.
    """
    try:
        settings = Settings(_env_file=file)
    except ValidationError as error:
        wrong = error.errors()[0]
        name = "DARKROOM_" + str(wrong["loc"][0]).upper()
        raise SettingsInvalid(f"{name}={wrong['input']!r}: {wrong['msg']}") from error
    if "?" in str(settings.data_dir.resolve()):
        raise SettingsInvalid(
            "DARKROOM_DATA_DIR: its path may hold no ?, which ends a path in URLs"
        )
    return settings

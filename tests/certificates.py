"""Certificates made for a test, as an authority of one's own makes them."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

_NEW = ["-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]


@dataclass(frozen=True)
class Certified:
    """PEM files."""

    authority: Path
    certificate: Path
    key: Path


def certified(folder: Path, *names: str) -> Certified:
    """A certificate of these hosts and addresses, signed by an authority made with it."""
    made = Certified(folder / "authority.pem", folder / "certificate.pem", folder / "key.pem")
    authority_key, request = folder / "authority-key.pem", folder / "request.pem"
    extensions = folder / "extensions.txt"
    kinds = ["IP" if name.replace(".", "").isdigit() else "DNS" for name in names]
    alternatives = ",".join(f"{kind}:{name}" for kind, name in zip(kinds, names, strict=True))
    extensions.write_text(f"subjectAltName={alternatives}\nbasicConstraints=CA:FALSE\n")
    _openssl("req", "-x509", *_NEW, "-days", "2", "-subj", "/CN=Tests", "-keyout", authority_key,
             "-out", made.authority)  # fmt: skip
    _openssl("req", *_NEW, "-subj", f"/CN={names[0]}", "-keyout", made.key, "-out", request)
    _openssl("x509", "-req", "-in", request, "-CA", made.authority, "-CAkey", authority_key,
             "-CAcreateserial", "-days", "2", "-extfile", extensions,
             "-out", made.certificate)  # fmt: skip
    return made


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)

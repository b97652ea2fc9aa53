"""Structured logs, and the names of metrics that more than one process exposes."""

from __future__ import annotations

import logging
import sys
import warnings

import stamina
import structlog


def configure_logs(level: str) -> None:
    """Records to stderr: lines for people on a terminal, JSON elsewhere."""
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    terminal = sys.stderr.isatty()
    renderer = structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer()
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if not terminal:
        shared.append(structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=max(number, logging.WARNING), force=True)
    stamina.instrumentation.set_on_retry_hooks([_log_wait])
    logging.captureWarnings(True)
    warnings.simplefilter("default")


def _log_wait(details: stamina.instrumentation.RetryDetails) -> None:
    """In place of stamina's own record, which shows the arguments: images, URLs with passwords."""
    structlog.get_logger().warning(
        "waits_to_try_again",
        callable=details.name,
        caused_by=repr(details.caused_by),
        wait_for=round(details.wait_for, 2),
        waited_so_far=round(details.waited_so_far, 2),
    )

"""How the academy's long-running processes log: one JSON object per line on standard output."""

import logging
import sys

import structlog


def configure_logging() -> None:
    """Events with fields, from structlog; warnings and worse from libraries, as they word them."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stdout, format="%(message)s")
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )

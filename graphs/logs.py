"""How the academy's long-running processes log: one JSON object per line on standard output."""

import logging
import sys

import structlog
from structlog.stdlib import ProcessorFormatter


def configure_logging() -> None:
    """Events with fields, from structlog; warnings and worse from libraries, as they word them.

    A traceback is text without the variables of its frames: those hold keys and people's words.
    """
    stamped: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    render = structlog.processors.JSONRenderer()
    libraries = logging.StreamHandler(sys.stdout)
    libraries.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=stamped,
            processors=[ProcessorFormatter.remove_processors_meta, render],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[libraries])
    structlog.configure(
        processors=[*stamped, render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )

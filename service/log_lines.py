"""What the service tells its operators line by line: JSON without secrets."""

from __future__ import annotations

import contextlib
import logging
import sys
from functools import lru_cache
from typing import Any, TextIO

import orjson
import structlog

from service.redaction import redact


def _to_json(event: Any, **_: Any) -> str:
    try:
        return orjson.dumps(event, option=orjson.OPT_NON_STR_KEYS, default=str).decode()
    except orjson.JSONEncodeError:
        # A lone surrogate or an oversized integer must not cost the whole line.
        return orjson.dumps({key: ascii(value) for key, value in event.items()}).decode()


class _StdoutHandler(logging.StreamHandler[TextIO]):
    """Writes to what stdout is now, not to what it was when logging was configured: callers may redirect it."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stdout
        super().emit(record)


class _LineLogger:
    """Where our own lines end: on stdout as they are. A log record made of each, and then another of that, cost more
    than all the rest of an access log line. Levels are those of the logger of that name, as for libraries.
    """

    def __init__(self, name: str = "service") -> None:
        self.name = name
        self._levels = logging.getLogger(name)

    @property
    def disabled(self) -> bool:
        return self._levels.disabled

    def getEffectiveLevel(self) -> int:  # noqa: N802 - as structlog's filter asks for it
        return self._levels.getEffectiveLevel()

    def write(self, line: str) -> None:
        # Whoever read the log has gone, or cannot keep up: that must not fail the request that was to be logged.
        with contextlib.suppress(OSError, ValueError):
            # In one piece: lines of threads must not mix.
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

    debug = info = warning = error = critical = exception = write


def configure_logging(level: str) -> None:
    """Send every record, ours and the libraries', to stdout as one JSON object a line. `level` as in `logging`."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    rendering: list[structlog.types.Processor] = [
        structlog.processors.format_exc_info,
        redact,
        structlog.processors.JSONRenderer(serializer=_to_json),
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, *rendering],
        logger_factory=lru_cache(_LineLogger),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    handler = _StdoutHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.PositionalArgumentsFormatter()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *rendering,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    _take_over_loggers()
    # PyMongo logs whole commands and boto3 whole requests at DEBUG: positions and signatures included.
    for chatty in ("pymongo", "botocore", "boto3", "urllib3", "httpcore", "PIL", "asyncio"):
        logging.getLogger(chatty).setLevel(max(logging.INFO, root.level))


def _take_over_loggers() -> None:
    # A library that was configured before us, uvicorn for one, would print past the handler that redacts.
    for logger in logging.Logger.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            logger.handlers.clear()
            logger.propagate = True


def current_request_id() -> str | None:
    """The id of the request being answered, as clients see it; None outside a request."""
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    return request_id if isinstance(request_id, str) else None

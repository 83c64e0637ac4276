"""How the commands log: a line of text, or with `--log-json` one JSON object a line."""

from __future__ import annotations

import argparse
import json
import logging

_OWN = frozenset(vars(logging.makeLogRecord({})))


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the options to a command."""
    parser.add_argument("--log-json", action="store_true", help="log one JSON object a line")


def begin(given: argparse.Namespace) -> None:
    """Log to stderr, from INFO on."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if given.log_json else TextLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def fields(record: logging.LogRecord) -> dict[str, object]:
    """What was given as `extra` when it was logged."""
    return {name: value for name, value in vars(record).items() if name not in _OWN and name != "message"}


class TextLines(logging.Formatter):
    """`time level logger: message key=value …`."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        line = super().formatMessage(record)
        extra = [f"{name}={value}" for name, value in fields(record).items() if name != "asctime"]
        return " ".join([line, *extra])


class JsonLines(logging.Formatter):
    """`{"time": …, "level": …, "logger": …, "pid": …, "message": …, key: value, …}`; a traceback is in `error`."""

    def format(self, record: logging.LogRecord) -> str:
        said: dict[str, object] = {
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
            "message": record.getMessage(),
            **fields(record),
        }
        if record.exc_info:
            said["error"] = self.formatException(record.exc_info)
        return json.dumps(said, default=str)

"""The database of a request, in `g`."""

import sqlite3
from pathlib import Path

from flask import Flask, current_app, g


def get_db() -> sqlite3.Connection:
    if "db" not in g:
        g.db = sqlite3.connect(current_app.config["DATABASE"])
        g.db.row_factory = sqlite3.Row
    connection: sqlite3.Connection = g.db
    return connection


def close_db(_exc: BaseException | None = None) -> None:
    connection = g.pop("db", None)
    if connection is not None:
        connection.close()


def init_db() -> None:
    schema = Path(__file__).with_name("schema.sql")
    get_db().executescript(schema.read_text("utf-8"))


def init_app(app: Flask) -> None:
    app.teardown_appcontext(close_db)
    app.cli.command("init-db")(init_db)

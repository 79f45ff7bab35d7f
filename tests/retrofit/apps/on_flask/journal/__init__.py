"""A journal that several people write, on Flask: an application factory, two blueprints, a database."""

from pathlib import Path
from typing import Any

from flask import Flask


def create_app(config: dict[str, Any] | None = None) -> Flask:
    app = Flask(__name__, instance_relative_config=True)
    app.config.from_mapping(
        SECRET_KEY="dev",
        DATABASE=str(Path(app.instance_path) / "journal.db"),
        PRESS=str.upper,
    )
    app.config.from_mapping(config)

    from . import auth, book, db  # noqa: PLC0415  as the tutorial has it

    db.init_app(app)
    app.register_blueprint(auth.bp)
    app.register_blueprint(book.bp)

    return app

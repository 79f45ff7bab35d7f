"""Who writes: registration, login, and a decorator for views that need it."""

import functools
from collections.abc import Callable

from flask import Blueprint, abort, g, redirect, request, session, url_for
from flask.typing import ResponseReturnValue
from werkzeug.security import check_password_hash, generate_password_hash

from .db import get_db

bp = Blueprint("auth", __name__, url_prefix="/auth")

View = Callable[..., ResponseReturnValue]


@bp.before_app_request
def load_writer() -> None:
    found = get_db().execute("SELECT * FROM writer WHERE id = ?", (session.get("writer"),))
    g.writer = found.fetchone()


def login_required(view: View) -> View:
    @functools.wraps(view)
    def wrapped(**values: object) -> ResponseReturnValue:
        if g.writer is None:
            return redirect(url_for("auth.login"))
        return view(**values)

    return wrapped


@bp.post("/register")
def register() -> ResponseReturnValue:
    values = request.form["name"], generate_password_hash(request.form["password"])
    get_db().execute("INSERT INTO writer (name, password) VALUES (?, ?)", values)
    get_db().commit()
    return redirect(url_for("auth.login"))


@bp.route("/login", methods=("GET", "POST"))
def login() -> ResponseReturnValue:
    if request.method == "GET":
        return '<form method="post"><input name="name"><input name="password"><button>Log in'
    name = request.form["name"]
    writer = get_db().execute("SELECT * FROM writer WHERE name = ?", (name,)).fetchone()
    if writer is None or not check_password_hash(writer["password"], request.form["password"]):
        abort(403, "The name or the password is wrong.")
    session.clear()
    session["writer"] = writer["id"]
    return redirect(url_for("book.index"))

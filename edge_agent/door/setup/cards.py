"""The clerks of this machine: their cards and PINs, without a terminal."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec
from flask import Flask, Response, redirect, render_template, request, url_for

from protocols.errors import BadSettings

from ...clerks import CARD_WRONG, PIN_MIN, PIN_SHORT, Clerk, Clerks
from ...setup import apply
from ...setup.desk import Desk
from ..rating import photo

_JPEG = "data:image/jpeg;base64,"  # the page makes any photo one, as small as a card needs
_JPEG_BEGINS = b"\xff\xd8\xff"


class Cards:
    def __init__(self, desk: Desk):
        self._desk = desk

    def add(self, app: Flask) -> None:
        app.add_url_rule("/setup/clerks", "clerks", self.clerks, methods=["GET", "POST"])
        app.add_url_rule("/setup/clerks/photo/<number>", "clerks.photo", self.photo)

    def clerks(self) -> Any:
        if self._desk.settings is None:
            return redirect(url_for("guide"))
        clerks = Clerks(self._desk.place.folder)
        try:
            clerks.check()
        except BadSettings as error:
            return render_template("setup/wrong.html", words=error.mistakes[0]), 500
        if request.method == "GET":
            shown = _of(clerks, request.args.get("number", ""))
            return self._page(clerks, msgspec.to_builtins(shown) if shown is not None else {})
        number = request.form.get("number", "").strip()
        if request.form.get("do") == "remove":
            clerks.remove(number)
            return redirect(url_for("clerks"), 303)
        given = {
            "number": number,
            "name": request.form.get("name", "").strip(),
            "stars": request.form.get("stars", "0"),
        }
        try:
            wrong = self._kept(clerks, given, request.form.get("pin", ""))
        except OSError as error:
            return self._page(clerks, given, {"": apply.not_written(error)}), 507
        if wrong:
            return self._page(clerks, given, wrong), 422
        return redirect(url_for("clerks", saved=number), 303)

    def photo(self, number: str) -> Response:
        """The photo on this clerk's card."""
        return photo(Clerks(self._desk.place.folder), number)

    def _kept(self, clerks: Clerks, given: dict[str, str], pin: str) -> dict[str, str]:
        """Write this card down; what is wrong with it, by field."""
        before = _of(clerks, given["number"])
        try:
            card = msgspec.convert({**given, "photo": before.photo if before is not None else ""}, Clerk, strict=False)
        except msgspec.ValidationError:
            return {"number": CARD_WRONG}
        if pin and len(pin) < PIN_MIN:
            return {"pin": PIN_SHORT}
        sent = request.form.get("photo", "")
        if sent:
            taken = _jpeg(sent)
            if taken is None:
                return {"photo": "这张照片读不了, 请换一张 / this photo cannot be read, take another"}
            card = msgspec.structs.replace(card, photo=clerks.keep_photo(card.number, ".jpg", taken))
        clerks.put(card, pin or None)
        return {}

    def _page(self, clerks: Clerks, given: dict[str, Any], wrong: dict[str, str] | None = None) -> str:
        return render_template(
            "setup/clerks.html",
            clerks=[(each, (clerks.photos / each.photo).is_file() if each.photo else False) for each in clerks.all()],
            given=given,
            wrong=wrong or {},
            saved=request.args.get("saved", ""),
            pin_min=PIN_MIN,
            known=_of(clerks, str(given.get("number", ""))) is not None,
        )


def _of(clerks: Clerks, number: str) -> Clerk | None:
    """The clerk of this very number."""
    found = clerks.get(number)
    return found if found is not None and found.number == number else None


def _jpeg(sent: str) -> bytes | None:
    if not sent.startswith(_JPEG):
        return None
    try:
        taken = base64.b64decode(sent[len(_JPEG) :], validate=True)
    except binascii.Error:
        return None
    return taken if taken.startswith(_JPEG_BEGINS) else None

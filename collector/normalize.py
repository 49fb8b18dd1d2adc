"""What a press means. Pure and total: every press has an answer, a Rating or an Unratable with its reason."""

from __future__ import annotations

from protocols.messages import ClosingRecord, PressRecord
from protocols.ratings import Rating, Unratable

from .directory import Directory


def normalize(
    press: PressRecord, closing: ClosingRecord | None, agent: str, directory: Directory
) -> Rating | Unratable:
    """The meaning of `press` of `agent`; `closing` is its invitation's, if that has arrived."""
    place = directory.places.get((agent, press.window))
    if place is None:
        return Unratable(press.press, "window_not_placed", f"{agent}/{press.window}")
    if press.doubt and not place.walk_in:
        return Unratable(press.press, "undatable", press.doubt)
    if press.invitation is None and not place.walk_in:
        return Unratable(press.press, "unsolicited")
    if press.invitation is not None and closing is None:
        return Unratable(press.press, "awaiting_closing")
    keys = directory.meanings(press)
    if not keys:
        return Unratable(press.press, "keys_not_confirmed", press.device)
    key = keys.get(press.button)
    if key is None:
        return Unratable(press.press, "button_not_mapped", str(press.button))
    return Rating(
        press=press.press,
        level=key.level,
        hall=press.hall or place.hall,
        window=press.number or place.number,
        pressed_ms=press.pressed_ms,
        channel=place.channel,
        invitation=press.invitation,
        case_no=closing.case_no if closing else None,
        service_number=closing.service_number if closing else 1,
        clerk=closing.clerk if closing else None,
        # What the citizen said, or what stands on the button.
        tags=tuple(press.tags) if press.tags or press.text else key.tags,
        text=press.text if press.tags or press.text else key.text,
    )

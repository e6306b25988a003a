"""What people, and photo-eyes of type http, say to the line by way of its web side."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge.line import Line


def obey(line: "Line", command: dict[str, Any]) -> None:
    """Does what a command says; one that this version does not know, or that is put wrongly, changes nothing.

    pause sends everything to the default lane, arm lets the outputs move, clear_incident says that somebody
    has seen to one, label what an item really is, eye that an item has broken a photo-eye's beam, pictures why
    their folder refuses them, or that it does not.
    """
    match command:
        case {"command": "pause", "paused": bool(paused)}:
            line.permit.paused = paused
        case {"command": "arm", "armed": bool(armed)}:
            line.permit.armed = armed
            action = "the diverters may move" if armed else "everything goes to the default lane"
            cause = f"somebody {'armed' if armed else 'disarmed'} the outputs"
            line.tell("outputs_disarmed", "output", cause, action, recovered=armed)
        case {"command": "clear_incident", "name": str(name)}:
            line.hand.clear(name)
        case {"command": "label", "item_id": int(item_id), "lane": str(lane), "label": label, "picture": picture}:
            line.labelled(item_id, lane, label, picture)
        case {"command": "pictures", "refuses": str() | None as reason}:
            line.pictures_refused(reason)
        case {"command": "eye", "name": str(name)}:
            line.photo_eyes.told(name, float(command.get("at", line.clock.now())))

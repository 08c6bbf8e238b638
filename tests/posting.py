"""A run asked for over raw HTTP, as the page asks for it."""

from collections.abc import Mapping

import httpx

SESSION = "s"
STREAM = f"/gradio_api/queue/data?session_hash={SESSION}"  # where its answer is read


def post_run(client: httpx.Client, asked: Mapping[str, object]) -> None:
    """Post a run of that session, without reading it."""
    (dependency,) = client.get("/config").json()["dependencies"]
    body = {"data": [], "event_data": dict(asked), "fn_index": dependency["id"], "session_hash": SESSION}
    posted = client.post("/gradio_api/queue/join", json=body | {"trigger_id": dependency["outputs"][0]})
    assert posted.status_code == 200, posted.text

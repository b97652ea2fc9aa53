"""A job's inputs: objects of the store, and what users' URLs lead to."""

from __future__ import annotations

import stamina

from common.errors import BadInput, UrlRefused, UrlUnreachable
from common.guarded_client import GuardedClient, Reply, Rest
from common.job import JobSpec, is_url
from common.object_store import ObjectStore
from common.outage import until_available

TRIES = 3  # of a URL whose server is in trouble: it is the user's, so nobody waits for it for ever
TRY_SECONDS = 20.0  # redirects included
PAUSE_SECONDS = 1.0  # before the second try; twice as long before the third
_PASSING = frozenset({408, 425, 429})  # statuses below 500 that may be others a second later


class Fetching:
    """Reads inputs. A store that does not answer is waited for."""

    def __init__(
        self,
        store: ObjectStore,
        client: GuardedClient,
        *,
        most_bytes: int,
        try_seconds: float = TRY_SECONDS,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        """An image at a URL may have `most_bytes`."""
        self._store, self._client = store, client
        self._most_bytes = most_bytes
        self._try_seconds, self._pause_seconds = try_seconds, pause_seconds

    async def fetch(self, spec: JobSpec) -> dict[str, bytes]:
        """The bytes of each input, by its name. Raises ObjectMissing, BadInput."""
        return {name: await self._input(place) for name, place in spec.inputs.items()}

    async def _input(self, place: str) -> bytes:
        if not is_url(place):
            return await until_available(self._store.get, place)
        try:
            return await self._image_at(place)
        except UrlRefused as error:
            raise BadInput(
                f"The image's URL is not fetched. {error}", "image_url_refused"
            ) from error
        except UrlUnreachable as error:
            raise BadInput(
                f"The image's URL could not be fetched in {TRIES} tries. {error}",
                "image_url_unreachable",
            ) from error

    async def _image_at(self, url: str) -> bytes:
        """Raises UrlUnreachable once the last try has failed."""
        async for attempt in stamina.retry_context(
            on=UrlUnreachable,
            attempts=TRIES,
            timeout=None,
            wait_initial=self._pause_seconds,
            wait_jitter=self._pause_seconds,
        ):
            with attempt:
                reply = await self._client.get(
                    url, seconds=self._try_seconds, most_bytes=self._most_bytes
                )
                return self._checked(reply)
        raise AssertionError("the last try returns or raises")

    def _checked(self, reply: Reply) -> bytes:
        """The image's bytes. Its structure is for the engine's decoder to judge."""
        status = reply.status
        if status >= 500 or status in _PASSING:
            raise UrlUnreachable(f"Its server answered {status}.")
        if status != 200:
            raise BadInput(
                f"The image's URL answered {status}: give one that anyone may read.",
                "image_url_failed",
            )
        if reply.rest is Rest.LARGER:
            raise BadInput(
                f"The image has more than {self._most_bytes} bytes: send a smaller one.",
                "file_too_large",
            )
        if reply.rest is not Rest.NONE:
            raise UrlUnreachable("Its server did not send the whole image.")
        if reply.headers.get("content-encoding", "identity") != "identity":
            raise BadInput(
                "The image's URL answered with packed bytes though none were asked for: give one "
                "that sends the file as it is.",
                "image_url_failed",
            )
        if not reply.body:
            raise BadInput("The image's URL answered with no bytes.", "image_url_failed")
        return reply.body

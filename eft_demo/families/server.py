"""Where a model that does not run here is: a completion server, and its name there.

Knows addresses; makes no requests.
"""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

# Stands for the folder of a model that has no files here: nothing in it is ever found.
NO_FILES = Path("/nonexistent/a-model-on-a-server")


@dataclass(frozen=True, slots=True)
class Server:
    """A model on a server with OpenAI-style completions. `url` is checked (`settings.server_url`)."""

    url: str  # such as http://host:8000/v1
    model: str = ""  # its name on the server; empty = the only one that the server has

    @property
    def address(self) -> str:
        """The host with its port, for messages: host:8000."""
        return urlsplit(self.url).netloc

    @property
    def root(self) -> str:
        """The address without the path of the OpenAI-style interface, as other paths of a server begin."""
        return self.url.removesuffix("/v1")

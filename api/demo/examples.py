"""What to try first: requests that work on a demo as it is."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Example:
    """A request.

    Args:
        title: what it shows.
        user: who asks.
        path: with its query string.
        status: what the answer's status is.
    """

    title: str
    user: str
    path: str
    status: int = 200

    def curl(self, url: str, token: str) -> str:
        """The request as a line for a shell."""
        return f"curl -H {shlex.quote(f'Authorization: Bearer {token}')} {shlex.quote(url + self.path)}"


_ROWS: Final = "/v1/tables/raw.transactions/rows"

FIRST_PAGE: Final = Example(
    "alice sees French rows, with who bought masked",
    "alice",
    f"{_ROWS}?select=transaction_id,user_name,email,country,amount&amount=gt.100&limit=3",
)
EXAMPLES: Final = (
    FIRST_PAGE,
    Example("the same question about last week's data", "alice", f"{_ROWS}?tag=day-7&order=amount.desc&limit=3"),
    Example("everything that was bought in Paris, wherever it is", "admin", "/v1/search?q=paris&order=time&limit=3"),
    Example("the same search, as far as alice may see", "alice", "/v1/search?q=paris&order=time&limit=3"),
    Example("money spent in the last 5 minutes, in France", "alice", "/v1/metrics/spend"),
    Example("the five products bought most, everywhere", "admin", "/v1/metrics/top-products?limit=5"),
    Example(
        "why a transaction was refused", "admin", "/v1/tables/curated.quarantine/rows?select=reason,amount&limit=3"
    ),
    Example("a raw file by the same rules", "admin", f"/v1/files/{quote('reference/products.parquet')}/rows?limit=3"),
    Example("bob may not even know of the table", "bob", f"{_ROWS}?limit=3", status=404),
)

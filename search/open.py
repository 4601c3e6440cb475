"""The index that the settings name."""

from __future__ import annotations

from infra.settings import Settings
from search.index import Index


def open_index(settings: Settings) -> Index:
    """Opens the index; one that can't be reached is told of when it is asked."""
    if settings.search == "elasticsearch":
        from search.elasticsearch import ElasticsearchIndex

        return ElasticsearchIndex(settings.elasticsearch_url, settings.elasticsearch_name)
    from search.tantivy import TantivyIndex

    return TantivyIndex(settings.state_dir.absolute() / "search")

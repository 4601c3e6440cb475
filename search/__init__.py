"""Full text over the lake: the index contract, its engines, the indexer that follows snapshots."""

"""The evaluation engine: plan, shard, cache, store, and how shards are spread."""

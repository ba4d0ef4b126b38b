"""Chunker → Arranger → Canonicalizer → Hasher → CacheInjector: pure, synchronous, vendor-free functions over frozen values."""

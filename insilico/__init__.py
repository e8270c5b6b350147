"""A GPU-accelerated engine for in-silico clinical trials."""

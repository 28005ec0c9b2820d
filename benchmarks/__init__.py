"""Benchmarks: `make bench`. What is measured, and how, is docs/benchmarks.md."""

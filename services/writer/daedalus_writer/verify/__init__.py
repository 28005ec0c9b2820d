"""`daedalus-writer verify`: is what lies in a tree, or below an S3 prefix, what was committed? Changes nothing.

files ─▶ inspection (2 threads: checksum, every page, every row) ─▶ report
CATALOG ─▶ catalog ──┘
"""

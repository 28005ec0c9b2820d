"""`daedalus-writer compact`: many small segments of an hour become one, by the same commit, in one step for readers.

choice (which) ─▶ merged_file (the larger file, in active/) ─▶ CATALOG ─▶ replacement (the directories change places)
"""

"""What recorded frames say, read by each exchange's own protocol and nothing else: plain JSON, dicts and sorted lists.

Nothing of the collector and nothing of ccxt is used here, so that both can be wrong. Of daedalus only the records are
taken, to compare with. Times are the exchange's own, to the microsecond.
"""

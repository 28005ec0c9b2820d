"""What the four services share. It imports no service, and neither ccxt, pyarrow nor boto3."""

__version__ = "0.1.0"

"""Does it help? The paired comparison, its statistics, and the reference classifier that it trains.

    real + bank -> comparison.compare -> result.Comparison -> a verdict, kept in the bank
                   (classifier.py trains, statistics.py judges)

No image that a bank was fitted on is ever scored.
"""

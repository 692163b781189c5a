"""What a rule would have done, in one pass as if live: over a stored period, or over a bare CSV file.

`replay` (stored counters) and `bare` (a CSV) turn the past into looks in the order of time; `judge` puts each before
the same detector and lifecycle as live detection does; `labels` says how right that was; `plot` draws it.
"""

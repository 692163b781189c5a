"""What Prometheus reads.

`operations` and `processes` are counted by each process, `ledger` is read from Postgres and the same from any of them;
`exposition` puts them together, and `listener` answers on the metrics port.
"""

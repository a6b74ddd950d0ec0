"""What the SQLite store promises beyond the contract, whatever happens to the process, the disk and the file.

Ids as in the table of faults (F1 …). A disk that fills is played by SQLite's own page limit, and once more for real
where we may mount one. A process that dies is one that we kill.
"""

"""Who answers which number: a table of numbers, read from a file, and what is counted beside it.

`hours`, `blocked` and `rates` are values without clock; `rows` reads the file's text, `table` finds the row
of a number, and `router` holds the table that is in force.
"""

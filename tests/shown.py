"""Tables that passing tests print at the end of the run."""

# The property of a test (`record_property`) that holds such a table.
SHOWN = "shown"

"""What the log archive account must let in: statements of the trail's bucket and of its keys."""

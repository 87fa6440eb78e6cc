"""One file a chapter: `find` asks the numbers and returns a finding, `draw` is a function of what was found."""

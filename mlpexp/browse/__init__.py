"""Looking at what is recorded: lists, pages, comparisons, tables, and the state of an outputs folder."""

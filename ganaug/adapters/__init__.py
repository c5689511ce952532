"""One file for each library that ganaug works with, named by its import name and imported only when used."""

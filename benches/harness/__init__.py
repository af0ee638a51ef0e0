"""The parts of `run`: what is measured (sections), of what (servers), how (rounds), how it is shown (tables, chart)."""

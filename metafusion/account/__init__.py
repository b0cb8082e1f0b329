"""The account of the data before any model: who is in, who the people are, and what could leak."""

"""The studies: each asks one question, writes into results/NAME, and checks what is said of it."""

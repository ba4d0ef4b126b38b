"""What it costs: each script asks one question and prints the figures that the README quotes."""

"""What is measured: ratios within one run, and counts. Machines are shared and noisy."""

"""The mathematics of comparing pictures and their features: numpy alone, no network."""

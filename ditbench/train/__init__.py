"""Training under one roof: arms that differ in network and attention alone, and what ships with us."""

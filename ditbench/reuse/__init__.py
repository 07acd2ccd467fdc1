"""The parts of which attention methods with memory are made; none of them knows of a method."""
